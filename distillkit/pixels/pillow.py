"""The pixels that Pillow makes: of bytes an image, of an image and a view what a network sees."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from distillkit.errors import SourceError
from distillkit.pixels import randaugment, side_matter
from distillkit.pixels.room import taken
from distillkit.system.opening import blame_the_file
from distillkit.types import View

# Pillow's own limit, beyond any photograph we know of; a larger header is a decompression bomb or a mistake.
MAX_PIXELS = 178_956_970
# A preprocessing that scales the short side to 224 would blow a line of 1 x 100,000 pixels up to 5 billion.
MAX_RATIO = 500

# What corpora hold. Pillow knows more, some of which run other programs (EPS) or are not pictures (FITS, WMF).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

# What Pillow's decoders answer damaged files with. A lack of memory is not among them: that is not the file's fault.
DAMAGE = (
    *(OSError, ValueError, SyntaxError, TypeError, AttributeError, EOFError, LookupError, ArithmeticError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)

# Once, not around each decode: warnings.catch_warnings is not safe in threads. What is wrong with a file, errors say.
warnings.filterwarnings("ignore", module=r"PIL\.")

# https://pillow.readthedocs.io/en/stable/reference/ImageOps.html#PIL.ImageOps.exif_transpose
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MARKS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF"}

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(image: bytes | Path, *, max_pixels: int = MAX_PIXELS, reduced_to: int | None = None) -> Image.Image:
    """The first frame of an image as upright RGB; transparency is laid on white, 16 bits are scaled to 8.

    `reduced_to`: a JPEG may be decoded at a half, a quarter or an eighth of its size, with no side below that.
    Raises SourceError, in one line, for anything that is not a whole image of at most `max_pixels` pixels, and NotNow
    where that may be one.
    """
    try:
        return _decoded(io.BytesIO(image) if isinstance(image, bytes) else image, max_pixels, reduced_to)
    except SourceError:
        raise
    except DAMAGE as error:
        blame_the_file(error, image)
        return _decoded_without_side_matter(image, max_pixels, reduced_to, error)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A picture that somebody has opened already, as `decode` would give it. SourceError where it is damaged."""
    try:
        refuse_bombs(*image.size)
        image.load()
        return _to_rgb(_upright(image))
    except SourceError:
        raise
    except DAMAGE as error:
        blame_the_file(error, getattr(image, "filename", None) or "a picture")
        raise _refusal(error, b"") from error


class Header(NamedTuple):
    """Width and height of an image as its pixels lie in the file, and how it was held: 1 to 8, as cameras number it."""

    width: int
    height: int
    held: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as `decode` gives them."""
        return (self.height, self.width) if self.held >= 5 else (self.width, self.height)


def size_of_file(file: io.BytesIO | Path) -> tuple[int, int] | None:
    """Width and height as the header has them, no pixel read; None where the file has none that can be read."""
    try:
        with Image.open(file, formats=FORMATS) as opened:
            return opened.size
    except DAMAGE as error:
        blame_the_file(error, file)
        return None


def header_of_file(file: io.BytesIO | Path) -> Header | None:
    """The same with how it was held; of a PNG with camera data the pixels are read, behind which that may be."""
    try:
        with Image.open(file, formats=FORMATS) as opened:
            return header_of(opened, file)
    except DAMAGE as error:
        blame_the_file(error, file)
        return None


def header_of(opened: Image.Image, file: io.BytesIO | Path) -> Header:
    """The same of one that was opened from there, and whose pixels need not have been read."""
    silent = opened.format == "PNG" and not side_matter.may_be_turned(file)
    width, height = opened.size
    held = 1 if silent else how_held(opened)
    if isinstance(opened, TiffImageFile):  # of these Pillow tells the size that they will have, in its newer versions
        width, height = (opened.tag_v2[side] for side in (IMAGEWIDTH, IMAGELENGTH))
    return Header(width, height, held)


def how_held(image: Image.Image) -> int:
    """1 to 8, as cameras number it: 1 is upright, and so is what does not say or says another number."""
    try:
        held = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGE:
        side_matter.drop()
        return 1
    return held if held in _TURNED else 1


def _decoded(file: io.BytesIO | Path, max_pixels: int, reduced_to: int | None) -> Image.Image:
    with Image.open(file, formats=FORMATS) as opened:
        refuse_bombs(*opened.size, max_pixels)
        if reduced_to is not None:
            opened.draft(None, (reduced_to, reduced_to))  # JPEGs alone can, and none goes below that size
        with taken(*opened.size, opened.mode):
            opened.load()
            return _to_rgb(_upright(opened))


def _decoded_without_side_matter(
    image: bytes | Path, max_pixels: int, reduced_to: int | None, damage: Exception
) -> Image.Image:
    """A broken profile, text or checksum beside the pixels costs no picture. SourceError where pixels are broken."""
    try:
        data = image if isinstance(image, bytes) else image.read_bytes()
    except OSError as error:
        blame_the_file(error, image)
        raise _refusal(damage, b"") from damage
    if not data:
        raise SourceError("not an image: the file is empty") from damage
    for rest in side_matter.without(data):
        try:
            found = _decoded(io.BytesIO(rest), max_pixels, reduced_to)
        except DAMAGE:
            continue
        side_matter.drop()
        return found
    raise _refusal(damage, data) from damage


def _refusal(damage: Exception, data: bytes) -> SourceError:
    if isinstance(damage, UnidentifiedImageError):
        kind = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
        if kind:
            return SourceError(f"a damaged {kind}: what describes its pixels cannot be read")
        return SourceError(f"not an image, or of a format other than {', '.join(FORMATS)}")
    return SourceError(f"{type(damage).__name__}: {str(damage).splitlines()[0] if str(damage) else 'unreadable'}")


def _upright(image: Image.Image) -> Image.Image:
    """As it was held. Of the camera's numbers no other one is looked at."""
    held = how_held(image)
    return image if held == 1 else image.transpose(_TURNED[held])


def refuse_bombs(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """SourceError for a header that claims more pixels than any photograph has."""
    if width * height > max_pixels:
        raise SourceError(f"{width} x {height} pixels, more than the limit of {max_pixels}")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise SourceError(f"{width} x {height} pixels, one side more than {MAX_RATIO} times the other")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # as it is: a copy of 170 megapixels is 0.7 GB
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _from_numbers(image: Image.Image) -> Image.Image:
    """16-bit grey (Pillow's modes I;16 and I) and float grey (F); Pillow would clip them at 255 to a white picture.

    White is 65535, or 1.0 of floats; files with other numbers do not say what is white in them.
    """
    values = np.array(image, dtype=np.float32)
    white = 1.0 if image.mode == "F" else 65535.0
    if not ((values >= 0) & (values <= white)).all():
        raise SourceError(f"pixel values outside 0 to {white:g}")
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = white
    return Image.fromarray((values * np.float32(255 / white)).round().astype(np.uint8)).convert("RGB")


def centre_view(width: int, height: int) -> View:
    """The largest centred square of a width x height image: the clean view."""
    side = min(width, height)
    left, top = (width - side) / 2 / width, (height - side) / 2 / height
    return View((left, top, left + side / width, top + side / height))


def middle_view(width: int, height: int, share: float = 1.0) -> View:
    """The middle of an image as a square, of so much of its short side."""
    side = min(width, height) * share
    across, down = side / width / 2, side / height / 2
    return View((0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down))


def render(image: Image.Image, view: View, size: int, interpolation: str = "bicubic") -> UInt8[np.ndarray, "3 h w"]:
    """The pixels of `view` at size x size. A pure function of its arguments, antialiased, exact at fractional boxes.

    Extraction and training call it with the same view, so that the student sees what the teacher saw.
    """
    width, height = image.size
    left, top, right, bottom = view.box
    box = (left * width, top * height, right * width, bottom * height)
    shown = image.resize((size, size), INTERPOLATIONS[interpolation], box=box)
    if view.flip:
        shown = ImageOps.mirror(shown)
    for operation, amount in view.ops:
        shown = randaugment.apply(shown, operation, amount)
    return np.ascontiguousarray(np.asarray(shown).transpose(2, 0, 1))
