"""Benchmarks cannot rot: every row runs at tiny sizes in the default tests."""

import importlib
import json
import subprocess
import sys
import venv
from types import SimpleNamespace

import pytest

from tests.bench import __main__ as bench
from tests.bench import clip_retrieval, peers
from tests.bench.measure import Row, at_most, compare, needs_gpu, not_installed

# Commands of their own, each of which loads PyTorch again.
_SLOW = {"training_peers", "extraction", "training_scale"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in _SLOW else []) for name in bench.names()]
)
def test_rows_run_and_print(name, tmp_path):
    rows = importlib.import_module(f"tests.bench.{name}").run(tmp_path, quick=True)
    assert rows and all(row.note or (row.ratio or row.ours) > 0 for row in rows)
    assert all(row.name in bench.table(rows) for row in rows)


def test_a_ratio_of_rates_and_one_of_times(monkeypatch):
    clock = iter(
        [0, 9, 10, 20, *(0, 1, 2, 6), *(0, 2, 2, 6), *(0, 4, 4, 8)] * 2
    )  # a round that does not count, three that do
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    rates = compare("a", str, str, goal=1.9, amount=8, their_amount=4, unit="rows/s", rounds=3)
    assert (rates.ratio, rates.low, rates.high, rates.ours, rates.theirs, rates.met) == (4, 2, 8, 4, 1, True)
    times = compare("a", str, str, goal=0.4, rounds=3, speed=False)
    assert (times.ratio, times.ours, times.theirs, times.met, times.goal) == (0.5, 2, 4, False, "<= 0.4")


def test_rows_that_are_no_ratio():
    assert at_most("open", [3, 1, 2], 2.5, "ms") == Row("open", "<= 2.5 ms", True, None, 1, 3, 2, unit="ms", rounds=3)
    assert not at_most("open", [3, 1, 2], 1.5, "ms").met
    assert "peer not installed" in bench.table([not_installed("lance", 50)])


def test_one_file_of_rows_is_renewed_and_the_table_shows_all(tmp_path, monkeypatch, capsys):
    made = {"one": [at_most("first", [1], 2, "ms")], "two": [at_most("second", [3], 2, "ms")]}
    module = lambda name: SimpleNamespace(run=lambda *_: made[name.rpartition(".")[2]])  # noqa: E731
    monkeypatch.setattr(bench, "names", lambda: ["one", "two"])
    monkeypatch.setattr(bench, "importlib", SimpleNamespace(import_module=module))
    for arguments in ([], ["--only", "two"]):
        monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path), *arguments])
        bench.main()
        made["two"] = [at_most("second, mended", [1], 2, "ms")]
    (place,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert sorted(path.name for path in place.iterdir()) == ["one.json", "two.json"]
    kept = json.loads((place / "two.json").read_bytes())
    assert kept["rows"][0]["name"] == "second, mended" and kept["machine"] and kept["versions"]["torch"]
    table = place.with_suffix(".txt").read_text()
    assert "first" in table and "second, mended" in table and "NOT MET" not in table
    assert "NOT MET" in capsys.readouterr().out


def test_a_peer_has_an_environment_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    assert peers.peer("clip_retrieval") is None
    venv.create(tmp_path / ".venv-peers/clip_retrieval", symlinks=True)
    assert peers.peer("clip_retrieval") is None, "half made"
    (tmp_path / ".venv-peers/clip_retrieval/.ready").touch()
    monkeypatch.setenv("PYTHONPATH", "/ours")
    seen = "import sys, os; print(sys.prefix, os.environ.get('PYTHONPATH'))"
    peers.run_peer(peers.peer("clip_retrieval"), ["python", "-c", seen], tmp_path / "log")
    assert (tmp_path / "log").read_text().split() == [str(tmp_path / ".venv-peers/clip_retrieval"), "None"]


def test_every_peer_that_is_asked_for_has_a_list_of_what_it_needs():
    script = peers.ROOT / "benchmarks/peers/setup.sh"
    told = subprocess.run(["bash", script, "nobody"], capture_output=True, text=True, check=False)
    assert told.returncode == 1 and "no benchmarks/peers/nobody.txt" in told.stderr
    assert "clip_retrieval.txt" in told.stderr


def test_rows_of_a_gpu_are_asked_for_and_leave_no_file_where_there_is_none(tmp_path, monkeypatch, capsys):
    made = {"one": [at_most("first", [1], 2, "ms")], "gpu_two": [needs_gpu("second", ">= 0.6")]}
    module = lambda name: SimpleNamespace(run=lambda *_: made[name.rpartition(".")[2]])  # noqa: E731
    monkeypatch.setattr(bench, "names", lambda: ["gpu_two", "one"])
    monkeypatch.setattr(bench, "importlib", SimpleNamespace(import_module=module))
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path), "--gpu"])
    bench.main()
    told = capsys.readouterr().out
    assert "second" in told and "needs a GPU" in told and "first" not in told and list(tmp_path.iterdir()) == []
    made["gpu_two"] = [at_most("second", [1], 2, "ms")]
    bench.main()
    assert (tmp_path / "gpu/gpu_two.json").is_file() and "second" in (tmp_path / "gpu.txt").read_text()


@pytest.mark.slow
@pytest.mark.skipif(peers.peer("clip_retrieval") is None, reason="make bench-peers was not run")
def test_clip_retrieval_says_what_we_say(tmp_path):
    rows = clip_retrieval.compared(tmp_path, peers.peer("clip_retrieval"), count=8, rounds=1)
    assert len(rows) == 2 and all(row.ratio > 0 for row in rows)
