"""Knobs of decoding: memory changes no row; pixels' limit and reduced JPEGs do, and are told."""

import json

import pytest
from PIL import Image

from distillkit.errors import TeacherError
from distillkit.extract import extract
from distillkit.pixels import room
from distillkit.store.format.manifest import Manifest
from distillkit.teachers.openclip import Openclip


@pytest.fixture
def run(recipes, tmp_path):
    def extracted(out, *settings):
        settings = [f'out="{tmp_path / out}"', *settings]
        store = extract(recipes[0], lambda line: None, overrides=settings)[0]
        return Manifest.read(store)

    yield extracted
    room.limit_to(None)


@pytest.mark.parametrize("decoders", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_the_rows_do_not_depend_on_the_memory(run, decoders):
    files = [
        [shard.files for shard in run(out, *memory, f'decode="{decoders}"').shards]
        for out, memory in (("a", []), ("b", ['memory="0.01MB"', "decode_threads=4"]))
    ]
    assert files[0] == files[1]


def test_plan_tells_the_memory(run_cli, recipes):
    code, out, _ = run_cli("extract-teacher", recipes[0], "--plan", "--set", 'memory="500MB"')
    assert (
        code == 0 and "decoded images take at most 500 MB of memory; an image that needs more is decoded alone" in out
    )
    room.limit_to(None)


def test_the_limit_of_pixels_is_a_knob_and_training_knows_it(run):
    manifest = run("small", "corpora.0.max_pixels=2000", "corpora.0.max_failures=1.0")
    assert manifest.skipped == 70 - 24 and manifest.source["max_pixels"] == 2000  # of 48 x 40, 50 and 60
    assert "max_pixels" not in run("whole").source


def test_reduced_jpegs_are_another_teacher(teacher_folder, tmp_path):
    whole, reduced = (Openclip(model=f"local-dir:{teacher_folder}", reduced=on) for on in (False, True))
    assert "reduced" not in json.dumps(whole.fingerprint())
    assert reduced.fingerprint()["preprocess"]["reduced"] is True
    Image.effect_noise((640, 512), 90).convert("RGB").save(tmp_path / "a.jpg")
    sizes = [one.preprocess.decode(tmp_path / "a.jpg").size for one in (whole, reduced)]
    assert sizes == [(640, 512), (80, 64)]  # the teacher looks at 32 pixels
    with pytest.raises(TeacherError, match=r"teacher\.reduced: only Pillow can"):
        Openclip(model=f"local-dir:{teacher_folder}", reduced=True, pixels="torchvision")
