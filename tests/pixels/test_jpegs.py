"""What a GPU decodes and what not, what becomes of its errors; by a decoder that stands in for it, and by the GPU."""

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.errors import SourceError
from distillkit.pixels import jpegs
from distillkit.pixels.jpegs import Jpeg, Wanted, batch_of, opened, rendered
from distillkit.pixels.tensors import decode_tensor, render_tensor
from distillkit.types import View
from tests.pixels.test_pillow import png_header
from tests.pixels.test_tensors import encoded, picture

CPU = torch.device("cpu")
WHOLE, HALF = View(), View((0.25, 0.0, 0.75, 1.0), flip=True)


class Decoder:
    """As a GPU: whole batches or an error. Its levels are one off, so that one sees who decoded."""

    def __init__(self, refuses=()):
        self.refuses, self.calls = refuses, []

    def __call__(self, device, data):
        self.calls.append(len(data))
        if any(one in self.refuses for one in data):
            raise RuntimeError("Failed to decode batch: 3")
        return [decode_tensor(one) ^ 1 for one in data]


@pytest.fixture
def decoder(monkeypatch):
    made = Decoder()
    monkeypatch.setattr(jpegs, "decode_on", made)
    return made


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_whole_upright_jpegs_of_three_colours_are_left_to_the_gpu():
    for data in (encoded(picture()), encoded(picture(), progressive=True), encoded(picture(), exif=exif(1))):
        image = opened(data)
        assert isinstance(image, Jpeg) and image.data is data and (image.width, image.height) == (200, 150)


@pytest.mark.parametrize(
    "data",
    [
        encoded(picture(mode="L")),
        encoded(picture(mode="CMYK")),
        encoded(picture(), exif=exif(6)),
        encoded(picture(), "PNG"),
        encoded(picture()) + b"behind the end",
    ],
)
def test_the_rest_is_decoded_at_once(data):
    assert torch.equal(opened(data), decode_tensor(data))


def test_what_is_cut_off_or_too_large_never_reaches_the_gpu(tmp_path):
    whole = encoded(picture())
    bombs = (encoded(Image.new("RGB", (6000, 5))), png_header(60_000, 60_000))
    for data in (*(whole[:length] for length in range(0, len(whole) - 2, 97)), *bombs, b"<html>", tmp_path / "absent"):
        with pytest.raises(SourceError) as caught:
            opened(data)
        assert "\n" not in str(caught.value)


def test_views_are_what_the_decoder_saw(decoder):
    data = [encoded(picture(size, 100)) for size in (120, 160)]
    png = encoded(picture(90, 90), "PNG")
    asked = [Wanted(opened(data[0]), (WHOLE, HALF)), Wanted(opened(png), (HALF,)), Wanted(opened(data[1]), (WHOLE,))]
    shown = list(rendered(asked, 32, "bicubic", CPU))
    assert [len(views) for views in shown] == [2, 1, 1] and decoder.calls == [2]
    for one, views in zip(asked, shown, strict=True):
        image = decode_tensor(one.image.data) ^ 1 if isinstance(one.image, Jpeg) else decode_tensor(png)
        for view, pixels in zip(one.views, views, strict=True):
            assert np.array_equal(pixels.numpy(), render_tensor(image, view, 32, "bicubic"))


def test_memory_is_bounded_and_changes_nothing(decoder, monkeypatch):
    asked = [Wanted(opened(encoded(picture(size, 60))), (HALF,)) for size in (70, 80, 90)]
    whole = list(rendered(asked, 16, "bilinear", CPU))
    monkeypatch.setattr(jpegs, "_PIXELS", 1)
    parts = list(rendered(asked, 16, "bilinear", CPU))
    assert decoder.calls == [3, 1, 1, 1] and all(map(torch.equal, whole, parts))


def test_what_the_gpu_refuses_the_cpu_decodes(decoder):
    fine, odd = encoded(picture(120, 100)), encoded(picture(100, 100))
    decoder.refuses = [odd]
    shown = list(rendered([Wanted(opened(data), (WHOLE,)) for data in (fine, odd)], 16, "bilinear", CPU))
    assert np.array_equal(shown[0][0].numpy(), render_tensor(decode_tensor(fine) ^ 1, WHOLE, 16, "bilinear"))
    assert np.array_equal(shown[1][0].numpy(), render_tensor(decode_tensor(odd), WHOLE, 16, "bilinear"))


def broken():
    """A JPEG with a sound header and end and nothing in between."""
    data = encoded(picture())
    return data[: data.index(b"\xff\xda")] + b"\xff\xd9"


def test_damage_is_an_error_in_its_place(decoder):
    fine, bad = encoded(picture(120, 100)), broken()
    decoder.refuses = [bad]
    asked = [Wanted(opened(data), (WHOLE,)) for data in (bad, fine, bad)]
    shown = list(rendered(asked, 16, "bilinear", CPU))
    assert [isinstance(one, SourceError) for one in shown] == [True, False, True]
    named = [(f"{number}.jpg", one) for number, one in enumerate(asked)]
    assert batch_of(named[1:2], 16, "bilinear", CPU).shape == (1, 3, 16, 16)
    with pytest.raises(SourceError, match=r"^2.jpg: could be read when its features were extracted, now: JPEG"):
        batch_of(named[1:], 16, "bilinear", CPU)


def test_operations_of_a_view_are_replayed(decoder):
    view = View(HALF.box, True, (("invert", 0.0),))
    data = encoded(picture())
    (shown,) = rendered([Wanted(opened(data), (view,))], 16, "bilinear", CPU)
    assert np.array_equal(shown[0].numpy(), render_tensor(decode_tensor(data) ^ 1, view, 16, "bilinear"))


@pytest.mark.gpu
def test_the_gpu_sees_what_the_cpu_sees():
    """A few grey levels apart, in smooth pictures; alone or among others, alike."""
    device = torch.device("cuda")
    data = [encoded(picture(size, 100), quality=95) for size in range(60, 300, 20)] + [
        encoded(picture(), "PNG"),
        broken(),
    ]
    asked = [Wanted(opened(one), (WHOLE, HALF)) for one in data]
    shown = list(rendered(asked, 64, "bilinear", device))
    assert isinstance(shown.pop(), SourceError)
    for one, views in zip(data, shown, strict=False):
        for view, pixels in zip((WHOLE, HALF), views, strict=True):
            wanted = render_tensor(decode_tensor(one), view, 64, "bilinear").astype(int)
            assert np.abs(pixels.cpu().numpy() - wanted).mean() < 3
    (alone,) = rendered(asked[:1], 64, "bilinear", device)
    assert torch.equal(alone, shown[0])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("Failed to decode batch: 5"),
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
    ],
    ids=str,
)
def test_a_gpu_that_fails_is_no_reason_to_decode_another_way(monkeypatch, error):
    """Other grey levels would make other features, without a word."""

    def decode_on(device, data):
        raise error

    monkeypatch.setattr(jpegs, "decode_on", decode_on)
    with pytest.raises(type(error)):
        list(rendered([Wanted(opened(encoded(picture())), (WHOLE,))] * 2, 32, "bicubic", CPU))


def test_where_memory_does_not_suffice_for_all_the_gpu_decodes_one_by_one(monkeypatch):
    sizes = []

    def decode_on(device, data):
        sizes.append(len(data))
        if len(data) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [decode_tensor(one) ^ 1 for one in data]

    monkeypatch.setattr(jpegs, "decode_on", decode_on)
    shown = list(rendered([Wanted(opened(encoded(picture())), (WHOLE,))] * 3, 32, "bicubic", CPU))
    assert sizes == [3, 1, 1, 1] and all(isinstance(one, torch.Tensor) for one in shown)
