"""A finished student as a teacher: what it says in a store is what it says, and what its export says."""

import json

import pytest
import torch
from safetensors.torch import save_file

from distillkit import extract
from distillkit.errors import TeacherError
from distillkit.export import export
from distillkit.originals import Originals
from distillkit.parity.reference import Reference
from distillkit.recipe import Component
from distillkit.runfolder import RunFolder
from distillkit.store.format.sameness import other_teacher
from distillkit.store.reading.reader import FeatureStore
from tests.exports.conftest import pictures, runs  # noqa: F401
from tests.exports.world import STUDENTS

EXTRACT = """
name = "second"
out = "{out}"
teacher = {teacher}
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["image", "text"]
dtype = "float32"
"""


def example(folder):
    """What training leaves of a pair, as far as a teacher needs it."""
    torch.manual_seed(0)
    student = Component(**STUDENTS["pair"]).build("students")
    save_file(student.state_dict(), folder / "student.safetensors")
    (folder / "recipe.json").write_text(json.dumps({"recipe": {"student": STUDENTS["pair"]}}))
    (folder / "student.json").write_text("{}")
    return {"run": str(folder)}


def store_of(folder, pictures, teacher):  # noqa: F811
    folder.mkdir()
    text = EXTRACT.format(out=folder / "out", teacher=teacher, corpus=pictures.parent / "corpus")
    (folder / "extract.toml").write_text(text)
    extract(folder / "extract.toml", lambda line: None)
    return FeatureStore(folder / "out/images")


def test_rows_are_what_the_student_says_and_what_its_export_says(runs, pictures, tmp_path):  # noqa: F811
    run = runs("pair")
    store = store_of(tmp_path / "one", pictures, f'{{ kind = "run", run = "{run}" }}')
    student = Reference(RunFolder(run).load_student())
    images, rows = Originals(store, None), store.ok_rows[:40]
    expected = student.images([images.open(int(row))[0] for row in rows])
    torch.testing.assert_close(store.read("image", rows), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)
    texts = student.texts(store.index["text"].take(rows).to_pylist())
    torch.testing.assert_close(store.read("text", rows), torch.from_numpy(texts), rtol=1e-5, atol=1e-5)
    assert store.teacher("image")["weights_sha256"] and store.teacher("image")["student"] == "openclip_pair"

    folder = export(run, "open_clip", out=tmp_path / "exported", say=lambda line: None)
    other = store_of(tmp_path / "two", pictures, f'{{ kind = "openclip", model = "local-dir:{folder}" }}')
    squares = [row for row in range(len(store)) if row % 3 == 2]  # others are cut at whole pixels by open_clip
    torch.testing.assert_close(store.read("image", squares), other.read("image", squares), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(store.read("text", squares), other.read("text", squares), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["text", "tokens", "slim"])
def test_it_says_what_its_student_can(runs, name):  # noqa: F811
    teacher = Component(kind="run", run=str(runs(name))).build("teachers")
    fields = {"text": {"text"}, "tokens": {"image", "cls", "patches"}, "slim": {"image", "text"}}[name]
    assert set(teacher.fields) == fields
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8) if "image" in fields else None
    tokens = teacher.tokenize(["a dot", "a ring"])[0] if "text" in fields else None
    said = teacher.forward(pixels=pixels, tokens=tokens)
    for field, shape in teacher.fields.items():
        assert list(getattr(said, field).shape) == [2, *shape]


def test_a_run_that_is_not_finished_is_one_line(runs, tmp_path):  # noqa: F811
    with pytest.raises(TeacherError, match="has no finished run that could be the teacher"):
        Component(kind="run", run=str(tmp_path)).build("teachers")
    for file in ("recipe.json", "student.json"):
        (tmp_path / file).write_bytes((runs("text") / file).read_bytes())
    with pytest.raises(TeacherError, match="its student cannot be loaded") as refusal:
        Component(kind="run", run=str(tmp_path)).build("teachers")
    assert "\n" not in str(refusal.value) and json.loads((tmp_path / "student.json").read_bytes())


def test_another_precision_is_another_teacher(tmp_path):
    told = [
        Component(kind="run", **example(tmp_path), **knobs).build("teachers").fingerprint()
        for knobs in ({}, {"precision": "fp32"}, {"precision": "bf16"})
    ]
    assert told[0] == told[1] and told[2] == told[0] | {"precision": "bf16"}


@pytest.mark.parametrize(("name", "to"), [("pair", "open_clip"), ("image", "timm"), ("tokens", "timm")])
def test_an_exported_folder_is_the_same_teacher_and_says_the_same(runs, pictures, tmp_path, name, to):  # noqa: F811
    run = runs(name)
    folder = export(run, to, out=tmp_path / "exported", say=lambda line: None)
    both = [Component(kind="run", run=str(place)).build("teachers") for place in (run, folder)]
    prints = [teacher.fingerprint() for teacher in both]
    assert other_teacher(*prints) is None
    assert prints[0] | {"model": ""} == prints[1] | {"model": ""}
    images = Originals(FeatureStore(pictures / "images"), None)
    pixels = torch.stack([both[0].preprocess(images.open(row)[0]) for row in range(8)])
    assert torch.equal(*(teacher.forward(pixels=pixels).image for teacher in both))
    if "text" in both[0].fields:
        tokens, _ = both[0].tokenize(["a photo of a cat"])
        assert torch.equal(*(teacher.forward(tokens=tokens).text for teacher in both))


def test_an_export_with_other_weights_is_told_so(runs, tmp_path):  # noqa: F811
    for name, to, precision in (("pair", "open_clip", "fp16"), ("slim", "open_clip", "fp32")):
        folder = export(runs(name), to, precision=precision, out=tmp_path / name, say=lambda line: None)
        with pytest.raises(TeacherError, match="does not hold its student's own weights"):
            Component(kind="run", run=str(folder)).build("teachers")
