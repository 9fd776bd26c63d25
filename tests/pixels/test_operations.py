"""Operations on a batch are the bytes that Pillow makes of each image alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.pixels import randaugment
from distillkit.pixels.operations import applied
from distillkit.pixels.randaugment import OPERATIONS, draw
from tests.pixels.test_cuts import DEVICES
from tests.pixels.test_tensors import picture


def images(size, count=4, seed=0):
    """Noise, something smooth, one colour, few levels, dark."""
    random = np.random.default_rng(seed)
    noise = random.integers(256, size=(count, size, size, 3), dtype=np.uint8)
    smooth = np.asarray(picture(size, size))[None]
    return np.concatenate([noise, smooth, np.full_like(smooth, 77), noise[:1] // 100 * 90, noise[1:2] // 3])


def by_pillow(pixels, operations):
    picture = Image.fromarray(pixels)
    for name, amount in operations:
        picture = randaugment.apply(picture, name, amount)
    return np.asarray(picture)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_same_bytes(name, device):
    draws = randaugment._TABLE[name][0]
    for size in (1, 2, 3, 17, 48):
        shown, random = images(size), np.random.default_rng(size)
        for level in (0.0, 3.0, 9.0, 10.0):
            asked = [((name, float(np.float32(draws(random, level)))),) for _ in shown]
            wanted = np.stack([by_pillow(*one) for one in zip(shown, asked, strict=True)])
            ours = applied(torch.from_numpy(shown).permute(0, 3, 1, 2).to(device), asked)
            assert np.array_equal(ours.permute(0, 2, 3, 1).cpu().numpy(), wanted), (size, level)


def test_each_image_has_its_own_in_its_order():
    random = np.random.default_rng(5)
    shown = np.concatenate([images(32, seed=seed) for seed in range(6)])
    asked = [draw(random, ops=3, magnitude=9.0, spread=0.5, probability=0.7) for _ in shown]
    assert {len(one) for one in asked} >= {1, 2, 3}
    before = torch.from_numpy(shown).permute(0, 3, 1, 2)
    ours = applied(before, asked)
    wanted = np.stack([by_pillow(*one) for one in zip(shown, asked, strict=True)])
    assert np.array_equal(ours.permute(0, 2, 3, 1).numpy(), wanted)
    assert ours.stride() == before.stride() and np.array_equal(before.permute(0, 2, 3, 1), shown)
