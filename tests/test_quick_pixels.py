"""The quick pixel path: Pillow's picture but for rounding, and the same refusals."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from distillkit import pixels, quick_pixels
from distillkit.errors import SourceError
from distillkit.types import View
from tests.test_pixels import encoded, png_header, rotated

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def photo(width=120, height=90):
    """Noise as smooth as a photograph."""
    random = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(random).filter(ImageFilter.GaussianBlur(3))


def array(tensor):
    return tensor.permute(1, 2, 0).numpy()


def test_an_ordinary_jpeg_is_decoded_as_pillow_decodes_it():
    for image in (photo(), photo().convert("L")):
        raw = encoded(image, "JPEG", quality=92)
        assert quick_pixels._ordinary_jpeg(raw)
        difference = array(quick_pixels.decode(raw)).astype(int) - np.asarray(pixels.decode(raw)).astype(int)
        assert abs(difference).max() <= 2


@pytest.mark.parametrize(
    "raw",
    [
        encoded(photo(), "PNG"),
        encoded(photo(), "JPEG", exif=rotated(6)),
        encoded(photo().convert("CMYK"), "JPEG"),
        encoded(photo().convert("RGBA"), "PNG"),
    ],
    ids=["png", "turned", "cmyk", "transparent"],
)
def test_everything_else_is_pillows_own_picture(raw):
    np.testing.assert_array_equal(array(quick_pixels.decode(raw)), np.asarray(pixels.decode(raw)))


def test_what_is_no_whole_image_is_refused_and_never_partly_grey(tmp_path):
    whole = encoded(photo(), "JPEG")
    for length in range(0, len(whole) - 2, 7):
        with pytest.raises(SourceError) as caught:
            quick_pixels.decode(whole[:length])
        assert "\n" not in str(caught.value)
    for bad in (b"", b"<html>", png_header(60_000, 60_000), tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(SourceError):
            quick_pixels.decode(bad)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "view",
    [
        *(View(), View((0.1, 0.2, 0.7, 0.9)), View((0.25, 0.5, 0.5, 1.0), flip=True)),
        View((0.1, 0.1, 0.9, 0.9), ops=(("rotate", 20.0), ("color", 0.5))),
    ],
)
def test_views_are_pillows_but_for_rounding(view, interpolation):
    image = photo(240, 180)
    want = pixels.render(image, view, 32, interpolation).astype(int)
    have = quick_pixels.render(quick_pixels.as_tensor(image), view, 32, interpolation)
    assert have.dtype == torch.uint8 and have.shape == (3, 32, 32)
    assert abs(have.numpy().astype(int) - want).mean() < 1.5


def test_one_pixel_is_an_image():
    assert quick_pixels.render(torch.full((3, 1, 1), 7, dtype=torch.uint8), View(), 4, "bicubic").unique().tolist() == [
        7
    ]
