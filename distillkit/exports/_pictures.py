"""preprocessor_config.json, as CLIP's image processors read it, and the pixels that it asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from distillkit.exports._described import Shown
from distillkit.exports._files import write_json

FILE = "preprocessor_config.json"
_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers


def processor_of(shown: Shown) -> dict[str, Any]:
    side = shown.size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": _RESAMPLE[shown.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(shown.mean),
        "image_std": list(shown.std),
    }


def write_preprocessor(folder: Path, shown: Shown) -> None:
    write_json(folder / FILE, processor_of(shown))


def read_preprocessor(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / FILE).read_bytes()))


def pixels_of(pictures: Sequence[Image.Image], config: dict[str, Any]) -> Float[np.ndarray, "n 3 h w"]:
    """What `config` makes of pictures."""
    return np.stack([_pixels(picture.convert("RGB"), config) for picture in pictures])


def _pixels(picture: Image.Image, config: dict[str, Any]) -> Float[np.ndarray, "3 h w"]:
    side, width, height = config["size"]["shortest_edge"], *picture.size
    across, down = (side, side * height // width) if width <= height else (side * width // height, side)
    resized = picture.resize((across, down), Image.Resampling(config["resample"]))
    left, top = (across - side) // 2, (down - side) // 2
    cut = np.asarray(resized.crop((left, top, left + side, top + side)), np.float32)
    normal = (cut * config["rescale_factor"] - config["image_mean"]) / config["image_std"]
    return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


# For cards: a picture as a student was trained on it. Programs that convert to RGB themselves show what transparent
# pixels hide, cameras' pictures lying on their side, and 16 bits as white.
OPENED = """\
def opened(file):
    # Upright, and transparency laid on white, as in training.
    picture = ImageOps.exif_transpose(Image.open(file))
    if picture.mode[0] in "IF":
        raise ValueError(f"{file}: grey in 16 bits or floats; scale it to 8 bits first")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
"""
# The same as `pixels_of`: Python without any library of models.
LINES = (
    """\
import json
import numpy as np
from PIL import Image, ImageOps

config = json.load(open("preprocessor_config.json"))

"""
    + OPENED
    + """
def pixels(picture):
    side, (width, height) = config["size"]["shortest_edge"], picture.size
    size = (side, side * height // width) if width <= height else (side * width // height, side)
    picture = picture.resize(size, config["resample"])
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    picture = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32)
    picture = (picture * config["rescale_factor"] - config["image_mean"]) / config["image_std"]
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
"""
)
