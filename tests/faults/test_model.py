"""A store against a dict, as Hypothesis likes, power cuts included."""

import os
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from distillkit.testing import StoreMachine
from tests.faults.disks import disks
from tests.faults.recorder import Recorder


class WithPowerCuts(StoreMachine):
    """The power may go while a shard is committed."""

    @precondition(lambda self: self.begun and not self.done and not self.lost)
    @rule(data=st.data(), seed=st.integers(0, 10**6))
    def power_cut(self, data, seed):
        todo = [shard for shard in range(self.writer.shards) if shard not in self.kept]
        if not todo:
            return
        shard = data.draw(st.sampled_from(todo))
        arrays, failures = self.said(shard, 2)
        recorder = Recorder(self.folder)
        with recorder.recording():
            self.writer.commit(shard, {name: values.copy() for name, values in arrays.items()}, failures)
        disk = random.Random(seed).choice(list(disks(recorder.before, recorder.events, seed)))
        disk.lay_out(self.folder)
        self.writer = self.made()
        self.writer.begin()
        if self.writer.committed(shard):
            self.kept[shard] = arrays, failures


def explored(examples, steps):
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
    run_state_machine_as_test(WithPowerCuts, settings=chosen)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_a_few_hundred_steps():
    explored(15, 20)


@pytest.mark.slow
def test_ten_thousand_steps():
    explored(400, 25)
