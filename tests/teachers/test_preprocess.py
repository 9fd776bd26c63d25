"""From an image to what a teacher looks at: its own library's transform bit for bit, and views of the image."""

import pickle

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform

from distillkit.errors import TeacherError
from distillkit.pixels import render
from distillkit.teachers import openclip, timm
from distillkit.teachers._openclip_outline import preprocess_of
from distillkit.teachers._preprocess import normalised
from distillkit.types import View

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CPU = torch.device("cpu")


def noise(width=61, height=47):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def openclips(**knobs):
    config = PreprocessCfg(size=32, mean=MEAN, std=STD, **knobs)
    return preprocess_of(config), image_transform_v2(config, is_train=False)


def timms(**knobs):
    config = {"input_size": (3, 32, 32), "interpolation": "bicubic", "mean": MEAN, "std": STD, "crop_pct": 1.0}
    config |= {"crop_mode": "center"} | knobs
    return timm._preprocess(config), create_transform(**config, is_training=False)


KINDS = {
    "shortest": openclips(),
    "bilinear": openclips(interpolation="bilinear"),
    "squash": openclips(resize_mode="squash"),
    "longest": openclips(resize_mode="longest"),
    "center": timms(crop_pct=0.8),
    "timm squash": timms(crop_mode="squash"),
    "border": timms(crop_mode="border"),
    "lanczos": timms(interpolation="lanczos"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(61, 47), (20, 90), (32, 32), (1, 1)])
def test_with_mean_and_deviation_it_is_the_librarys_own_transform_bit_for_bit(kind, size):
    ours, theirs = KINDS[kind]
    shown = ours(noise(*size))
    assert shown.dtype == torch.uint8 and shown.shape == (3, 32, 32)
    assert torch.equal(normalised(shown[None], MEAN, STD, CPU)[0], theirs(noise(*size)))


@pytest.mark.parametrize("kind", KINDS)
def test_it_travels_to_workers_without_the_network(kind):
    there = pickle.dumps(KINDS[kind][0])
    assert len(there) < 2000
    assert torch.equal(pickle.loads(there)(noise()), KINDS[kind][0](noise()))  # noqa: S301


def test_floats_are_taken_for_normalised():
    shown = torch.rand(2, 3, 4, 4)
    assert torch.equal(normalised(shown, MEAN, STD, CPU), shown)


def test_a_view_is_rendered_at_the_teachers_size_with_its_interpolation():
    view = View((0.1, 0.2, 0.7, 0.9), True, (("invert", 0.0),))
    for kind, how in (("shortest", "bicubic"), ("bilinear", "bilinear")):
        assert np.array_equal(KINDS[kind][0](noise(), view).numpy(), render(noise(), view, 32, how))


@pytest.mark.parametrize("kind", ["shortest", "squash", "center", "timm squash"])
def test_the_clean_view_is_what_the_transform_shows(kind):
    """A ramp of greys, once through the transform and once as a view: the same but for rounding to whole pixels."""
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], (64, 1, 3)))
    preprocess = KINDS[kind][0]
    clean, view = preprocess(ramp).int(), preprocess(ramp, preprocess.clean_view(128, 64)).int()
    assert (clean - view).abs().max() <= 4 and (clean - preprocess(ramp, View((0, 0, 0.5, 1))).int()).abs().max() > 20


@pytest.mark.parametrize("kind", ["longest", "border", "lanczos"])
def test_teachers_whose_eyes_no_box_describes_refuse_views(kind):
    with pytest.raises(TeacherError, match="views are unpadded squares, bilinear or bicubic; extract its clean view"):
        KINDS[kind][0].refuse_views()
    KINDS["shortest"][0].refuse_views()


# The quick path is a choice that the fingerprint tells.


def test_the_quick_path_is_chosen_and_told(teacher_folder, tmp_path):
    ours, quick = (openclip.Openclip(model=f"local-dir:{teacher_folder}", device="cpu", pixels=p) for p in PATHS)
    assert "pixels" not in ours.fingerprint()["preprocess"]
    assert quick.fingerprint()["preprocess"] == ours.fingerprint()["preprocess"] | {"pixels": "torchvision"}
    noise(40, 40).resize((720, 720)).save(tmp_path / "a.jpg", quality=95)
    shown = [made.preprocess(made.preprocess.decode(tmp_path / "a.jpg")).int() for made in (ours, quick)]
    assert 0 < (shown[0] - shown[1]).abs().float().mean() < 2
    assert torch.equal(quick.preprocess(Image.open(tmp_path / "a.jpg").convert("RGB")).int(), shown[1])


def test_the_quick_path_refuses_teachers_that_want_borders():
    with pytest.raises(TeacherError, match="padded"):
        preprocess_of(PreprocessCfg(size=32, mean=MEAN, std=STD, resize_mode="longest"), "torchvision")


PATHS = ("pil", "torchvision")
