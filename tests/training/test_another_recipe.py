"""A run folder that is taken: the steps of another recipe are not set aside unasked, and plans tell of them."""

import json
import re

import pytest

from distillkit import __version__
from distillkit.errors import RecipeError
from distillkit.runfolder import RunFolder
from tests.records import without_checksum

SEED = "recipe.seed: 3 -> 9"


@pytest.fixture
def stopped_early(student, killed):
    """A run that a kill ended in its second epoch, after the checkpoint of a step."""
    killed()
    return student


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(student, *settings, told):
    before = content(student.run)
    code, err = student(*settings)
    assert code == 1 and err.count("\n") == 1 and told in err, err
    assert "Nothing was touched" in err and "another `name`" in err and "--overwrite" in err
    assert content(student.run) == before and not list(student.run.parent.glob("run.before-*"))


def test_a_finished_run_of_another_recipe_is_not_set_aside_unasked(student):
    assert student()[0] == 0
    steps = RunFolder(student.run).facts()["steps"]
    refused(student, "seed=9", told=f"{student.run}: is a finished run of {steps} steps of another recipe ({SEED})")
    assert "already trained" in student('note="a remark"')[1]  # no other student
    code, err = student("seed=9", words=["--overwrite"])
    assert code == 0 and f"{SEED}; training anew, the old run is now" in err
    (aside,) = student.run.parent.glob("run.before-*")
    assert RunFolder(aside).facts()["steps"] == steps


def test_a_run_that_was_killed_keeps_its_steps_from_another_recipe(stopped_early):
    kept = max(int(path.name) for path in (stopped_early.run / "checkpoints").iterdir())
    refused(stopped_early, "seed=9", told=f"holds a run of {kept} steps of another recipe ({SEED})")


def test_a_run_without_any_step_gives_way(student, monkeypatch):
    def killed(*arguments):
        raise RuntimeError("killed")

    monkeypatch.setattr("distillkit.train._train", killed)
    with pytest.raises(RuntimeError, match="killed"):
        student()
    monkeypatch.undo()
    code, err = student("seed=9")
    assert code == 0 and f"{SEED}; training anew" in err


def test_plans_tell_what_training_would_stop_at(student, run_cli):
    assert student()[0] == 0
    for words in (("train-student", student.recipe, "--plan"), ("recipe", "check", student.recipe)):
        code, out, err = run_cli(*words, "--set", "seed=9")
        (line,) = [line for line in out.splitlines() if line.startswith("there ")]
        assert line.endswith("; train-student stops there: go on with another `name`, or with --overwrite")
        assert code == 0 and SEED in line and "--overwrite" in line and str(student.run) in line, err
        assert "there " not in run_cli(*words)[1]


def test_another_baseline_is_told_before_the_student_takes_its_hours(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    assert run_cli("train-student", recipes[1])[0] == 0
    (tmp_path / "out/run/student.json").unlink()
    before = content(tmp_path / "out/run")
    code, _, err = run_cli("train-student", recipes[1], "--set", "baseline.lr=1e-3")
    assert code == 1 and "baseline: " in err and "recipe.optim.lr" in err and "move the folder away" in err, err
    assert content(tmp_path / "out/run") == before
    assert "there " in run_cli("train-student", recipes[1], "--plan", "--set", "baseline.lr=1e-3")[1]


def test_a_store_where_a_run_is_expected_is_told_and_nothing_is_damaged(student, run_cli):
    for words in (("bench-model",), ("push", "me/mine", "--dry-run")):
        code, _, err = run_cli(words[0], student.stores / "images", *words[1:])
        assert code == 1 and "is a feature store, not the folder of a run; name a run" in err, err


def test_a_view_is_not_made_in_the_folder_of_a_run(student, run_cli):
    assert student()[0] == 0
    before = content(student.run)
    code, _, err = run_cli("store", "view", student.stores / "images", student.run, "--share", "0.2")
    assert code == 1 and "is the folder of a run; choose another place" in err and content(student.run) == before


def test_a_view_or_a_recipe_where_a_run_is_expected_is_told_as_what_it_is(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    assert run_cli("store", "view", tmp_path / "out/images", tmp_path / "out/held", "--share", "0.5")[0] == 0
    for place, told in ((tmp_path / "out/held", "is a feature store"), (recipes[1], "is a recipe")):
        code, _, err = run_cli("evaluate", place)
        assert code == 1 and f"error: {place}: {told}, not the folder of a run; name " in err, err


def test_a_run_of_a_newer_distillkit_is_told_as_one(student):
    """What its recipe has more is nothing that its user mistyped."""
    assert student()[0] == 0
    file = student.run / "recipe.json"
    record = json.loads(file.read_text())
    record["versions"]["distillkit"] = "9.9.0"
    for recipe in (record["recipe"], record["identity"]["recipe"]):
        recipe["optim"]["newknob"] = 1
    file.write_text(without_checksum(record))
    newer = f"; distillkit 9.9.0 wrote it, this is {__version__}: use that one"
    with pytest.raises(RecipeError, match="unknown key 'newknob'.*" + re.escape(newer)):
        RunFolder(student.run).begun_recipe()
    code, err = student()
    assert code == 1 and newer in err and "Nothing was touched" in err
    record["versions"]["distillkit"] = __version__
    file.write_text(without_checksum(record))
    assert "wrote it" not in student()[1]
