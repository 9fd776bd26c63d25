"""Stores against a dict, as Hypothesis likes; a fault that is planted is found, and told as a script."""

import os
import re

import pytest

from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.writer import StoreWriter
from distillkit.testing import Writing
from distillkit.testing.promise import asserted
from tests.faults.machines import CorpusWithPowerCuts, WithNeighbours, WithPowerCuts, explored
from tests.faults.test_promises import NAMING, one_line


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_a_few_hundred_steps():
    assert explored(WithPowerCuts, 12, 20) > 150


def test_some_dozen_steps_of_a_corpus():
    assert explored(WithNeighbours, 6, 12) > 50


@pytest.mark.slow
def test_ten_thousand_steps():
    steps = explored(WithPowerCuts, 270, 30) + explored(CorpusWithPowerCuts, 180, 30)
    assert steps >= 10_000
    sentences = {one_line(sentence) for sentence in asserted}
    assert len(sentences) > 20, f"of what {len(NAMING)} files name, only {sorted(sentences)} came up"


@pytest.fixture
def forgetful(monkeypatch):
    """A writer that leaves its commits out."""
    monkeypatch.setattr(StoreWriter, "record", lambda self, shard, record: None)


SENTENCE = r"FORMAT\.md: a shard exists when its commit does"


def test_a_commit_that_is_left_out_is_found(forgetful):
    with pytest.raises(AssertionError, match=SENTENCE):
        explored(Writing, 30, 10, shrinks=False)


def test_it_shrinks_to_a_script_of_a_few_steps(forgetful):
    with pytest.raises(AssertionError, match=SENTENCE) as caught:
        explored(Writing, 30, 10)
    lines = [line.strip() for note in caught.value.__notes__ for line in note.splitlines()]
    steps = [line for line in lines if re.match(r"state\.(opened|begin|commit|all_the_rest)\b", line)]
    assert lines.index("state = Writing()") < lines.index("state.teardown()")
    assert 2 <= len(steps) <= 3, lines


@pytest.mark.slow
def test_a_fault_of_append_is_found(monkeypatch):
    """A store that is appended to takes the failed rows of its last shard for good ones."""
    monkeypatch.setattr(FeatureStore, "failures", lambda self: [])
    with pytest.raises(AssertionError):
        explored(WithNeighbours, 200, 30, shrinks=False)
