"""A commit is believed where it is whole: else the shard is made again, and that told. No traceback, no bent counts."""

import errno
import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import NotNow, StoreError
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.plan import counted
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.parts import assemble
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.fill import fill
from distillkit.system.atomic import as_json
from tests.store.conftest import FIELDS


@pytest.fixture
def toy(make_toy, tmp_path):
    return make_toy(path=tmp_path / "of/store", fields={"toy/image": FIELDS["toy/image"]})


@pytest.fixture
def begun(toy, tmp_path):
    """A store of three shards, of which the first is committed; beside it what comes of it undisturbed."""
    writer = toy.writer()
    writer.begin()
    toy.commit(writer, 0)
    shutil.copytree(toy.path, tmp_path / "before")
    fill_up(toy)
    toy.path.rename(tmp_path / "whole")
    shutil.copytree(tmp_path / "before", toy.path)
    return toy.path / "commits/00000.json", Manifest.read(tmp_path / "whole")


def fill_up(toy):
    said = []

    def rows(first, stop):
        failed = [(row - first, "decode", error) for row, error in toy.failed.items() if first <= row < stop]
        return {name: array[first:stop].copy() for name, array in toy.arrays.items()}, failed

    manifest = fill(toy.writer(), rows, {"toy": "1"}, said.append)
    return manifest, said


def as_older(content):
    """A commit as versions wrote it that knew no checksum of it."""
    record = json.loads(content)
    del record["sha256"]
    return as_json(record)


def test_whatever_bit_is_flipped_the_shard_is_made_again_and_told(toy, begun, monkeypatch):
    commit, wanted = begun
    content = commit.read_bytes()
    for place in range(len(content)):
        commit.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert toy.writer().damaged() == [0], commit.read_bytes()[max(0, place - 20) : place + 20]
    manifest, said = fill_up(toy)
    assert said == [f"{toy.path}: shard 1 has lost files or is damaged; it is written again"]
    assert manifest == wanted and verify(toy.path) == []


@pytest.mark.parametrize(
    "change",
    [{"ok": 73}, {"ok": -1}, {"ok": 62}, {"ok": 23}, {"ok": 64}, {"rows": 65}, {"rows": 63}, {"ok": "63"}, {"o": 63}],
    ids=str,
)
@pytest.mark.parametrize("older", [False, True])
def test_what_cannot_be_is_not_believed(toy, begun, change, older):
    commit, wanted = begun
    content = as_older(commit.read_bytes()) if older else commit.read_bytes()
    commit.write_bytes(as_json(json.loads(content) | change))
    assert toy.writer().damaged() == [0]
    assert fill_up(toy)[0] == wanted and verify(toy.path) == []


def test_a_file_that_no_field_makes_is_not_believed(toy, begun):
    commit, _ = begun
    record = json.loads(as_older(commit.read_bytes()))
    record["files"]["plan.arrow"] = {"bytes": (toy.path / "plan.arrow").stat().st_size, "sha256": "0" * 64}
    commit.write_bytes(as_json(record))
    assert toy.writer().damaged() == [0]


def test_of_an_older_commit_a_damaged_index_is_no_witness(toy, begun):
    commit, wanted = begun
    commit.write_bytes(as_older(commit.read_bytes()))
    assert toy.writer().damaged() == []
    path = toy.path / "index/00000.arrow"
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    assert toy.writer().damaged() == [0] and fill_up(toy)[0] == wanted


def test_an_older_commit_counts_as_before(toy, begun):
    commit, wanted = begun
    commit.write_bytes(as_older(commit.read_bytes()))
    before = commit.stat().st_mtime_ns
    manifest, said = fill_up(toy)
    assert manifest == wanted and said == [] and commit.stat().st_mtime_ns == before and verify(toy.path) == []


def test_a_commit_that_is_damaged_before_the_end_is_told_in_a_line(toy, begun):
    commit, wanted = begun
    writer = toy.writer()
    writer.begin()
    for shard in (1, 2):
        toy.commit(writer, shard)
    commit.write_bytes(commit.read_bytes().replace(b'"ok": 63', b'"ok": 73'))
    with pytest.raises(StoreError, match=r"commits/00000.json: damaged; run the same command again, which makes that"):
        writer.finish({"toy": "1"})
    assert not writer.finished() and fill_up(toy)[0] == wanted


def test_a_part_whose_commit_is_damaged_has_not_that_shard(toy, begun, tmp_path):
    commit, _ = begun
    commit.write_bytes(commit.read_bytes().replace(b'"ok": 63', b'"ok": 62'))
    with pytest.raises(StoreError, match=r"3 of 3 shards are in none of the parts \(1, 2, 3\)"):
        assemble(tmp_path / "out", [toy.path], lambda line: None, {})
    shutil.copytree(tmp_path / "whole", tmp_path / "again/store")
    assemble(tmp_path / "out", [toy.path, tmp_path / "again/store"], lambda line: None, {})
    assert verify(tmp_path / "out") == [] and np.array_equal(FeatureStore(tmp_path / "out").failed_rows, [3, 70, 149])


@pytest.mark.parametrize("ok", [62, 0])
def test_verify_compares_how_many_have_features_with_the_index(toy, begun, ok):
    """As versions made such stores of a commit that was bent."""
    fill_up(toy)
    path, commit = toy.path / "manifest.json", toy.path / "commits/00000.json"
    said = json.loads(path.read_bytes())
    said["skipped"] += said["shards"][0]["ok"] - ok
    said["shards"][0]["ok"] = ok
    path.write_bytes(as_json(said))
    commit.write_bytes(as_json(said["shards"][0]))
    (toy.path / "checksums.json").unlink()
    assert verify(toy.path) == [f"{path}: other rows with features than in {toy.path / 'index/00000.arrow'}"]
    path.unlink()
    fill_up(toy)
    assert verify(toy.path) == []


def test_verify_looks_at_what_a_commit_tells_of_nothing(toy, begun):
    """Where the manifest says 0, a commit that says something else is damaged, too."""
    fill_up(toy)
    commit = toy.path / "commits/00001.json"
    record = json.loads(as_older(commit.read_bytes()))
    record["clipped"] = {"toy/image": 3}
    commit.write_bytes(as_json(record))
    (line,) = verify(toy.path)
    assert line.startswith(f"{commit}: ")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.EIO])
def test_an_index_that_cannot_be_read_now_is_not_damaged(begun, toy, monkeypatch, number):
    """Its shard would be made again, or the store called damaged; a bad block is of that file."""
    commit, _ = begun
    commit.write_bytes(as_older(commit.read_bytes()))
    index, real = toy.path / "index/00000.arrow", pa.memory_map

    def failing(path, *mode):
        if path == str(index):
            raise OSError(number, os.strerror(number), path)
        return real(path, *mode)

    writer = toy.writer()
    assert counted(index) == (writer.told(0).rows, writer.told(0).ok)
    monkeypatch.setattr(pa, "memory_map", failing)
    if number == errno.EIO:
        assert counted(index) is None and writer.damaged() == [0]
        return
    with pytest.raises(NotNow, match=r"00000\.arrow: cannot be read now"):
        writer.damaged()
    with pytest.raises(NotNow, match=r"00000\.arrow: cannot be read now"):
        counted(index)


def test_a_store_that_cannot_be_read_now_is_not_called_damaged(begun, toy, monkeypatch):
    fill_up(toy)
    assert verify(toy.path) == []

    def failing(path, *mode):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

    monkeypatch.setattr(pa, "memory_map", failing)
    with pytest.raises(NotNow, match=r"\.arrow: cannot be read now"):
        verify(toy.path)
