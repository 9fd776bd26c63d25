"""What a user can get wrong is one line, and no folder is left behind."""

import importlib.util
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from distillkit.errors import ExportError, MissingExtra
from distillkit.export import export
from distillkit.exports._describe import teacher_texts
from distillkit.exports._described import Described, ImageTower, Shown
from distillkit.exports._graphs import write_graph
from distillkit.exports._tokens import FILE as TOKENIZER
from distillkit.exports._tokens import write_tokenizer
from distillkit.exports.executorch import Executorch
from distillkit.exports.hf import Hf
from distillkit.exports.open_clip import OpenClip
from distillkit.exports.timm import Timm
from distillkit.exports.torch import _write as write_program
from distillkit.exports.web import _refuse_strange_tokenizer
from distillkit.runfolder import RunFolder


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
        (
            "pair",
            ["--to", "onnx", "--keep", "fp32:norm"],
            "--keep fp32:norm: --precision fp32 keeps all of it in fp32; leave --keep out",
        ),
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


def test_open_clip_is_named_as_a_cure_only_where_it_could_build_the_tower():
    tower = ImageTower(torch.nn.Identity(), 32, Shown(32, (0.0,) * 3, (1.0,) * 3))
    for openclip, told in ((None, "export it to onnx"), ({"embed_dim": 32}, "export it to open_clip or onnx")):
        refusal = Timm().holds(Described("own", replace(tower, openclip=openclip), None))
        assert refusal == f"its image tower is no network that timm can build; {told}"


def test_the_teachers_text_tower_is_named_as_a_cure_only_where_it_would_do(runs, run_cli, tmp_path, monkeypatch):
    run, out = runs("image"), ["--out", tmp_path / "out"]
    assert '"--text-tower teacher"' in refused(run_cli, run, "--to", "open_clip", *out)
    assert '"--text-tower teacher"' in refused(run_cli, run, "--to", "web", *out)
    made = teacher_texts(RunFolder(run).facts()["teacher"])
    found = made.openclip | {"text_cfg": made.openclip["text_cfg"] | {"hf_model_name": "somebody/bert"}}
    made = replace(made, openclip=found)
    monkeypatch.setattr("distillkit.export.teacher_texts", lambda fingerprint: made)
    told = refused(run_cli, run, "--to", "open_clip", *out)
    assert "no text tower; nor can the teacher's stand beside it: its text tower is a network of transformers" in told
    assert "--text-tower" not in told and told.endswith("export it to onnx")

    def lacking(fingerprint):
        raise ExportError("--text-tower teacher: the teacher dino has no text tower of open_clip to put beside it")

    monkeypatch.setattr("distillkit.export.teacher_texts", lacking)
    told = refused(run_cli, run, "--to", "open_clip", *out)
    assert "stand beside it: the teacher dino has no text tower" in told and told.endswith("; export it to onnx")
    told = refused(run_cli, run, "--to", "web", *out)
    assert "--classes" in told and "--text-tower" not in told


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"text_tower": "techer"}, "--text-tower techer: write own or teacher"),
        ({"keep": "(", "precision": "fp16"}, r"--keep fp32:\(: no regular expression"),
    ],
)
def test_what_the_command_line_refuses_python_refuses(runs, tmp_path, knobs, told):
    with pytest.raises(ExportError, match=told):
        export(runs("image"), "onnx", out=tmp_path / "out", **knobs)
    assert list(tmp_path.iterdir()) == []


def test_too_few_samples_are_told_for_each_tower(runs, run_cli, tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    told = refused(run_cli, runs("image"), "--to", "timm", "--samples", tmp_path, "--out", tmp_path / "out")
    assert "3 pictures to ask the image tower about, at least 256 are needed" in told


def test_texts_that_cannot_be_read_are_named(runs, run_cli, tmp_path):
    (tmp_path / "1.txt").write_bytes(b"\xff\xfe no")
    line = refused(run_cli, runs("image"), "--to", "timm", "--samples", tmp_path, "--out", tmp_path / "out")
    assert f"{tmp_path / '1.txt'}: not UTF-8" in line and not (tmp_path / "out").exists()


def test_a_picture_that_cannot_be_read_is_named_and_left_out(runs, run_cli, tmp_path):
    for number in range(256):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"\xff\xfe no")
    code, _, err = run_cli("export", runs("image"), "--to", "timm", "--samples", tmp_path, "--out", tmp_path / "out")
    assert code == 1 and "255 pictures to ask the image tower about" in err
    assert f"left out 1 picture that cannot be read, the first {tmp_path / '1.png'}: not an image" in err


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
    place = place.with_name("small.onnx")
    told = f"error: {place}: a folder of files is made; name it {place.with_suffix('')}"
    assert refused(run_cli, run, "--to", "onnx", "--out", place) == told and not place.exists()


def test_a_run_that_is_not_finished_is_told_so(run_cli, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({"identity": {}, "recipe": {}}))
    assert "has not finished" in refused(run_cli, tmp_path, "--to", "timm")


@pytest.mark.parametrize(("package", "to"), [("onnx", "onnx"), ("onnxscript", "onnx"), ("onnxruntime", "classifier")])
def test_a_converter_that_is_not_installed_is_told_with_its_extra(
    runs, pictures, run_cli, tmp_path, monkeypatch, package, to
):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == package else found(name, *more))
    words = ["--classes", f"{pictures}/prompts"] if to == "classifier" else []
    told = refused(run_cli, runs("pair"), "--to", to, *words, "--out", tmp_path / "out")
    assert told == f'error: {package} is not installed; run: pip install "distillkit[export]"'
    assert list(tmp_path.iterdir()) == []


def test_programs_that_are_not_installed_are_told_with_their_extras(runs, run_cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    told = refused(run_cli, runs("pair"), "--to", "hf", "--out", tmp_path / "out")
    assert told == 'error: transformers is not installed; run: pip install "distillkit[export]"'
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r'tokenizers is not installed; run: pip install "distillkit\[export\]"'):
        write_tokenizer(tmp_path, SimpleNamespace(tokenizer=None))
    monkeypatch.setattr("distillkit.exports.executorch.find_spec", lambda name: None)
    told = Executorch().holds(SimpleNamespace(towers=["image"]))
    assert told == 'executorch is not installed; run: pip install "distillkit[executorch]"'
    assert list(tmp_path.iterdir()) == []


class OfTwo(nn.Module):
    """Its batch is two, whatever it is asked."""

    def forward(self, x):
        return x + torch.zeros(2, 1, 1)


class Eigen(nn.Module):
    """What it computes, no opset has."""

    def forward(self, x):
        return torch.linalg.eigvalsh(x @ x.mT)


@pytest.mark.parametrize("network", [OfTwo(), Eigen()])
def test_what_onnx_cannot_hold_is_one_line(tmp_path, network):
    path = tmp_path / "vision_model.onnx"
    with pytest.raises(
        ExportError, match=r"^vision_model\.onnx: (ONNX cannot hold this network: |this network's batch)"
    ) as no:
        write_graph(network, torch.randn(2, 3, 4), path, "pixel_values", ["image_embeds"], {})
    assert "\n" not in str(no.value) and not path.exists()


class Written(nn.Module):
    """The converter has to write something meanwhile."""

    def forward(self, x):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/a', '/b']")


def test_what_the_system_refuses_the_converter_is_no_fault_of_the_network(tmp_path):
    with pytest.raises(FileNotFoundError, match="No usable temporary directory"):
        write_graph(Written(), torch.randn(2, 3, 4), tmp_path / "vision_model.onnx", "pixel_values", ["out"], {})
    with pytest.raises(FileNotFoundError, match="No usable temporary directory"):
        write_program(Written(), torch.randn(2, 3, 4), tmp_path / "image.pt2")


def test_what_cannot_be_traced_is_one_line(tmp_path):
    with pytest.raises(ExportError, match=r"^image\.pt2: torch\.export cannot trace this network: ") as no:
        write_program(OfTwo(), torch.randn(2, 3, 4), tmp_path / "image.pt2")
    assert "\n" not in str(no.value) and list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_its_own_is_refused_where_a_program_has_none_like_it(tmp_path):
    """transformers' CLIP has CLIP's alone; the page splits by pairs of bytes and word pieces."""
    text = SimpleNamespace(tokenizer="somebody/unigram")
    told = Hf().holds(SimpleNamespace(image=None, text=text, towers=["text"]))
    assert told is not None and "its text tower is not CLIP's own kind" in told and "export it to onnx" in told
    metaspace = {"type": "Metaspace"}
    for told in (
        {"model": {"type": "Unigram"}},
        {"model": {"type": "BPE", "end_of_word_suffix": None}},
        {"model": {"type": "WordPiece"}, "pre_tokenizer": metaspace},
    ):
        (tmp_path / TOKENIZER).write_text(json.dumps(told))
        with pytest.raises(
            ExportError, match=f"another tokenizer of kind {told['model']['type']}; leave the texts out"
        ):
            _refuse_strange_tokenizer(tmp_path)
