"""A run folder with damaged files, places that cannot be run folders, devices that do not exist: one clear line."""

import shutil

import numpy as np
import pytest

from distillkit.store.reading.selection import select


@pytest.fixture
def stopped(student):
    """A run with the checkpoints of steps 2 to 4, as a kill after step 4 of 8 leaves it."""
    calm = student("checkpoints.every_steps=1", "checkpoints.keep=9", "optim.epochs=4.0")
    assert calm[0] == 0
    (student.run / "student.json").unlink()
    for step in (1, *range(5, 9)):
        shutil.rmtree(student.run / f"checkpoints/{step:08d}")
    return lambda *words: student("checkpoints.every_steps=1", "optim.epochs=4.0", words=words)


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_goes_on(stopped, student, name):
    calm = (student.run / "student.safetensors").read_bytes()
    cut_off(student.run / "checkpoints/00000004" / name)
    code, err = stopped()
    assert code == 0 and "00000004: damaged (" in err and "now 00000004.before-damaged; the one before is taken" in err
    assert "continuing after step 3" in err
    assert (student.run / "student.safetensors").read_bytes() == calm
    assert (student.run / "checkpoints/00000008/state.json").is_file()


def test_no_whole_checkpoint_is_told_and_nothing_is_moved(stopped, student):
    for path in (student.run / "checkpoints").glob("*/model.safetensors"):
        cut_off(path)
    code, err = stopped()
    assert code == 1 and err.count("\n") == 1 and "no checkpoint before it is whole; begin with --overwrite" in err
    assert len(list((student.run / "checkpoints").iterdir())) == 3
    code, err = stopped("--overwrite")
    assert code == 0 and "training anew, the old run is now" in err


@pytest.mark.parametrize("kept", [4, 0])
def test_steps_that_are_made_again_are_told(stopped, student, kept):
    """The log has all eight steps; a kill left checkpoints up to the fourth, or none."""
    for step in range(kept + 1, 5):
        shutil.rmtree(student.run / f"checkpoints/{step:08d}", ignore_errors=True)
    (student.run / "metrics.jsonl").write_text('{"step": 7, "seconds": 1.0}\n')
    code, err = stopped()
    since = "step 4, the last checkpoint" if kept else "the beginning, before the first checkpoint"
    assert code == 0 and f"{7 - kept} steps since {since} are made again (checkpoints.every_steps is 1)" in err
    assert "made again" not in stopped()[1]


def test_the_size_of_a_checkpoint_is_told_once(student):
    code, err = student("checkpoints.every_steps=1")
    size = sum(path.stat().st_size for path in (student.run / "checkpoints/00000004").glob("*.safetensors"))
    told = float(err.partition("a checkpoint takes ")[2].partition(" MB")[0])
    assert code == 0 and err.count("a checkpoint takes") == 1 and told == pytest.approx(size / 1e6, rel=0.02)


def test_records_of_a_run_that_are_damaged_are_named(student, run_cli):
    evals = f'evals=[{{ kind = "retrieval", store = "{student.stores}/images" }}]'
    assert student(evals)[0] == 0
    for name, advice in (
        ("student.safetensors", "delete student.json beside it"),
        ("student.json", "--overwrite"),
        ("recipe.json", "--overwrite"),
    ):
        whole = (student.run / name).read_bytes()
        cut_off(student.run / name)
        code, _, err = run_cli("evaluate", student.run)
        assert code == 1 and err.count("\n") == 1, err
        assert f"{student.run / name}: damaged (" in err and advice in err
        (student.run / name).write_bytes(whole)
    cut_off(student.run / "recipe.json")
    code, err = student(evals)
    assert code == 1 and err.count("\n") == 1 and "recipe.json: damaged (" in err
    code, err = student(evals, words=["--overwrite"])
    assert code == 0 and "the old run is now" in err and "run.before-damaged" in err


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu:x"])
def test_a_device_that_does_not_exist_is_told(student, device):
    code, err = student(f'device="{device}"')
    assert code == 1 and err.count("\n") == 1 and f"device = '{device}':" in err and "set device to auto" in err


def test_a_place_that_cannot_be_a_run_folder_is_told(student, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for out in ("/proc/xx", tmp_path / "taken", tmp_path / "taken/below"):
        code, err = student(f'out="{out}"')
        assert code == 1 and err.count("\n") == 1 and f"{out}: cannot be a run folder (" in err
    assert (tmp_path / "taken").read_text() == "a file"


def _tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=["", "overwrite"])
@pytest.mark.parametrize("place", ["a store", "within a store", "a view", "runs"])
def test_what_is_no_run_folder_is_not_made_one(student, tmp_path, place, words):
    """A run among a store's files would be moved away with them, and --overwrite would move all of them."""
    store, view, runs = tmp_path / "store", tmp_path / "view", tmp_path / "runs"
    shutil.copytree(student.stores / "images", store)
    select(store, np.arange(9), view)
    for name in ("one", "two"):
        (runs / name).mkdir(parents=True)
        (runs / name / "recipe.json").write_text("{}")
    out, told = {
        "a store": (store, "is a feature store"),
        "within a store": (store / "deep/run", f"lies in the feature store {store}"),
        "a view": (view, "is a feature store"),
        "runs": (runs, "holds the runs one, two, and is none"),
    }[place]
    before = _tree(tmp_path)
    code, err = student(f'out="{out}"', words=words)
    assert code == 1 and told in err.splitlines()[-1] and str(out) in err.splitlines()[-1]
    assert _tree(tmp_path) == before
    _, told_before, _ = student.cli("recipe", "check", student.recipe, "--set", f'out="{out}"')
    assert place == "within a store" or told in told_before


def test_a_folder_of_files_is_trained_in_and_never_moved(student):
    """Who keeps what the command says may keep it there."""
    student.run.mkdir()
    (student.run / "log.txt").write_text("mine")
    assert student(words=["--overwrite"])[0] == 0
    assert (student.run / "log.txt").read_text() == "mine" and not [*student.run.parent.glob("run.before-*")]


def test_steps_whose_recipe_is_gone_are_not_gone_on_with(stopped, student):
    (student.run / "recipe.json").unlink()
    code, err = stopped()
    assert code == 1 and "holds steps of a run whose recipe.json is gone; move the folder away, or add" in err
    code, err = stopped("--overwrite")
    assert code == 0 and "the old run is now" in err and "continuing" not in err


@pytest.mark.parametrize("home", ["~", "$HERE"])
def test_the_place_of_a_run_is_written_as_that_of_a_store(student, tmp_path, monkeypatch, home):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("HERE", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    assert student(f'out="{home}/run"', "optim.epochs=0.5")[0] == 0
    assert (tmp_path / "me/run/student.json").is_file()


@pytest.mark.parametrize(
    "knob", ['name=" "', 'name=""', "optim.epochs=1e308", "optim.epochs=inf", "optim.warmup_epochs=1e308"]
)
def test_a_run_without_a_name_or_an_end_is_refused(student, knob):
    code, err = student(knob)
    assert code == 1 and err.count("\n") == 1 and knob.partition("=")[0] in err
