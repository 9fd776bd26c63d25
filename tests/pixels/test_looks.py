"""Where the patches of a padded image lie: as the libraries that pad it put it."""

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.pixels.looks import lies_over

SIDE, CELLS = 64, 8


def ramps(width, height):
    """A picture whose first channel rises with the place across, whose second with that down; the third is full."""
    across = np.broadcast_to((np.arange(width) + 0.5) / width, (height, width))
    down = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None], (height, width))
    return Image.fromarray((255 * np.stack([across, down, np.ones((height, width))], 2)).round().astype(np.uint8))


def of_open_clip(share):
    from open_clip.transform import image_transform

    made = image_transform(SIDE, False, (0, 0, 0), (1, 1, 1), "longest", "bilinear", fill_color=0)
    return {"resize_mode": "longest", "size": [SIDE, SIDE]}, made


def of_timm(share):
    from timm.data import create_transform

    told = {"crop_mode": "border", "crop_pct": share, "input_size": [3, SIDE, SIDE]}
    made = create_transform(
        (3, SIDE, SIDE), crop_mode="border", crop_pct=share, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    return told, made


@pytest.mark.parametrize(("of", "share"), [(of_open_clip, 1.0), (of_timm, 1.0), (of_timm, 0.8)])
@pytest.mark.parametrize("shape", [(96, 48), (48, 96), (64, 64)])
def test_patches_of_a_padded_image_lie_beyond_it_where_its_borders_are(of, share, shape):
    told, transform = of(share)
    pixels = transform(ramps(*shape).convert("RGB"))
    left, top, right, bottom = lies_over({"preprocess": told})(*shape).box
    cells = (torch.arange(CELLS) + 0.5) / CELLS
    across, down = left + cells * (right - left), top + cells * (bottom - top)
    inside = (across > 0.05) & (across < 0.95), (down > 0.05) & (down < 0.95)
    said = pixels.unflatten(2, (CELLS, -1)).unflatten(1, (CELLS, -1)).mean((2, 4))
    rows, columns = torch.where(inside[1])[0], torch.where(inside[0])[0]
    assert torch.allclose(said[0][rows][:, columns], across[columns].expand(len(rows), -1), atol=0.02)
    assert torch.allclose(said[1][rows][:, columns], down[rows, None].expand(-1, len(columns)), atol=0.02)
    outside = (across < -0.1) | (across > 1.1)
    assert not outside.any() or float(said[2][:, outside].max()) == 0.0  # nothing but border
