"""What SECURITY.md says of strangers' files and no room's own tests hold it to; the tests that it names are there."""

import ast
import json
import pickle
import re
import socket
import sys
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from distillkit.errors import DistillkitError
from distillkit.originals import Originals
from distillkit.recipe import TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import Manifest, file_digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.verify import verify
from distillkit.training import checkpoint
from distillkit.training.checkpoint import State
from tests.records import without_checksum
from tests.store.conftest import toy_at
from tests.training.test_checkpoint import made
from tests.weights import as_older

ROOT = Path(__file__).parents[1]
BAIT = "bait_module_for_tests"


@pytest.fixture
def toy(tmp_path):
    return toy_at(tmp_path / "store").write()


@pytest.fixture
def bait(tmp_path, monkeypatch):
    """A module that leaves a file where it is imported; returns the file."""
    ran = tmp_path / "ran"
    (tmp_path / "modules").mkdir()
    (tmp_path / f"modules/{BAIT}.py").write_text(f"open({str(ran)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    yield ran
    sys.modules.pop(BAIT, None)


class Evil:
    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return open, (str(self.ran), "w")


def named():
    """Every test that the page names, as `file::test`."""
    return re.findall(r"`(tests/[^`]+)`", (ROOT / "SECURITY.md").read_text("utf-8"))


def test_every_test_that_the_page_names_is_there():
    places = [name for name in named() if not name.startswith("tests/faults")]
    assert len(places) > 20 and all("::" in name for name in places), places
    for name in places:
        file, _, test = name.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name


def test_every_row_of_the_page_names_a_test():
    rows = [line for line in (ROOT / "SECURITY.md").read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 8 and [row for row in rows if "::test_" not in row.rpartition(" | ")[2]] == []


def test_a_store_imports_its_source_when_its_images_are_read_and_not_before(toy, bait):
    manifest = json.loads((toy.path / "manifest.json").read_bytes())
    manifest["source"]["kind"] = f"{BAIT}:Source"
    (toy.path / "manifest.json").write_text(json.dumps(manifest))
    store = FeatureStore(toy.path)
    store.read("image", store.ok_rows)
    assert Manifest.read(toy.path).rows and store.failures() is not None
    verify(toy.path)
    assert not bait.exists() and BAIT not in sys.modules
    with pytest.raises(DistillkitError):  # it has no class Source, but it ran
        Originals(store, None)
    assert bait.exists()


@pytest.fixture
def run_folder(tmp_path, recipes):
    """A finished run, as far as its records say so."""
    run = RunFolder(tmp_path / "run")
    run.begin(load(recipes[1], [], kind=TrainRecipe), {"recipe": {}, "stores": {}})
    (run.path / "student.json").write_text('{"teacher": {}}')
    return run


def test_a_run_folder_imports_what_its_recipe_names(run_folder, bait, run_cli):
    record = json.loads((run_folder.path / "recipe.json").read_bytes())
    record["recipe"]["student"] = {"kind": f"{BAIT}:Student"}
    (run_folder.path / "recipe.json").write_text(without_checksum(record))
    assert run_folder.history() == [] and run_folder.facts() and run_folder.finished
    assert not bait.exists()
    code, _, err = run_cli("evaluate", run_folder.path)
    assert code == 1 and err.count("\n") == 1 and bait.exists()


def test_weights_of_a_run_that_are_a_pickle_run_no_code(run_folder, tmp_path):
    ran = tmp_path / "ran"
    as_older(run_folder.path)  # a stranger's record tells whatever checksum he likes
    for save in (lambda file: pickle.dump(Evil(ran), file), lambda file: torch.save(Evil(ran), file)):
        with (run_folder.path / "student.safetensors").open("wb") as file:
            save(file)
        with pytest.raises(DistillkitError, match=r"student\.safetensors: damaged") as caught:
            run_folder.load_student()
        assert not ran.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_checkpoint_that_is_a_pickle_runs_no_code(tmp_path, name):
    ran = tmp_path / "ran"
    path = checkpoint.save(tmp_path / "checkpoints", State.of(7, *made()), keep=1)
    (path / name).write_bytes(pickle.dumps(Evil(ran)))
    if name != "state.json":  # its checksums are whoever's who wrote it
        state = json.loads((path / "state.json").read_bytes())
        (path / "state.json").write_text(json.dumps({key: state[key] for key in ("step", "scaler")}))
    with pytest.raises(DistillkitError) as caught:
        checkpoint.set_damaged_aside(tmp_path / "checkpoints", pytest.fail)
    assert not ran.exists() and "\n" not in str(caught.value)


def test_rows_of_a_view_that_are_a_pickle_run_no_code(toy, tmp_path):
    ran = tmp_path / "ran"
    select(toy.path, np.arange(5), tmp_path / "view")
    np.save(tmp_path / "view/rows.npy", np.array([Evil(ran)], dtype=object), allow_pickle=True)
    record = json.loads((tmp_path / "view/view.json").read_bytes())
    record["sha256"] = file_digest(tmp_path / "view/rows.npy").sha256
    (tmp_path / "view/view.json").write_text(json.dumps(record))
    with pytest.raises(DistillkitError) as caught:
        _ = FeatureStore(tmp_path / "view").ok_rows
    assert not ran.exists() and "\n" not in str(caught.value)


@pytest.fixture
def offline(monkeypatch):
    """Who asks for an address gets none, and is remembered; sockets within this machine stay."""
    asked = []

    def refuse(*what, **more):
        asked.append(what)
        raise OSError(f"nobody may ask for {what}")

    real = socket.socket.connect

    def connect(self, address):
        return real(self, address) if self.family == socket.AF_UNIX else refuse(address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    for call in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, call, refuse)
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return asked


@pytest.mark.long
def test_no_address_is_asked_that_a_recipe_does_not_name(recipes, run_cli, tmp_path, offline, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    short = ("--set", "optim.epochs=1.0", "--set", "optim.warmup_epochs=0.0")
    for words in (
        ("recipe", "check", recipes[0], "--no-plugins"),
        ("extract-teacher", recipes[0]),
        ("store", "verify", tmp_path / "out/images"),
        ("recipe", "check", recipes[1]),
        ("train-student", recipes[1], *short),
        ("evaluate", tmp_path / "out/run"),
        ("search", tmp_path / "out/images", "a red square", "--in", tmp_path / "out/images"),
    ):
        code, _, err = run_cli(*words)
        assert code == 0 and offline == [], (words, err, offline)
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", 'corpora.0.source.file="https://host.invalid/a.tsv"')
    assert code == 1 and offline and "host.invalid" in err  # the trap does catch
