"""Weights that are not as they were written are not used: not measured, inherited, exported, nor asked as a teacher."""

import json
import shutil

import pytest
import torch

from distillkit import export
from distillkit.errors import DistillkitError, TeacherError, TrainError
from distillkit.evaluate import evaluate
from distillkit.recipe import Component
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import file_digest
from distillkit.students._weights import earlier_student
from distillkit.system.weights import FILE
from distillkit.teachers._students import student_of
from distillkit.train import train
from tests.faults.training_jobs import RUN, Trained, quiet
from tests.weights import as_older

RECORDS = {".": "student.json", "best": "best/best.json"}
FOLDERS = sorted(RECORDS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "disk"
    folder.mkdir()
    job = Trained()
    job.prepare(folder)
    train(job.asked(folder), quiet)
    return folder / RUN


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 64
    path.write_bytes(raw)


@pytest.mark.parametrize("place", FOLDERS)
def test_the_record_beside_them_tells_of_them(trained, place):
    record = json.loads((trained / RECORDS[place]).read_bytes())
    assert record["weights_sha256"] == file_digest(trained / place / FILE).sha256
    RunFolder(trained / place).load_student()


@pytest.mark.parametrize("place", FOLDERS)
def test_one_flipped_bit_is_told_with_what_to_do(run, place):
    flip(run / place / FILE)
    cure = {".": "delete student.json beside it", "best": "measure the run itself"}[place]
    other = {".": "delete student.json .* its last checkpoint", "best": "name the run itself"}[place]
    said = rf"{FILE}: damaged \(sha256 \w{{16}}, {RECORDS[place].split('/')[-1]} says \w{{16}}\); {cure}"
    with pytest.raises(TrainError, match=said):
        RunFolder(run / place).load_student()
    with pytest.raises(TrainError, match=said):
        evaluate(run / place, quiet)
    with pytest.raises(TrainError, match=said):
        export(run / place, "torch", say=quiet)
    with pytest.raises(TeacherError, match=rf"{FILE} is damaged \(sha256 .*; {other}"):
        earlier_student(f"run:{run / place}")
    with pytest.raises(TeacherError, match=rf"{FILE}: damaged \(sha256 .*; {other}"):
        student_of(run / place)


@pytest.mark.parametrize("place", FOLDERS)
def test_runs_of_before_are_opened_as_before(run, place):
    as_older(run / place)
    student = RunFolder(run / place).load_student()
    flip(run / place / FILE)
    assert not torch.equal(RunFolder(run / place).load_student().layer.weight, student.layer.weight)
    assert earlier_student(f"run:{run / place}") and student_of(run / place)


def test_the_number_that_best_was_selected_by_is_told_as_before(run):
    for told in (lambda: None, lambda: as_older(run / "best")):
        told()
        assert RunFolder(run / "best").weights()["selected"]["number"] == "near"


def test_what_the_cure_says_is_enough(trained, tmp_path):
    """From the last checkpoint the same weights come."""
    folder = tmp_path / "disk"
    folder.mkdir()
    job = Trained()
    job.prepare(folder)
    train(job.asked(folder), quiet)
    want = (folder / RUN / FILE).read_bytes()
    flip(folder / RUN / FILE)
    (folder / RUN / "student.json").unlink()
    train(job.asked(folder), quiet)
    assert (folder / RUN / FILE).read_bytes() == want and RunFolder(folder / RUN).load_student()


def test_a_student_that_would_inherit_them_is_refused_in_a_line(run):
    flip(run / FILE)
    knobs = {"kind": "openclip_image", "model": "ViT-B-32", "inherit": f"run:{run}"}
    with pytest.raises(DistillkitError, match="is damaged") as refused:
        Component(**knobs).build("students").begin()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", FOLDERS)
@pytest.mark.parametrize(("content", "told"), [("", "is no JSON"), ("[1]", "is a list"), ('{"a": ', "is no JSON")])
def test_weights_whose_record_tells_nothing_are_not_opened(run, place, content, told):
    (run / RECORDS[place]).write_text(content)
    with pytest.raises(TrainError, match=rf"{FILE}: damaged \({RECORDS[place].split('/')[-1]} {told}") as error:
        RunFolder(run / place).load_student()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", FOLDERS)
def test_a_folder_in_place_of_weights_is_damage(run, place):
    (run / place / FILE).unlink()
    (run / place / FILE).mkdir()
    with pytest.raises(TrainError, match=rf"{FILE}: damaged \(a folder has that name\)"):
        RunFolder(run / place).load_student()
