"""What comes from outside, changed at random: a DistillkitError in one line, or rows; no other error, no hang."""

import os
from pathlib import Path

import pytest

from tests.faults.fuzz import CORPUS, known, slug
from tests.faults.hostile_input import Reader
from tests.faults.outside import make_world
from tests.faults.targets import TARGETS

SOME, MANY = 40, 10_000


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "world"
    folder.mkdir()
    make_world(folder)
    return folder


def tried(world, tmp_path, target, seeds):
    reader = Reader(world, tmp_path / "world", target)
    for seed in seeds:
        reader.given(reader.changed(seed), f"seed {seed}")


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("target", TARGETS)
def test_what_nobody_changed_is_read(world, tmp_path, target):
    """Else no change to it would say anything."""
    TARGETS[target].use(Reader(world, tmp_path / "world", target).folder)


@pytest.mark.parametrize("target", TARGETS)
def test_some_changes(world, tmp_path, target):
    tried(world, tmp_path, target, range(SOME))


# Seeds that once broke a reader.
FOUND = {
    "plan": (143, 567, 2504, 2883),
    "index": (399, 448, 2813),
    "begun with": (345, 2715, 3888),
    "manifest of neighbours": (178, 324, 2068),
    "commit of a store that is begun": (829,),
    "record that an extraction goes on with": (143, 215, 303, 466),
    "kept answers": (31, 660, 736, 1051, 2984),
}


@pytest.mark.parametrize("target", FOUND)
def test_what_was_found(world, tmp_path, target):
    tried(world, tmp_path, target, FOUND[target])


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_known_to_be_hostile(world, tmp_path, target):
    """Made by hand, or grown by the fuzzer, which begins with them; what once broke a reader is among them."""
    reader, kept = Reader(world, tmp_path / "world", target), sorted(known(target).iterdir())
    assert kept
    for path in kept:
        reader.given(path.read_bytes(), path.name)
    assert not Path("distillkit-pickle-was-run").exists()  # what the pickles among them make


def test_no_known_input_belongs_to_no_target():
    assert {path.name for path in CORPUS.iterdir()} == {slug(target) for target in TARGETS}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_changes(world, tmp_path, target):
    tried(world, tmp_path, target, range(SOME, SOME + MANY))
