"""A training that an error ends: what is whole is kept, and the error's line says where the same command goes on."""

import errno
import json
import subprocess
import sys

import pytest

import distillkit
from distillkit.errors import DiskFull, StoreError
from distillkit.runfolder import RunFolder
from distillkit.system.lines import read_lines
from distillkit.training.batches import Batches
from distillkit.training.course import Course
from distillkit.training.learner import Learner
from distillkit.training.validation import Validator

FAR = "checkpoints.every_steps=100000"
KEPT = "a checkpoint of step {} is kept, from which the same command goes on"
NONE = "no checkpoint was written yet, so the same command begins at the first step"


def validated(student):
    """The settings that measure every second step."""
    eval_ = f'{{kind = "agreement", store = "{student.stores}/images"}}'
    return f'validation={{every_steps = 2, best = "cosine", eval = {eval_}}}'


def failing(monkeypatch, owner, name, error, when):
    """Raise `error` in place of a method, once `when` says so of its arguments."""
    real = getattr(owner, name)

    def method(self, *arguments, **more):
        if when(*arguments):
            raise type(error)(*error.args)  # notes are of one error
        return real(self, *arguments, **more)

    monkeypatch.setattr(owner, name, method)


def kept(student):
    return sorted(int(path.name) for path in (student.run / "checkpoints").glob("*"))


def broken_stream(monkeypatch, error, before):
    real = Batches.stream

    def stream(self, *arguments):
        for batch in real(self, *arguments):
            if batch.step == before:
                raise error
            yield batch

    monkeypatch.setattr(Batches, "stream", stream)


def last(err):
    return err.splitlines()[-1]


def test_a_shard_that_is_damaged_ends_it_with_the_step_before_kept(student, monkeypatch):
    assert student(FAR)[0] == 0
    calm = (student.run / "student.safetensors").read_bytes()
    broken_stream(monkeypatch, StoreError("images: damaged shard"), before=2)
    code, err = student(FAR, words=["--overwrite"])
    assert code == 1 and kept(student) == [2]
    assert last(err) == f"error: images: damaged shard; {KEPT.format(2)}"
    monkeypatch.undo()
    code, err = student(FAR)
    assert code == 0 and "continuing after step 2" in err
    assert (student.run / "student.safetensors").read_bytes() == calm


@pytest.mark.parametrize("line", ["step 4/", "a checkpoint takes"])
def test_when_nobody_reads_its_lines_any_more_the_step_is_kept(student, every_step, line):
    """As behind `| head`, or a terminal that is gone: the line that could not be said is not the checkpoint's."""
    gone = []

    def say(told):
        if gone or line in told:
            gone.append(told)
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    every = 4 if "takes" in line else 100000
    with pytest.raises(BrokenPipeError):
        distillkit.train(student.recipe, say, overrides=["log.every_steps=1", f"checkpoints.every_steps={every}"])
    assert gone and kept(student) == [4]


def test_a_step_whose_line_cannot_be_written_is_made_again_with_its_line(student, monkeypatch):
    """Found by `make reliability`: EACCES at the open of metrics.jsonl left a checkpoint without its line."""
    every = ("checkpoints.every_steps=2", "log.every_steps=1")
    assert student(*every)[0] == 0
    steps = [line["step"] for line in RunFolder(student.run).history()]
    denied = PermissionError(errno.EACCES, "Permission denied", "metrics.jsonl")
    failing(monkeypatch, RunFolder, "log", denied, lambda line: line["step"] == 3)
    code, err = student(*every, words=["--overwrite"])
    assert code == 1 and kept(student) == [2] and "the newest checkpoint is of step 2" in last(err)
    monkeypatch.undo()
    assert student(*every)[0] == 0
    assert [line["step"] for line in RunFolder(student.run).history()] == steps


@pytest.mark.parametrize("every", [2, 1000], ids=["at a second step", "at the last step, which no number asks for"])
def test_a_measurement_that_fails_is_made_by_who_goes_on(student, monkeypatch, every):
    knobs = (FAR, validated(student).replace("every_steps = 2", f"every_steps = {every}"))
    assert student(*knobs)[0] == 0
    last_step = RunFolder(student.run).history()[-1]["step"]
    at = min(every, last_step)
    assert [line["step"] for line in read_lines(student.run / "validation.jsonl")][-1] == last_step
    calm = [(student.run / name).read_bytes() for name in ("student.safetensors", "validation.jsonl", "best/best.json")]
    failing(monkeypatch, Validator, "_keep", StoreError("no such text"), lambda *given: given[-1] == at)
    code, err = student(*knobs, words=["--overwrite"])
    assert code == 1 and kept(student) == [at] and last(err) == f"error: no such text; {KEPT.format(at)}"
    code, err = student(*knobs)  # at once again, and nothing is made anew for it
    assert code == 1 and kept(student) == [at] and last(err) == f"error: no such text; {KEPT.format(at)}"
    monkeypatch.undo()
    assert student(*knobs)[0] == 0
    names = ("student.safetensors", "validation.jsonl", "best/best.json")
    assert [(student.run / name).read_bytes() for name in names] == calm


@pytest.mark.parametrize("within", ["Validator.run", "the checkpoint"])
def test_on_a_full_disk_nothing_is_written_and_no_checkpoint_lost(student, monkeypatch, within):
    every = ("checkpoints.every_steps=2", "log.every_steps=1")
    full = DiskFull("there: no space left on the disk")
    if within == "the checkpoint":
        from distillkit.training import checkpoint

        real = checkpoint.save

        def save(folder, state, keep):
            if state.step > 2:
                raise full
            return real(folder, state, keep)

        monkeypatch.setattr(checkpoint, "save", save)
    else:
        failing(monkeypatch, Validator, "run", full, lambda student, step: step == 4)
    code, err = student(*every, "checkpoints.keep=1", validated(student))
    assert code == 1 and kept(student) == [2]
    told = "the newest checkpoint is of step 2, from which the same command goes on"
    assert last(err) == f"error: there: no space left on the disk; {told}"


def test_a_loss_that_is_not_finite_keeps_nothing_and_names_what_is_there(student, monkeypatch):
    import torch

    real = Learner._backward

    def bad(self, batch):
        total, terms = real(self, batch)
        return (total * torch.nan if batch.step == 3 else total), terms

    monkeypatch.setattr(Learner, "_backward", bad)
    code, err = student("checkpoints.every_steps=2")
    assert code == 1 and kept(student) == [2] and "step 4: " in last(err)
    assert "the newest checkpoint is of step 2, from which the same command goes on, as weights that" in last(err)
    code, err = student(FAR, words=["--overwrite"])
    assert code == 1 and kept(student) == [] and last(err).endswith(NONE)


def test_a_step_that_breaks_off_is_kept_only_if_looking_changes_nothing(student, monkeypatch):
    """Statistics of batch norm move when a batch is looked at; such a step would be looked at twice."""
    failing(monkeypatch, Learner, "_backward", StoreError("a plug-in"), lambda batch: batch.step == 2)
    code, err = student(FAR)
    assert code == 1 and kept(student) == [] and last(err) == f"error: a plug-in; {NONE}"
    vit = 'student={kind="timm_image", model="vit_tiny_patch16_224", image_size=32, embed_dim=32,'
    vit += " options={embed_dim=24, depth=1, num_heads=2}}"
    code, err = student(FAR, vit, words=["--overwrite"])
    assert code == 1 and kept(student) == [2] and last(err) == f"error: a plug-in; {KEPT.format(2)}"


def test_what_fails_while_it_is_kept_does_not_hide_the_error(student, monkeypatch):
    broken_stream(monkeypatch, RuntimeError("a bug of somebody's"), before=2)
    failing(monkeypatch, Course, "write_checkpoint", OSError(5, "lost"), lambda step: True)
    from distillkit.train import train

    with pytest.raises(RuntimeError, match="a bug of somebody's") as caught:
        train(student.recipe, overrides=[FAR])
    assert caught.value.__notes__ == [NONE]


SPOILT = """
import os, sys
from distillkit.errors import StoreError
from distillkit.runfolder import RunFolder
from distillkit.training.batches import Batches
real = Batches.stream
def stream(self, *arguments):
    for batch in real(self, *arguments):
        if batch.step == 3 and os.environ["RANK"] == {rank!r}:
            raise StoreError("damaged here")
        yield batch
Batches.stream = stream
from distillkit.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_two_processes_one_fails_and_neither_waits(student, tmp_path, rank):
    (tmp_path / "spoilt.py").write_text(SPOILT.format(rank=rank))
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29633"]
    line += [str(tmp_path / "spoilt.py"), "train-student", str(student.recipe), "--set", FAR]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "error: damaged here" in done.stderr, done.stderr
    if rank == "0":
        assert kept(student) == [3] and f"damaged here; {KEPT.format(3)}" in done.stderr
        assert json.loads((student.run / "checkpoints/00000003/state.json").read_text())["step"] == 3
    else:
        assert kept(student) == []  # the first one was within a step, and its statistics had moved
