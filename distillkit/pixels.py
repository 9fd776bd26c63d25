"""Bytes to pixels: safe decoding, and the pure function from (image, view) to the pixels a network sees."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from distillkit.errors import SourceError
from distillkit.types import View

# 20,000 x 10,000 is beyond any photograph we know of; a larger header is a decompression bomb or a mistake.
MAX_PIXELS = 200_000_000

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(image: bytes | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The first frame of an image as upright RGB; transparency is laid on white, 16 bits are scaled to 8.

    Raises SourceError, in one line, for anything that is not a whole image of at most `max_pixels` pixels.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's own bomb limit warns; ours, below, refuses before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
            if opened.width * opened.height > max_pixels:
                raise SourceError(f"{opened.width} x {opened.height} pixels, more than the limit of {max_pixels}")
            opened.load()
        return _to_rgb(ImageOps.exif_transpose(opened))
    except SourceError:
        raise
    # Pillow's decoders answer damaged files with these; each is the file's fault, none is ours.
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise SourceError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'unreadable'}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _sixteen_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _sixteen_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips 16-bit values at 255 (a white picture); scale them instead."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise SourceError("pixel values that are not finite")
    top = 1.0 if image.mode == "F" and values.max(initial=0.0) <= 1.0 else 65535.0 if values.max(initial=0.0) > 255 else 255.0
    return Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8)).convert("RGB")


def centre_view(width: int, height: int) -> View:
    """The largest centred square of a width x height image: the clean view."""
    side = min(width, height)
    left, top = (width - side) / 2 / width, (height - side) / 2 / height
    return View((left, top, left + side / width, top + side / height))


def render(image: Image.Image, view: View, size: int, interpolation: str = "bicubic") -> UInt8[np.ndarray, "3 h w"]:
    """The pixels of `view` at size x size. A pure function of its arguments, antialiased, exact at fractional boxes."""
    width, height = image.size
    left, top, right, bottom = view.box
    box = (left * width, top * height, right * width, bottom * height)
    shown = image.resize((size, size), INTERPOLATIONS[interpolation], box=box)
    pixels = np.asarray(shown).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[:, :, ::-1] if view.flip else pixels)
