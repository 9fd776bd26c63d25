"""The figures of `make reliability`: what is done is not done again, and a failure is told, kept and the exit code."""

import json
import re
from types import SimpleNamespace

import pytest

from distillkit.system.lines import append_line, read_lines
from tests.faults import __main__ as command
from tests.faults import figures, progress
from tests.faults.failing import KINDS, SLICES, faults_of, slices_of
from tests.faults.fuzz import stood_still
from tests.faults.parts import PARTS, Part, Tried, failures
from tests.faults.progress import LOG, Progress
from tests.faults.sites import sites


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
    LOG.parent.mkdir(parents=True)
    for module in (command, figures, progress):
        monkeypatch.setattr(module, "PARTS", listed)
    return heard


def test_it_goes_on_where_it_stopped_and_sums_what_was_tried(parts, capsys, tmp_path):
    command.main(60)
    assert parts == [0, 1, 2]
    lines = read_lines(LOG)
    assert [(line["what"], line["seed"]) for line in lines] == [
        (what, seed) for seed in range(3) for what in ("one", "other")
    ][: len(lines)]
    (path,) = (tmp_path / "benchmarks/results/reliability").glob("*.json")
    kept = json.loads(path.read_text())
    assert kept["methods"]["cuts"]["parts"]["one"] == 30 and kept["machine"]["cores"]
    said = capsys.readouterr().out
    assert f"| cuts | all | {kept['methods']['cuts']['counted']} disks | 100 |" in said
    command.main(0)
    assert parts == [0, 1, 2] and len(read_lines(LOG)) == len(lines)


def test_a_method_that_reached_its_goal_is_tried_no_longer(parts, monkeypatch):
    """Nor is another one, where one is asked for."""
    whole = [Part("cuts", "one", "disks", 30, lambda seed: Tried(10, [])), Part("calls", "all", "faults", 5, parts)]
    monkeypatch.setattr(command, "PARTS", whole)
    command.main(60, "cuts")
    assert [(line["what"], line["seed"]) for line in read_lines(LOG)] == [("one", seed) for seed in range(3)]
    command.main(60, "cuts")
    assert len(read_lines(LOG)) == 3


def test_a_goal_of_each_part_is_not_reached_by_another_part(parts, monkeypatch, capsys):
    """What one of them has above it is not lent to one that came later."""
    heard = []

    def tried(name):
        return lambda seed: heard.append(name) or Tried(10, [])

    listed = [Part("bytes", name, "inputs", 20, tried(name), each=True) for name in ("tar", "csv")]
    for module in (command, figures, progress):
        monkeypatch.setattr(module, "PARTS", listed)
    for seed in range(9):
        append_line(
            LOG, {"method": "bytes", "what": "tar", "seed": seed, "unit": "inputs", "counted": 10, "failed": []}
        )
    command.main(0)
    assert "| bytes | all | 90 inputs | 20 a part, reached by 1 of 2 | 0 |" in capsys.readouterr().out
    command.main(60)
    assert heard == ["csv", "csv"]
    assert "| bytes | all | 110 inputs | 20 a part, reached by 2 of 2 | 0 |" in capsys.readouterr().out


def test_of_what_has_an_end_all_is_tried_once(parts, monkeypatch, capsys):
    """A part that has no more is over, whatever the others of its method still have; after a restart as well."""
    heard = []

    def tried(name, every):
        def slice_of(seed):
            heard.append((name, seed))
            return Tried(len(range(every)[seed * 10 : seed * 10 + 10]), [], all=every)

        return slice_of

    whole = [
        Part("calls", f"of {every}", "faults", None, tried(every, every), seeds=-(-every // 10)) for every in (25, 31)
    ]
    whole.append(Part("fsyncs", "of 1", "fsyncs", None, tried(1, 1)))
    monkeypatch.setattr(progress, "KINDS", None)
    for module in (command, figures, progress):
        monkeypatch.setattr(module, "PARTS", whole)
    append_line(LOG, {"method": "fsyncs", "what": "of 1", "seed": 0, "unit": "fsyncs", "counted": 9, "failed": []})
    command.main(60)
    command.main(60)
    assert heard == [(25, 0), (31, 0), (1, 0), (25, 1), (31, 1), (25, 2), (31, 2), (31, 3)]
    said = capsys.readouterr().out
    assert "| calls | all | 56 faults | all | 0 |\n| | of 25 | 25 of 25 | | |" in said


@pytest.fixture
def faults(parts, monkeypatch):
    """A part whose job makes other calls whenever `made` says so; `heard`: its slices that were tried."""
    made, heard = {"open": 40}, []

    def tried(seed):
        heard.append(seed)
        counted = len(slices_of(made)[seed])
        return Tried(counted, [], all=len(faults_of(made)), calls=dict(made), kinds=KINDS)

    for module in (command, figures, progress):
        monkeypatch.setattr(module, "PARTS", [Part("calls", "job", "faults", None, tried, seeds=SLICES)])
    return made, heard


def test_a_part_is_over_when_each_of_its_faults_was_tried(faults, capsys):
    """Slices do not shift when the code comes to make another call; what is new is tried, and it alone is counted."""
    made, heard = faults
    command.main(60)
    every = len(faults_of(made))
    assert heard == [*range(SLICES)] and f"| | job | {every} of {every} | | |" in capsys.readouterr().out
    made["open"] += 1
    command.main(60)
    assert heard == [*range(SLICES)], "nobody knows of it yet"
    append_line(LOG, read_lines(LOG)[0] | {"calls": dict(made), "all": len(faults_of(made))})
    command.main(0)
    lacking = {seed for seed, some in enumerate(slices_of(made)) if any(fault.nth == 41 for fault in some)} - {0}
    more = len(faults_of(made))
    assert f"| | job | {every} of {more} |" in capsys.readouterr().out
    command.main(60)
    assert heard[SLICES:] == sorted(lacking) and 0 < len(lacking) < SLICES / 2
    assert f"| | job | {more} of {more} |" in capsys.readouterr().out
    made["open"] -= 20
    append_line(LOG, read_lines(LOG)[0] | {"calls": dict(made), "all": len(faults_of(made))})
    command.main(60)
    fewer = len(faults_of(made))
    assert f"| | job | {fewer} of {fewer} |" in capsys.readouterr().out, "more than there are"


def test_what_was_tried_when_a_fault_was_another_thing_is_tried_anew(faults, monkeypatch):
    assert faults
    command.main(60)
    monkeypatch.setattr(progress, "KINDS", "other")
    assert progress.logged() == []
    append_line(LOG, {"method": "calls", "what": "job", "seed": 0, "unit": "faults", "counted": 9, "failed": []})
    assert progress.logged() == [], "as it was before the log told what a fault is"


def test_what_failed_is_tried_again_and_the_last_line_counts(parts, monkeypatch, capsys):
    """Once a run; with no minutes the figures are told, and the exit code is that of what failed last."""
    broken, heard = [True], []

    def tried(seed):
        heard.append(seed)
        return Tried(10, ["it breaks"] if seed == 1 and broken else [])

    for module in (command, figures, progress):
        monkeypatch.setattr(module, "PARTS", [Part("cuts", "one", "disks", 30, tried)])
    assert command.main(60) == 1 and heard == [0, 1, 2]
    assert command.main(0) == 1 and command.main(60) == 1 and heard == [0, 1, 2, 1]
    broken.clear()
    assert command.main(60) == 0 and heard == [0, 1, 2, 1, 1]
    assert "| cuts | all | 30 disks | 30 | 0 |" in capsys.readouterr().out
    assert command.main(0) == 0 and command.main(60) == 0 and len(read_lines(LOG)) == len(heard)


def test_a_fuzzer_whose_machine_stood_still_found_nothing():
    """It is told of a reader that hangs after its patience, which is seconds."""
    told = "csv: ==1== ERROR: libFuzzer: timeout after {} seconds; the input lies beside .fuzz/csv"
    assert stood_still(told.format(1895)) and not stood_still(told.format(21)) and not stood_still("csv: KeyError")


def test_what_failed_is_told_kept_and_the_exit_code(parts, capsys):
    assert command.main(60) == 1
    said = capsys.readouterr().out
    assert "seed 1 breaks it" in said and "| 1 |" in said


def test_a_part_that_is_new_beside_others_begins_with_its_first_seed():
    old, new = (Part("fuzzing", what, "inputs", 3, Tried, each=True, minutes=True) for what in ("tar", "csv"))
    line = {"method": "fuzzing", "what": "tar", "seed": 0, "counted": 9, "failed": [], "minutes": 2.0}
    assert [Progress([line]).next_seed(part) for part in (old, new)] == [1, 0]


def test_of_fuzzing_each_part_has_its_minutes(parts, monkeypatch, capsys):
    """One that was broken early takes more seeds; where the fuzzer is not installed, a line tells of it."""
    parts = [
        Part("fuzzing", "tar", "inputs", 3, lambda seed: Tried(1000, [], minutes=1.5), each=True, minutes=True),
        Part("fuzzing", "csv", "inputs", 3, lambda seed: Tried(10, [], minutes=2.5 * seed), each=True, minutes=True),
        Part("dreaming", "", "inputs", 3, None, needs="no_such_package"),
    ]
    for module in (command, figures, progress):
        monkeypatch.setattr(module, "PARTS", parts)
    command.main(60)
    found = figures.figures_of(read_lines(LOG))
    assert found["methods"]["fuzzing"]["minutes"] == {"tar": 3.0, "csv": 7.5}
    said = capsys.readouterr().out
    assert "| fuzzing | all | 2,030 inputs | 3 min a part, reached by 2 of 2 |" in said
    assert "| | tar | 2,000 in 3 min | | |" in said
    assert "dreaming is passed over: no_such_package is not installed\n" in said


def test_every_fsync_has_a_figure():
    """By names that a line more above it does not change."""
    parts = {part.what for part in PARTS if part.method == "fsyncs taken out"}
    assert parts == set(sites()) and len(set(sites().values())) == len(parts) > 15
    assert not [name for name in parts if re.search(r":\d", name)]


def test_no_two_parts_have_one_name():
    """Else the second of them counts as done with the first."""
    named = [(part.method, part.what) for part in PARTS]
    assert len(set(named)) == len(named)
