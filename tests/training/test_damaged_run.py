"""A run folder with damaged files, places that cannot be run folders, devices that do not exist: one clear line."""

import shutil

import pytest


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
