"""The script for the ten minutes with a card does not rot: whole in small, and its parts' book-keeping."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import limits, mining, pages, results, steps, teachers, tests
from benchmarks.gpu.results import Part
from distillkit.pixels import jpegs
from distillkit.pixels.tensors import decode_tensor
from tests.pretend import pretend_gpu

ROOT = Path(__file__).parents[2]


def test_rows_are_kept_as_they_come_and_one_that_was_cut_off_keeps_what_it_had(tmp_path):
    part = Part(tmp_path, "limits")
    part.add("fast enough", 0.61, goal=0.6)
    part.add("too slow", 0.59, goal=0.6)
    results.ended(tmp_path, "limits", 124, 20)
    told = json.loads((tmp_path / "limits.json").read_text())
    assert told["ended"] == "out of time" and [row["met"] for row in told["rows"]] == [True, False]
    assert results.value_of(tmp_path, "limits", "too slow") == 0.59
    results.ended(tmp_path, "mining", 1, 3)
    page = results.summary(tmp_path, toy=True)
    assert "limits: out of time, 20 s" in page and "NO  too slow: 0.59 (goal 0.6)" in page
    assert "mining: failed, see mining.log, 3 s" in page and "smoke: not begun" in page


def test_limits_and_mining_in_small(tmp_path):
    limits.run(tmp_path, toy=True)
    mining.run(tmp_path, toy=True)
    rows = {
        row["name"]: row
        for part in ("limits", "mining")
        for row in json.loads((tmp_path / f"{part}.json").read_text())["rows"]
    }
    assert all(row["value"] > 0 for row in rows.values()) and len(rows) == 9


@pytest.mark.slow
def test_what_is_measured_takes_the_ways_of_a_gpu(tmp_path, monkeypatch):
    """Streams, pinned batches, both decoders: in small, on a pretend GPU, whose images another decoder makes."""
    monkeypatch.setattr(jpegs, "decode_on", lambda device, data: [decode_tensor(one).to(device) for one in data])
    with pretend_gpu() as ledger:
        for part in (limits, teachers, steps, mining):
            part.run(tmp_path, toy=True)
    assert ledger.copies > 20
    told = {
        part: json.loads((tmp_path / f"{part}.json").read_text()) for part in ("limits", "teachers", "steps", "mining")
    }
    assert all(part["ended"] == "whole" and part["rows"] for part in told.values())
    names = {row["name"] for part in told.values() for row in part["rows"]}
    assert {name for part, name, _ in pages.ROWS if "compiled" not in name} <= names
    assert "cached, the share of a step that waits for its batch" in names


def test_every_file_with_a_test_for_a_gpu_is_named():
    assert {"tests/test_gpu.py", "tests/pixels/test_cuts.py", "tests/mining/test_search.py"} <= set(tests.files())


def test_pages_tell_what_was_measured_and_that_nothing_was(tmp_path):
    for path in pages.PAGES:
        assert pages.written(path.read_text()) == path.read_text(), "run: python -m benchmarks.gpu pages"
    assert "not measured" in pages.table(tmp_path)
    row = {"name": "cached / live", "value": 12.5}
    card = {"machine": {"gpu": "A Card"}, "parts": {"steps": {"rows": [row]}}}
    (tmp_path / "a-card.json").write_text(json.dumps(card))
    assert "| | A Card |" in pages.table(tmp_path) and "goal 10 | 12.5 |" in pages.table(tmp_path)


@pytest.mark.slow
def test_the_whole_script_runs_in_small(tmp_path):
    """Both stages, mining and every check of the smoke, the latter on a pretend GPU."""
    command = [str(ROOT / "benchmarks/gpu_once.sh"), str(tmp_path), "--toy"]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in results.PARTS:
        told = json.loads((tmp_path / f"{part}.json").read_text())
        assert told["ended"] == "whole" and told["rows"], (tmp_path / f"{part}.log").read_text()
        assert part != "smoke" or all(row["met"] for row in told["rows"]), told
    assert "toy sizes" in (tmp_path / "summary.md").read_text()
