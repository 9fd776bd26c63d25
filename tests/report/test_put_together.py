"""A report tells how merged and imported stores are made again, and what their parts cost."""

import json
import shutil
import sys

import pytest

from distillkit.report.costs import teacher_pass
from distillkit.report.made import made
from distillkit.store.format.log import FILE_NAME, commands, put_together
from distillkit.store.reading.reader import FeatureStore
from distillkit.stores import merge
from distillkit.stores import view as make_view
from tests.records import without_checksum
from tests.report.conftest import written
from tests.report.test_made import in_turn


def extracted_by(store, command):
    lines = [json.loads(line) | {"command": command} for line in (store / FILE_NAME).read_text().splitlines()]
    (store / FILE_NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines))


ONE, OTHER = "distillkit extract-teacher one.toml", "distillkit extract-teacher other.toml"


@pytest.fixture
def merged(out):
    """`both`: a view of `images`, and a copy of it as the pass of another command would have made it."""
    shutil.copytree(out / "images", out / "other")
    extracted_by(out / "images", ONE)
    extracted_by(out / "other", OTHER)
    make_view(out / "images", out / "half", rows="0:30")
    merge(out / "both", [out / "half", out / "other"])
    for path in (out / "run/evaluation.json", out / "run/recipe.json"):
        path.write_text(without_checksum(json.loads(path.read_text().replace(f'"{out}/held"', f'"{out}/both"'))))
    return out


def test_a_merged_store_is_made_again_by_the_commands_of_its_parts_and_the_merge(merged):
    told = (OTHER, f"distillkit store view {merged}/images {merged}/half", f"store merge {merged}/both {merged}/half")
    for text in written(merged):
        in_turn(text, ONE, *told, "train-student")
        assert all(text.count(f"{line}\n") == 1 for line in (ONE, OTHER)) and "not recorded; it made" not in text
    (row,) = (
        line
        for line in (merged / "run/report.md").read_text().splitlines()
        if line.startswith("|") and f"{merged}/both" in line.replace("\\", "")
    )
    assert "not recorded" not in row
    seconds = [teacher_pass(FeatureStore(merged / name)).seconds for name in ("images", "other", "both")]
    assert seconds[2] == pytest.approx(seconds[0] + seconds[1])
    # Also where the parts are gone, or another store has taken the place of one.
    shutil.rmtree(merged / "half")
    shutil.rmtree(merged / "other")
    for text in written(merged):
        in_turn(text, ONE, told[1], OTHER, told[2], "train-student")


def test_a_part_that_is_another_store_by_now_is_not_told_as_that_of_then(merged):
    shutil.rmtree(merged / "other")
    shutil.copytree(merged / "texts", merged / "other")
    extracted_by(merged / "other", "distillkit extract-teacher unlike.toml")
    for text in written(merged):
        assert "unlike.toml" not in text and OTHER in text


def test_what_was_merged_of_merged_stores_tells_of_all_of_them(merged, tmp_path):
    shutil.copytree(merged / "images", merged / "third")
    extracted_by(merged / "third", "distillkit extract-teacher third.toml")
    merge(merged / "all", [merged / "both", merged / "third"])
    first, last = (put_together(merged / name)["command"] for name in ("both", "all"))
    told = [ONE, OTHER, first, "distillkit extract-teacher third.toml"]
    assert [line for line in commands(merged / "all") if "store view" not in line] == told
    assert made([merged / "all"], [])[0][-2:] == [first, last]
    shutil.move(merged / "both", tmp_path / "elsewhere")
    assert made([merged / "all"], [])[0] == [last]


def test_of_a_store_that_nobody_told_how_it_was_merged_it_is_said_that_it_was(merged):
    (merged / "both" / FILE_NAME).unlink()
    for text in written(merged):
        assert f"# distillkit store merge {merged}/both PARTS  (its command was not recorded" in text


def test_the_command_line_tells_itself(merged, run_cli, monkeypatch):
    argv = ["distillkit", "store", "merge", str(merged / "again"), str(merged / "images"), str(merged / "other")]
    monkeypatch.setattr(sys, "argv", argv)
    assert run_cli(*argv[1:])[0] == 0
    assert put_together(merged / "again")["command"].split() == argv


def test_shards_that_were_done_anew_are_of_both_commands(out):
    """`--retry-failed` alone makes no store."""
    lines = [json.loads(line) for line in (out / "images" / FILE_NAME).read_text().splitlines()]
    extracted_by(out / "images", ONE)
    with (out / "images" / FILE_NAME).open("a") as log:
        for line in lines:
            log.write(f"{json.dumps(line | {'command': f'{ONE} --retry-failed'})}\n")
    for text in written(out):
        in_turn(text, f"{ONE}\n", f"{ONE} --retry-failed", "train-student")
    make_view(out / "images", out / "some", rows="0:30")
    merge(out / "both", [out / "some", out / "images"])
    assert commands(out / "both")[:2] == [ONE, f"{ONE} --retry-failed"]
