"""Files that belong together are written by one process after the other."""

import json
import os
from pathlib import Path

import pytest

from distillkit.system.atomic import write_json
from distillkit.system.turns import in_turn
from tests.at_once import Pair

ROUNDS = 30


def adds(which, number, folder):
    """Read, changed, written; and a second file that must be of the same hand."""
    path = folder / "record.json"
    with in_turn(path):
        record = json.loads(path.read_bytes()) if path.exists() else {}
        write_json(path, record | {f"{which} {number}": which})
        write_json(folder / "last.json", len(record) + 1)
    return "ok"


def test_nothing_is_lost_and_what_belongs_together_stays_so(tmp_path):
    pair = Pair(adds, ROUNDS, tmp_path)
    try:
        for number in range(ROUNDS):
            assert pair.round() == ["ok", "ok"]
            record = json.loads((tmp_path / "record.json").read_bytes())
            assert len(record) == 2 * number + 2 == json.loads((tmp_path / "last.json").read_bytes())
    finally:
        pair.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.json", "record.json"]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "plain"])
def test_a_name_of_any_length_has_a_turn(tmp_path, name):
    with in_turn(tmp_path / name, "evaluation"):
        (lock,) = os.listdir(tmp_path)  # noqa: PTH208
        assert lock.startswith(f".{name[:100]}") and lock.endswith(".evaluation.lock")


def test_so_has_the_folder_one_is_in(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with in_turn(Path(), "evaluation"):
        assert (tmp_path / ".run.evaluation.lock").is_file()
