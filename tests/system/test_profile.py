"""Where the time goes: rates by stage and thread, who waits, what to change; a trace that a browser opens."""

import json
import threading
import time

import pytest

from distillkit.system.profile import EXTRACTION, TRAINING, told
from distillkit.system.spans import Record, recorded, span
from tests.conftest import EXTRACT


@pytest.fixture
def record(monkeypatch):
    made = Record()
    monkeypatch.setattr(Record, "seconds", 10.0)
    return made


def test_a_rate_is_that_of_all_threads_of_a_stage():
    with recorded() as record:

        def work():
            for _ in range(5):
                with span("decode", 2):
                    time.sleep(0.01)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    stage = record.stages["decode"]
    assert stage.items == 20 and len(stage.threads) == 2 and len(record.events) == 10
    assert stage.rate == pytest.approx(2 * 20 / stage.seconds)
    with span("decode", 2):  # nobody listens any more
        pass
    assert stage.items == 20


def test_where_data_is_waited_for_its_slowest_stage_is_named(record):
    record.add("read", 100, 0.0, 1.0)
    record.add("decode", 100, 0.0, 8.0)
    record.add("wait", 0, 0.0, 6.0)
    record.add("forward", 100, 6.0, 10.0)
    head, _, decode, _, free, what = told(record, EXTRACTION)
    assert head.split()[-2:] == ["busy", "waits"] and decode.split()[-2:] == ["80%", "20%"]
    assert free == "waiting for data 60% of 10.0 s: 10 items/s, if data were free 25"
    assert what == f"most of it is for decode; what helps: {EXTRACTION['decode']}"


def test_where_none_is_waited_for_it_is_what_computes(record):
    record.add("pixels", 100, 0.0, 9.0)
    record.add("forward", 100, 0.0, 3.0)
    record.add("backward", 100, 3.0, 9.0)
    *_, what = told(record, TRAINING)
    assert what == f"most of it is for backward; what helps: {TRAINING['backward']}"


def test_both_stages_tell_and_leave_a_trace(toy_stores, student, run_cli, tmp_path, teacher_folder):
    recipe, trace = tmp_path / "extract.toml", tmp_path / "trace.json"
    recipe.write_text(EXTRACT.format(out=tmp_path / "again", corpus=toy_stores / "corpus", teacher=teacher_folder))
    code, out, err = run_cli("extract-teacher", recipe, "--profile", trace)
    assert code == 0 and out.split() == [str(tmp_path / "again" / name) for name in ("images", "texts")]
    events = json.loads(trace.read_text())["traceEvents"]
    assert {one["name"] for one in events} == {"read", "decode", "resize", "forward", "wait", "write"}
    assert sum(one["name"] == "decode" for one in events) == 40 and all(one["dur"] >= 0 for one in events)
    assert "if data were free" in err and "what helps" in err
    code, err = student(words=("--profile", trace))
    assert code == 0 and "optimiser" in err and "what helps" in err
    stages = {"read", "pixels", "forward", "loss", "backward", "optimiser", "wait"}
    assert {one["name"] for one in json.loads(trace.read_text())["traceEvents"]} == stages
    code, err = student("optim.accumulate=2", words=("--overwrite", "--profile", trace))
    assert code == 0, err
    assert {one["name"] for one in json.loads(trace.read_text())["traceEvents"]} == stages
    rates = {line.split()[0]: line.split()[1] for line in err.splitlines() if line.split()[0] in stages}
    assert len({rates[name] for name in ("forward", "loss", "backward", "optimiser")}) == 1  # an image counts once


@pytest.mark.long
def test_what_other_processes_decode_is_told_too(toy_stores, run_cli, tmp_path, teacher_folder):
    recipe, trace = tmp_path / "extract.toml", tmp_path / "trace.json"
    recipe.write_text(EXTRACT.format(out=tmp_path / "again", corpus=toy_stores / "corpus", teacher=teacher_folder))
    words = ("--only", "images", "--set", 'decode="processes"', "--set", "decode_threads=2", "--profile", trace)
    code, _, err = run_cli("extract-teacher", recipe, *words)
    assert code == 0, err
    events = json.loads(trace.read_text())["traceEvents"]
    for name in ("read", "decode", "resize"):
        of = [one for one in events if one["name"] == name]
        assert len(of) == 40 and all(0 <= one["ts"] <= 120e6 for one in of)
    assert not {one["tid"] for one in events if one["name"] == "decode"} & {
        one["tid"] for one in events if one["name"] == "forward"
    }
