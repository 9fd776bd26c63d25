"""The figures of `make reliability`: what is done is not done again, and a failure is told, kept and the exit code."""

import json
from types import SimpleNamespace

import pytest

from distillkit.system.lines import read_lines
from tests.faults import __main__ as command
from tests.faults import figures
from tests.faults.parts import Part, Tried, failures


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Two parts of one method, the second of which fails with seed 1; the first hears of its seeds."""
    heard, clock = [], [0.0]
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: clock[-1]))

    def tried(seed):
        heard.append(seed)
        if len(heard) == 3:
            clock.append(1e9)  # the hour is over
        return Tried(10, [])

    def failing(seed):
        def breaks():
            assert seed != 1, "seed 1 breaks it"

        return failures([breaks])

    listed = [Part("cuts", "one", "disks", 100, tried), Part("cuts", "other", "disks", 100, failing)]
    monkeypatch.chdir(tmp_path)
    for module in (command, figures):
        monkeypatch.setattr(module, "PARTS", listed)
    return heard


def test_it_goes_on_where_it_stopped_and_sums_what_was_tried(parts, capsys, tmp_path):
    command.main(60)
    assert parts == [0, 1, 2]
    lines = read_lines(figures.LOG)
    assert [(line["what"], line["seed"]) for line in lines] == [
        (what, seed) for seed in range(3) for what in ("one", "other")
    ][: len(lines)]
    (path,) = (tmp_path / "benchmarks/results/reliability").glob("*.json")
    kept = json.loads(path.read_text())
    assert kept["methods"]["cuts"]["parts"]["one"] == 30 and kept["machine"]["cores"]
    said = capsys.readouterr().out
    assert f"| cuts | all | {kept['methods']['cuts']['counted']} disks | 100 |" in said
    command.main(0)
    assert parts == [0, 1, 2] and len(read_lines(figures.LOG)) == len(lines)


def test_a_method_that_reached_its_goal_is_tried_no_longer(parts, monkeypatch):
    """Nor is another one, where one is asked for."""
    whole = [Part("cuts", "one", "disks", 30, lambda seed: Tried(10, [])), Part("calls", "all", "faults", 5, parts)]
    monkeypatch.setattr(command, "PARTS", whole)
    command.main(60, "cuts")
    assert [(line["what"], line["seed"]) for line in read_lines(figures.LOG)] == [("one", seed) for seed in range(3)]
    command.main(60, "cuts")
    assert len(read_lines(figures.LOG)) == 3


def test_what_failed_is_told_kept_and_the_exit_code(parts, capsys):
    assert command.main(60) == 1
    said = capsys.readouterr().out
    assert "seed 1 breaks it" in said and "| 1 |" in said


def test_of_fuzzing_the_minutes_are_summed():
    line = {"method": "fuzzing", "what": "tar", "unit": "inputs", "failed": [], "counted": 1000}
    found = figures.figures_of([line | {"seed": seed, "minutes": 1.5} for seed in range(2)])
    assert found["methods"]["fuzzing"]["minutes"] == {"tar": 3.0}
    assert "| | tar | 2,000 in 3 min | | |" in figures.table(found)
