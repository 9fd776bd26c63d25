"""Pixels without Pillow are the same pixels, but for a grey level or two; what cannot be decoded is refused alike."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.errors import SourceError
from distillkit.pixels import decode, render
from distillkit.pixels.augment import fixed_crop, random_view, sample_stream
from distillkit.pixels.tensors import decode_tensor, from_array, render_tensor
from distillkit.types import View
from tests.pixels.test_pillow import png_header


def picture(width=200, height=150, mode="RGB"):
    """Smooth, as photographs are: noise says nothing about resizing."""
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 4, height))
    values = [127 + 120 * np.sin(x + phase) * np.cos(y) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(values, -1).astype(np.uint8)).convert(mode)


def encoded(image, kind="JPEG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def array(image):
    return image.permute(1, 2, 0).numpy().astype(int)


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (encoded(picture(), quality=95), 3),
        (encoded(picture(mode="L")), 3),
        (encoded(picture(mode="CMYK")), 0),
        (encoded(picture(), "PNG"), 0),
        (encoded(picture(), "WEBP"), 0),
    ],
)
def test_decoding_says_what_pillow_says(data, most):
    ours, theirs = array(decode_tensor(data)), np.asarray(decode(data)).astype(int)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= most


def test_a_turned_photograph_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter
    data = encoded(picture(), exif=exif)
    assert decode_tensor(data).shape == (3, 200, 150)
    assert np.abs(array(decode_tensor(data)) - np.asarray(decode(data)).astype(int)).max() <= 3


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xe0 nothing", encoded(picture())[:2000], encoded(Image.new("RGB", (6000, 5)))]
)
def test_damage_is_one_line_that_names_it(data):
    with pytest.raises(SourceError) as caught:
        decode_tensor(data)
    assert "\n" not in str(caught.value)


def test_what_is_no_whole_image_is_refused_and_never_partly_grey(tmp_path):
    whole = encoded(picture())
    for length in range(0, len(whole) - 2, 7):
        with pytest.raises(SourceError) as caught:
            decode_tensor(whole[:length])
        assert "\n" not in str(caught.value)
    for bad in (b"<html>", png_header(60_000, 60_000), tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(SourceError):
            decode_tensor(bad)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_views_differ_by_a_grey_level_or_two(interpolation):
    image = picture()
    tensor = from_array(np.asarray(image))
    for number in range(20):
        random = sample_stream(0, number, "k")
        view = random_view(random, 200, 150, scale=(0.2, 1.0), ratio=(0.75, 4 / 3), flip=0.5)
        ours = render_tensor(tensor, view, 64, interpolation).astype(int)
        theirs = render(image, view, 64, interpolation).astype(int)
        assert ours.shape == (3, 64, 64) and np.abs(ours - theirs).mean() < 2


def test_a_view_at_its_own_size_is_cut_out_and_not_touched():
    image = torch.randint(256, (3, 96, 96), dtype=torch.uint8)
    view = fixed_crop(sample_stream(0, 0, "k"), 96, 96, 64, flip=0.0)
    left, top = round(view.box[0] * 96), round(view.box[1] * 96)
    assert np.array_equal(render_tensor(image, view, 64), image[:, top : top + 64, left : left + 64].numpy())
    mirrored = View(view.box, True)
    assert np.array_equal(render_tensor(image, mirrored, 64), render_tensor(image, view, 64)[:, :, ::-1])


def test_operations_of_a_stored_view_are_replayed():
    view = View(ops=(("invert", 0.0),))
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    assert (render_tensor(image, view, 8) == 255).all()


def test_the_smallest_box_is_a_pixel():
    image = torch.randint(256, (3, 10, 10), dtype=torch.uint8)
    for box in ((0.999, 0.999, 1.0, 1.0), (0.0, 0.0, 0.001, 0.001)):
        assert render_tensor(image, View(box), 4).shape == (3, 4, 4)
