"""Crops resized by the batch are the bytes that each library makes of each crop alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.pixels import operations, resample, resizing
from distillkit.pixels.augment import fixed_crop, random_view, sample_stream
from distillkit.pixels.cuts import Cut, Cuts, finished
from distillkit.pixels.randaugment import OPERATIONS
from distillkit.pixels.resample import RESAMPLE, same_on
from distillkit.pixels.resizing import Axis
from distillkit.types import View

CPU = torch.device("cpu")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]


def crops(name, seed, count, size, interpolation, most=200):
    """Cut-outs of noise of any shape, and what the library itself makes of them."""
    library, random = RESAMPLE[name], np.random.default_rng(seed)
    cuts, wanted = [], []
    for number in range(count):
        width, height = (int(side) for side in random.integers(1, most, 2))
        image = library.from_array(random.integers(256, size=(height, width, 3), dtype=np.uint8))
        stream = sample_stream(seed, number, "k")
        view = random_view(stream, width, height, scale=(0.02, 1.0), ratio=(0.5, 2.0), flip=0.5)
        cuts.append(library.cut(image, view, size, interpolation))
        wanted.append(library.render(image, view, size, interpolation))
    return cuts, torch.from_numpy(np.stack(wanted))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("name", ["pillow", "torchvision"])
def test_the_same_bytes(name, interpolation, device):
    for seed, size in enumerate((1, 2, 7, 16, 33, 64)):
        cuts, wanted = crops(name, seed, 12, size, interpolation)
        assert torch.equal(Cuts(cuts, size, interpolation, name).to(device).cpu(), wanted)


@pytest.mark.parametrize("name", ["pillow", "torchvision"])
def test_no_crop_depends_on_its_batch(name, monkeypatch):
    cuts, wanted = crops(name, 3, 9, 16, "bicubic")
    for first in range(0, 9, 2):
        assert torch.equal(Cuts(cuts[first : first + 2], 16, "bicubic", name).to(CPU), wanted[first : first + 2])
    monkeypatch.setattr(resizing, "_VALUES", 1)  # each crop is a part of its own
    assert torch.equal(Cuts(cuts, 16, "bicubic", name).to(CPU), wanted)


def test_halving_is_a_mean_and_a_mirror_a_mirror():
    """Of 4 pixels in a row 2: a triangle two pixels to each side weighs 1 3 3 1 / 8, of what there is."""
    row = np.array([0, 70, 140, 210], np.uint8)
    image = np.broadcast_to(row[None, :, None], (4, 4, 3))
    whole = Axis(0.0, 4.0, 4, 0)
    for flip, wanted in ((False, (50, 160)), (True, (160, 50))):  # (3*0 + 3*70 + 140) / 7 = 50
        seen = Cuts([Cut(np.ascontiguousarray(image), whole, whole, flip)], 2, "bilinear", "pillow").to(CPU)
        assert seen[0, 0].tolist() == [list(wanted)] * 2


def test_what_has_its_size_stays_what_it_is():
    pixels = np.random.default_rng(0).integers(256, size=(3, 8, 8), dtype=np.uint8)
    for interpolation in ("bilinear", "bicubic"):
        for rounding in ("pillow", "torchvision"):
            others, _ = crops(rounding, 0, 2, 8, interpolation)
            for batch in ([finished(pixels)], [finished(pixels), *others]):
                assert np.array_equal(Cuts(batch, 8, interpolation, rounding).to(CPU)[0].numpy(), pixels)
    image = torch.randint(256, (3, 96, 96), dtype=torch.uint8)
    view, library = fixed_crop(sample_stream(0, 0, "k"), 96, 96, 64, flip=1.0), RESAMPLE["torchvision"]
    seen = Cuts([library.cut(image, view, 64, "bilinear")], 64, "bilinear", "torchvision").to(CPU)
    assert np.array_equal(seen[0].numpy(), library.render(image, view, 64))


def test_a_cut_that_is_dear_to_carry_is_left_to_the_worker():
    wide = RESAMPLE["pillow"].cut(Image.new("RGB", (900, 10)), View(), 100, "bilinear")
    large = RESAMPLE["torchvision"].cut(torch.zeros(3, 300, 300, dtype=torch.uint8), View(), 100, "bilinear")
    usual = RESAMPLE["pillow"].cut(Image.new("RGB", (250, 150)), View(), 100, "bilinear")
    assert not wide.fits(100) and not large.fits(100) and usual.fits(100)


def test_another_rounding_is_noticed(monkeypatch):
    assert {name for tried in resample._tried_operations() for name, _ in tried} == set(OPERATIONS)
    assert same_on(CPU, "pillow", 24, "bicubic") and same_on(CPU, "torchvision", 24, "bilinear")
    monkeypatch.setattr(operations, "FILL", (0, 0, 0))
    assert not same_on(CPU, "torchvision", 26, "bilinear")
    monkeypatch.undo()
    monkeypatch.setattr(resizing, "_PILLOW_BITS", 8)
    assert not same_on(CPU, "pillow", 25, "bicubic")
