"""What a user can get wrong is one line, and no folder is left behind."""

import json

import pytest
from PIL import Image

from distillkit.export import export
from distillkit.exports.open_clip import OpenClip


class FullDisk(OpenClip):
    """A disk that is full in the middle of it."""

    def write(self, student, folder, precision, calibration=None):
        super().write(student, folder, precision, calibration)
        raise OSError(28, "No space left on device", str(folder))


def refused(run_cli, *words):
    code, out, err = run_cli("export", *words)
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1 and not out and len(told) == 1 and "Traceback" not in err, err
    return told[0]


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("pair", ["--to", "openclip"], "unknown kind 'openclip', did you mean 'open_clip'?"),
        ("pair", ["--to", "timm"], "its image tower is no network that timm can build; export it to open_clip or onnx"),
        ("image", ["--to", "open_clip"], "this student has no text tower; put the teacher's beside it"),
        ("pair", ["--to", "open_clip", "--precision", "int8"], "is written in fp32 or fp16, not in int8"),
        ("text", ["--to", "onnx", "--tower", "image"], "this student has no such tower"),
        ("prompted", ["--to", "onnx", "--tower", "text"], "its prompts are learned for its classes"),
        ("pair", ["--to", "open_clip", "--text-tower", "teacher"], "this student has a text tower of its own"),
        ("pair", ["--to", "open_clip", "--samples", "nowhere"], "--samples nowhere: no such folder"),
        ("pair", ["--to", "open_clip", "--keep", "fp32:norm"], "unknown key 'keep'"),
        ("pair", ["--to", "classifier"], "no classes are known; name a store of class prompts with --classes"),
        ("pair", ["--to", "tests.exports.test_refusals:FullDisk"], "no space left on the disk"),
    ],
    ids=str,
)
def test_one_line_and_no_folder(runs, run_cli, tmp_path, monkeypatch, name, words, told):
    run = runs(name)
    monkeypatch.chdir(tmp_path)
    assert told in refused(run_cli, run, *words, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_too_few_samples_are_told_for_each_tower(runs, run_cli, tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    told = refused(run_cli, runs("image"), "--to", "timm", "--samples", tmp_path, "--out", tmp_path / "out")
    assert "3 pictures to ask the image tower about, at least 256 are needed" in told


@pytest.mark.parametrize(("file", "told"), [("1.png", "not an image"), ("1.txt", "not UTF-8")])
def test_a_sample_that_cannot_be_read_is_named(runs, run_cli, tmp_path, file, told):
    for number in range(256):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / file).write_bytes(b"\xff\xfe no")
    line = refused(run_cli, runs("image"), "--to", "timm", "--samples", tmp_path, "--out", tmp_path / "out")
    assert f"{tmp_path / file}: {told}" in line and not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(runs, run_cli, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    told = refused(run_cli, runs("pair"), "--to", "open_clip", "--out", tmp_path)
    assert "is there already" in told and (tmp_path / "mine.txt").read_text() == "mine"


def test_of_two_exports_at_once_the_second_says_so_and_the_first_is_whole(runs, run_cli, tmp_path, monkeypatch):
    run, place, told, write = runs("pair"), tmp_path / "out", [], OpenClip.write

    def write_and_meet_another(self, student, folder, precision, calibration=None):
        write(self, student, folder, precision, calibration)
        told.append(refused(run_cli, run, "--to", "open_clip", "--out", place))

    monkeypatch.setattr(OpenClip, "write", write_and_meet_another)
    export(run, "open_clip", out=place, say=lambda line: None)
    assert len(told) == 1 and f"{place}: another process is making it; wait for that one" in told[0]
    assert (place / "open_clip_model.safetensors").is_file() and [*tmp_path.iterdir()] == [place]
    assert "is there already" in refused(run_cli, run, "--to", "open_clip", "--out", place)


def test_a_run_that_is_not_finished_is_told_so(run_cli, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({"identity": {}, "recipe": {}}))
    assert "has not finished" in refused(run_cli, tmp_path, "--to", "timm")
