"""How fast networks answer: in turn, alone and in batches; students, their graphs and their teacher."""

import json
import shutil
from functools import partial
from types import SimpleNamespace

import pytest

from distillkit.bench_model import bench_model
from distillkit.parity import speed
from distillkit.parity.speed import measured, memory
from distillkit.parity.subjects import Subject, teacher_in_torch
from distillkit.report.speeds import speed_of
from distillkit.runfolder import RunFolder
from distillkit.system import progress
from tests.records import without_checksum


@pytest.fixture
def clock(monkeypatch):
    """Time that goes on only where somebody works: what else this machine does changes nothing."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def worker(clock, who, seconds, towers=("image",)):
    def work(count):
        clock.seconds += seconds * count

    return Subject(who, "torch", towers, lambda tower, count: partial(work, count), 8)


def test_what_takes_four_times_as_long_is_said_to(clock):
    slow, fast = measured(
        [worker(clock, "slow", 0.02), worker(clock, "fast", 0.005, ("image", "text"))], 2, lambda line: None
    )
    assert slow.image_seconds / fast.image_seconds == pytest.approx(4) and slow.text_seconds is None
    assert slow.images_per_second == pytest.approx(50) and fast.text_seconds == pytest.approx(0.005)


def test_a_student_and_its_teacher_are_measured_and_kept(runs):
    run, told = runs("pair"), []
    table = bench_model([run], runtimes=("torch",), batch=2, threads=1, with_memory=False, say=told.append)
    assert table.count("| teacher | torch |") == 1 and table.count(f"| {run} | torch |") == 1
    kept = json.loads((run / "bench.json").read_bytes())
    assert kept["threads"] == 1 and kept["batch"] == 2 and kept["machine"]["cpu"]
    assert [one["who"] for one in kept["speeds"]] == ["teacher", str(run)]
    assert all(one["image_seconds"] > 0 and one["texts_per_second"] > 0 for one in kept["speeds"])
    assert kept["speeds"][1]["file_bytes"] == (run / "student.safetensors").stat().st_size


def test_a_run_that_is_called_teacher_is_no_teacher(runs, tmp_path, monkeypatch):
    """Told by role, not by name; in files of before, which did not tell roles, it counted as the teacher."""
    shutil.copytree(runs("pair"), tmp_path / "teacher")
    shutil.copytree(runs("pair"), tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    table = bench_model(["teacher", "other"], runtimes=("torch",), batch=2, threads=1, with_memory=False)
    assert table.count("| teacher | torch |") == table.count("| ./teacher | torch |") == 1
    kept = json.loads((tmp_path / "teacher/bench.json").read_bytes())
    assert [(one["who"], one["is_teacher"]) for one in kept["speeds"]] == [("teacher", True), ("teacher", False)]
    assert speed_of(tmp_path / "teacher")["image_seconds"] == kept["speeds"][1]["image_seconds"]
    other = json.loads((tmp_path / "other/bench.json").read_bytes())
    assert [one["who"] for one in other["speeds"]] == ["teacher", "other"]
    for one in kept["speeds"]:
        del one["is_teacher"]
    (tmp_path / "teacher/bench.json").write_text(json.dumps(kept))
    assert speed_of(tmp_path / "teacher") is None


@pytest.mark.slow
def test_graphs_are_measured_in_every_precision(runs):
    run = runs("pair")
    table = bench_model([run], runtimes=("onnx", "onnx-fp16", "onnx-int8"), batch=2, threads=1, say=lambda line: None)
    speeds = {one["runtime"]: one for one in json.loads((run / "bench.json").read_bytes())["speeds"]}
    assert all(name in table for name in ("| onnx |", "| onnx-fp16 |", "| onnx-int8 |"))
    assert speeds["onnx-int8"]["file_bytes"] < 0.6 * speeds["onnx"]["file_bytes"]
    assert all(one["memory_bytes"] > 0 for one in speeds.values())


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(runs):
    held = bytearray(500_000_000)
    grown = memory(runs("pair"), "torch", None, 1, 2)
    assert 1_000_000 < grown < len(held)


def test_a_teacher_that_is_gone_is_told_and_left_out(runs, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("distillkit.bench_model.subject_of", _without_teacher)
    code, out, err = run_cli("bench-model", runs("pair"), "--runtime", "torch", "--batch", "2", "--no-memory")
    assert code == 0 and "without its teacher: " in err and "| teacher |" not in out


def _without_teacher(run, runtime, folder, threads):
    from distillkit.errors import TeacherError
    from distillkit.parity.subjects import subject_of

    if runtime == "teacher":
        raise TeacherError("it is gone")
    return subject_of(run, runtime, folder, threads)


def test_a_runtime_that_is_none_is_one_line(runs, run_cli):
    code, _, err = run_cli("bench-model", runs("pair"), "--runtime", "tensorrt")
    assert code == 1 and "--runtime tensorrt: there are torch, onnx, onnx-fp16, onnx-int8" in err


def test_a_student_as_teacher_is_found_again(runs, pictures, tmp_path):
    from distillkit.recipe import Component

    facts = RunFolder(runs("pair")).facts()
    record = Component(kind="run", run=str(runs("pair")), device="cpu").build("teachers").fingerprint()
    run = tmp_path / "run"
    run.mkdir()
    for name in ("recipe.json", "student.safetensors"):
        (run / name).write_bytes((runs("pair") / name).read_bytes())
    (run / "student.json").write_text(without_checksum(facts | {"teacher": record}))
    assert teacher_in_torch(run).towers == ("image", "text")


def test_a_long_measurement_tells_how_far_it_is(clock, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    said = []
    measured([worker(clock, "one", 0.001, ("image", "text"))], 2, said.append)
    assert said[0].startswith("pictures and texts asked about: 1/42 ") and said[0].endswith(" left")
    assert said[-1].startswith("pictures and texts asked about: 40/42 ")
