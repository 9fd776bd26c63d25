"""Long work on stores says how far it is, and how long it will take: here looks at the clock are 20 s apart."""

import itertools
import re

import pytest

from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.concat import concatenate
from distillkit.store.upkeep.export import export
from distillkit.store.upkeep.parts import assemble
from distillkit.store.upkeep.verify import verify
from distillkit.system import progress

MADE = {"toy": "1"}


@pytest.fixture
def slow(monkeypatch):
    clock = itertools.count(0, 20)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))


def told(said, what):
    """The rows that were told of, in turn; each with what is left."""
    lines = [re.fullmatch(rf"{re.escape(str(what))} ([\d,]+)/([\d,]+)  [\d.,]+/s  .+ left", line) for line in said]
    return [(int(line[1].replace(",", "")), int(line[2].replace(",", ""))) for line in lines if line]


def test_merging_stores(make_toy, tmp_path, slow):
    one, other = (make_toy(path=tmp_path / name / "store") for name in ("a", "b"))
    other.keys = [f"other {key}" for key in other.keys]
    said, out = [], tmp_path / "merged"
    concatenate(out, [toy.write().path for toy in (one, other)], said.append, MADE)
    assert told(said, f"{out}: rows") == [(rows, 300) for rows in (64, 128, 192, 256)]
    assert any(line.startswith(f"{out}: planning, rows ") for line in said)


def test_putting_parts_together(toy, tmp_path, slow):
    said, out = [], tmp_path / "merged" / toy.path.name
    assemble(out, [toy.path], said.append, MADE)
    assert told(said, f"{out}: rows") == [(64, 150), (128, 150)]


@pytest.mark.parametrize("form", ["npy", "arrow", "parquet", "webdataset"])
def test_exporting(toy, tmp_path, slow, monkeypatch, form):
    monkeypatch.setattr("distillkit.store.upkeep.export._ROWS", {"arrow": 60, "parquet": 60, "webdataset": 60})
    monkeypatch.setattr("distillkit.store.upkeep.export._BLOCK", 60)
    store, said, out = FeatureStore(toy.path), [], tmp_path / "out"
    rows = export(store, out, form, say=said.append)
    total = rows * len(store.fields) if form == "npy" else rows
    found = told(said, f"{out}: {'rows of each field' if form == 'npy' else 'rows'}")
    assert len(found) >= 2 and {of for _, of in found} == {total} and sorted(found) == found


def test_verifying(toy, slow):
    said, store = [], FeatureStore(toy.path)
    assert verify(store.path, said.append) == []
    found = told(said, f"{toy.path}: bytes")
    assert len(found) >= 2 and sorted(found) == found and len({of for _, of in found}) == 1


def test_who_wants_to_hear_nothing_hears_nothing(toy, tmp_path, slow, capsys):
    export(FeatureStore(toy.path), tmp_path / "out", "npy")
    assert capsys.readouterr() == ("", "")
