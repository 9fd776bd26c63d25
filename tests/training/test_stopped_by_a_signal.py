"""Ctrl-C and SIGTERM in the middle of training: a checkpoint of the step in hand, one line, the shell's exit code."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from distillkit.system import stopping


@pytest.fixture(autouse=True)
def heard():
    """A closed terminal as a terminal's commands hear of it: whoever runs these tests behind `nohup` does not."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def begun(student, *words, **options):
    """The real command in a process of its own, some steps into its training."""
    line = [sys.executable, "-m", "distillkit", "train-student", student.recipe, "--set", "optim.epochs=400.0", *words]
    process = subprocess.Popen([*map(str, line)], stderr=subprocess.PIPE, text=True, **options)
    log = student.run / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text().count("\n") > 3):
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1]
    return process


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_step_in_hand_is_kept_and_told_in_one_line(student, number, code):
    knobs = ("--set", "checkpoints.every_steps=100000", "--set", "log.every_steps=1")
    process = begun(student, *knobs)
    logged = json.loads((student.run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    (kept,) = (student.run / "checkpoints").iterdir()
    step = int(kept.name)
    assert step >= logged and {file.name for file in kept.iterdir()} >= {"state.json", "model.safetensors"}
    assert err.splitlines()[-1] == f"stopped after step {step}; its checkpoint is kept, the same command continues"
    assert "Traceback" not in err and not (student.run / "student.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("signalled", [True, False])
def test_a_terminal_that_is_closed_takes_no_step_with_it(student, signalled):
    """Whoever's connection breaks hears nothing more, and what is written to such a terminal is an error. A shell sends
    no signal to what it disowned: that goes on to its end.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL if signalled else signal.SIG_IGN)
        words = ["optim.epochs=400.0", "checkpoints.every_steps=100000", "log.every_steps=1"]
        line = [sys.executable, "-m", "distillkit", "train-student", student.recipe]
        os.execv(sys.executable, [str(word) for word in (*line, *(part for one in words for part in ("--set", one)))])
    log = student.run / "metrics.jsonl"
    while not (log.is_file() and log.read_text().count("\n") > 3):
        os.read(terminal, 100_000)  # who does not read it lets its writer wait
        time.sleep(0.02)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    if signalled:
        (kept,) = (student.run / "checkpoints").iterdir()
        assert os.waitstatus_to_exitcode(status) == 129 and int(kept.name) > 3
    else:
        assert os.waitstatus_to_exitcode(status) == 0 and (student.run / "student.json").is_file()


def test_a_run_that_was_stopped_becomes_the_student_that_it_would_have_been(student, tmp_path, monkeypatch):
    assert student()[0] == 0
    calm = (student.run / "student.safetensors").read_bytes()
    from distillkit.training.course import Course

    steps, step = [], Course.step

    def stop_in_the_third(course, batch, *more):
        step(course, batch, *more)
        steps.append(batch.step)
        if batch.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Course, "step", stop_in_the_third)
    code, err = student(words=["--overwrite"])
    assert code == 143 and err.splitlines()[-1].startswith("stopped after step 3; its checkpoint is kept"), err
    monkeypatch.undo()
    code, err = student()
    assert code == 0 and "continuing after step 3" in err
    assert (student.run / "student.safetensors").read_bytes() == calm


def test_before_the_first_step_and_in_other_commands_it_ends_at_once(student, run_cli, monkeypatch):
    monkeypatch.setattr("distillkit.train._train", lambda *arguments: os.kill(os.getpid(), signal.SIGTERM))
    code, err = student()
    assert code == 143 and err.splitlines()[-1] == "stopped; the same command continues"
    monkeypatch.setattr(
        "distillkit.store.format.manifest.Manifest.read", lambda path: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert run_cli("store", "info", student.stores / "images")[0] == 143


def test_handlers_are_those_of_before_when_the_command_has_ended(run_cli):
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    run_cli("data", "list")
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before and stopping.asked() is None


@pytest.mark.slow
def test_two_processes_of_torchrun_stop_together(student):
    """torchrun hands the signal to all; the first rank keeps its step, the others end with it."""
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29631", "-m"]
    line += ["distillkit", "train-student", str(student.recipe), "--set", "optim.epochs=400.0"]
    line += ["--set", "checkpoints.every_steps=100000", "--set", "log.every_steps=1"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    log = student.run / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text().count("\n") > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert len(list((student.run / "checkpoints").iterdir())) == 1, err
    assert err.count("stopped after step") == 1 and "RankLost" not in err
    code, err = student("optim.epochs=400.0", "checkpoints.every_steps=100000", "log.every_steps=1")
    assert code == 0 and "continuing after step" in err


@pytest.mark.slow
@pytest.mark.parametrize("knob", ["optim.shard=false", "optim.shard=true"])
def test_a_signal_to_one_process_stops_all_of_them_after_the_same_step(student, knob):
    """As on two machines of which the second is wanted back: it is not the one that writes."""
    knobs = ["optim.epochs=400.0", "checkpoints.every_steps=100000", "log.every_steps=1", knob]
    line = [sys.executable, "-m", "distillkit", "train-student", str(student.recipe)]
    line += [word for one in knobs for word in ("--set", one)]
    job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29633", "OMP_NUM_THREADS": "1"}
    first, second = (
        subprocess.Popen(line, env=os.environ | job | {"RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    )
    log = student.run / "metrics.jsonl"
    while first.poll() is None and not (log.is_file() and log.read_text().count("\n") > 3):
        time.sleep(0.02)
    second.send_signal(signal.SIGTERM)
    (_, err), (_, other) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (143, 143), err + other
    (kept,) = (student.run / "checkpoints").iterdir()
    told = f"stopped after step {int(kept.name)}; its checkpoint is kept, the same command continues"
    assert err.splitlines()[-1] == told and "error" not in other
