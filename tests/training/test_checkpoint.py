"""A checkpoint is whole or not there, the newest are kept, and another student's is refused."""

import json
import random
import shutil

import pytest
import torch
from torch import nn

from distillkit.errors import DiskFull, TrainError
from distillkit.training import checkpoint
from distillkit.training.checkpoint import State, Writer


def made(width=3):
    torch.manual_seed(0)
    model = nn.ModuleDict({"student": nn.Linear(width, 2)})
    optimizer = torch.optim.AdamW(model.parameters())
    model["student"](torch.randn(4, width)).sum().backward()
    optimizer.step()
    return model, optimizer, torch.amp.GradScaler("cpu", enabled=False)


def test_everything_comes_back(tmp_path):
    model, optimizer, scaler = made()
    checkpoint.save(tmp_path, State.of(7, model, optimizer, scaler), keep=2)
    again, optimizer_again, _ = made()
    nn.init.zeros_(again["student"].weight)
    assert checkpoint.restore(tmp_path, again, optimizer_again, scaler) == 7
    assert torch.equal(again["student"].weight, model["student"].weight)
    one, other = (o.state[m["student"].bias] for o, m in ((optimizer, model), (optimizer_again, again)))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_newest_are_kept_and_halves_are_not_seen(tmp_path):
    model, optimizer, scaler = made()
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, State.of(step, model, optimizer, scaler), keep=2)
    (tmp_path / "00000009.partial").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000003", "00000009.partial"]
    assert checkpoint.restore(tmp_path, model, optimizer, scaler) == 3


def test_another_student_is_refused(tmp_path):
    checkpoint.save(tmp_path, State.of(1, *made()), keep=1)
    with pytest.raises(TrainError, match="holds another student"):
        checkpoint.restore(tmp_path, *made(width=5))


def test_a_full_disk_is_told_and_leaves_the_last_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, State.of(1, *made()), keep=1)

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(DiskFull, match="no space left"):
        checkpoint.save(tmp_path, State.of(2, *made()), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_what_is_written_is_what_was_when_it_was_taken(tmp_path):
    model, optimizer, scaler = made()
    before = model["student"].weight.detach().clone()
    state = State.of(3, model, optimizer, scaler)
    with torch.no_grad():
        model["student"].weight.zero_()
    writer = Writer(tmp_path, keep=1)
    writer.write(state)
    assert writer.wait() == tmp_path / "00000003"
    checkpoint.restore(tmp_path, model, optimizer, scaler)
    assert torch.equal(model["student"].weight, before)


def test_an_error_beside_the_training_is_not_lost(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    writer = Writer(tmp_path, keep=1)
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    writer.write(State.of(1, *made()))
    with pytest.raises(DiskFull, match="no space left"):
        writer.write(State.of(2, *made()))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_flipped_bit_is_told_and_the_checkpoint_before_is_taken(tmp_path, name):
    """Any of 60 of each file; what came out right by luck would be another run."""
    whole, said = tmp_path / "whole", []
    for step in (1, 2):
        checkpoint.save(whole, State.of(step, *made()), keep=2)
    chance = random.Random(name)
    for trial in range(60):
        folder = tmp_path / str(trial)
        shutil.copytree(whole, folder)
        data = bytearray((folder / "00000002" / name).read_bytes())
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        data[place] ^= 1 << bit
        (folder / "00000002" / name).write_bytes(data)
        checkpoint.set_damaged_aside(folder, said.append)
        same_json = name == "state.json" and not said[trial:]
        assert not same_json, f"bit {bit} of byte {place} is not noticed: {bytes(data)!r}"
        assert "00000002: damaged (" in said[trial] and "the one before is taken" in said[trial]
        model, optimizer, scaler = made()
        assert checkpoint.restore(folder, model, optimizer, scaler) == 1


def test_a_checkpoint_from_before_there_were_checksums_is_continued(tmp_path):
    path = checkpoint.save(tmp_path, State.of(5, *made()), keep=1)
    record = json.loads((path / "state.json").read_bytes())
    (path / "state.json").write_text(json.dumps({"step": record["step"], "scaler": record["scaler"]}))
    checkpoint.set_damaged_aside(tmp_path, pytest.fail)
    assert checkpoint.restore(tmp_path, *made()) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"student.weighs|step": torch.tensor(1.0)},
        {"student.weight|step": torch.ones(2)},
        {"student.weight|exp_avg": torch.ones(3, 2)},
        {"student.weight|exp_avg": torch.ones(2, 3, dtype=torch.int32)},
        {"student.weight|momentum": torch.ones(2, 3)},
    ],
    ids=lambda change: " ".join(change),
)
def test_the_state_of_another_optimiser_is_refused(tmp_path, change):
    model, optimizer, scaler = made()
    state = State.of(7, model, optimizer, scaler)
    checkpoint.save(tmp_path, state._replace(optimizer=state.optimizer | change), keep=1)
    with pytest.raises(TrainError, match=r"another optimiser or student \(student.*; begin with --overwrite"):
        checkpoint.restore(tmp_path, *made())


def test_momentum_comes_back(tmp_path):
    model, _, scaler = made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    checkpoint.save(tmp_path, State.of(7, model, optimizer, scaler), keep=1)
    again, _, _ = made()
    optimizer_again = torch.optim.SGD(again.parameters(), lr=0.1, momentum=0.9)
    checkpoint.restore(tmp_path, again, optimizer_again, scaler)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(optimizer.state[one]["momentum_buffer"], optimizer_again.state[other]["momentum_buffer"])
