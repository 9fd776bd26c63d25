"""Shards are committed one by one, the manifest comes last, and no kill loses or bends anything."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import StoreError
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system.temporary import TEMPORARY
from tests.store.conftest import FIELDS, contents


def killed_at(toy, count, **changes):
    """Write a store in a child that kills itself with -9 before its `count`-th step on disk; whether it came so far."""
    child = os.fork()
    if child == 0:
        steps = 0

        def counted(function):
            def step(*arguments, **options):
                nonlocal steps
                steps += 1
                if steps == count:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return step

        # A file that is opened is there, and empty: a kill just after that counts too.
        opened = Path.open
        Path.open = lambda *arguments, **options: counted(lambda file: file)(opened(*arguments, **options))
        os.fsync, os.rename, os.replace, os.unlink, os.mkdir = map(
            counted, (os.fsync, os.rename, os.replace, os.unlink, os.mkdir)
        )
        try:
            toy.write(**changes)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_at_every_step_and_continued_it_is_the_same_store(make_toy, tmp_path):
    one = {"fields": {"toy/image": FIELDS["toy/image"]}}
    want = contents(make_toy(rows=70, failed=(3, 69), path=tmp_path / "whole" / "store").write(**one).path)
    steps = 0
    while True:
        steps += 1
        toy = make_toy(rows=70, failed=(3, 69), path=tmp_path / str(steps) / "store")
        if not killed_at(toy, steps, **one):
            break
        if (toy.path / "manifest.json").is_file():
            FeatureStore(toy.path).read("image", np.arange(70))  # what is there is whole
        assert contents(toy.write(**one).path) == want, f"killed at step {steps}"
    assert steps > 50


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_again_and_again_it_still_gets_there(make_toy, tmp_path):
    """Each run dies a little later than the one before could; committed shards are never written twice."""
    want = contents(make_toy(path=tmp_path / "whole" / "store").write().path)
    toy, commits, count = make_toy(path=tmp_path / "killed" / "store"), {}, 5
    while killed_at(toy, count):
        count += 4
        now = {path: path.stat().st_mtime_ns for path in toy.path.glob("commits/*.json")}
        assert commits.items() <= now.items()
        commits = now
    assert contents(toy.path) == want


def test_a_store_does_not_exist_before_its_manifest(make_toy):
    toy = make_toy()
    writer = toy.writer()
    with pytest.raises(StoreError, match=r"extract it first: distillkit extract-teacher RECIPE"):
        FeatureStore(toy.path)
    writer.begin()
    toy.commit(writer, 0)
    assert [writer.committed(shard) for shard in range(3)] == [True, False, False] and not writer.finished()
    with pytest.raises(StoreError, match=r"what makes it has not finished; rerun it"):
        FeatureStore(toy.path)
    toy.write()
    assert writer.finished() and len(FeatureStore(toy.path)) == 150


def test_equal_stores_are_equal_files_wherever_they_lie(make_toy, tmp_path):
    one, other = (make_toy(path=tmp_path / place / "store").write() for place in ("a", "b"))
    assert contents(one.path) == contents(other.path)
    assert Manifest.read(one.path).digest == Manifest.read(other.path).digest


def test_every_row_changes_the_digest(make_toy, tmp_path):
    one, other = make_toy(path=tmp_path / "a" / "store"), make_toy(path=tmp_path / "b" / "store")
    other.arrays["toy/text"][140, 7] += 1
    assert Manifest.read(one.write().path).digest != Manifest.read(other.write().path).digest


def test_what_a_kill_left_half_written_is_removed(make_toy):
    toy = make_toy()
    toy.writer().begin()
    half = toy.path / f"toy/image/c/0/0{TEMPORARY}"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    toy.write()
    assert not half.exists()


def test_failures_that_were_mended_before_the_commit_leave_no_ledger(make_toy):
    """Killed between ledger and commit, then the image was mended: the row is good, and nothing says otherwise."""
    toy = make_toy(failed=(3,))
    writer = toy.writer()
    writer.begin()
    toy.commit(writer, 0)
    (toy.path / "commits/00000.json").unlink()
    toy.failed = {}
    toy.write()
    store = FeatureStore(toy.path)
    assert store.failures() == [] and len(store.ok_rows) == 150 and not (toy.path / "failures/00000.jsonl").exists()


def test_failed_rows_are_nan_in_every_field_and_known_to_the_ledger(toy):
    store = FeatureStore(toy.path)
    for name in toy.arrays:
        values = store.read(name, np.arange(150)).numpy()
        finite = np.isfinite(values).reshape(150, -1).all(axis=1)
        assert np.flatnonzero(~finite).tolist() == [3, 70, 149]
        np.testing.assert_array_equal(values[finite], toy.arrays[name][finite])
    assert [(line["key"], line["stage"], line["error"]) for line in store.failures()] == [
        (f"k{row:04d}", "decode", f"no. {row} is grey") for row in (3, 70, 149)
    ]
    assert store.manifest.skipped == 3 and [shard.ok for shard in store.manifest.shards] == [63, 63, 21]


def test_arrays_of_the_wrong_shape_or_type_are_refused(make_toy):
    toy = make_toy()
    for wrong in (toy.arrays["toy/image"][:, :16], toy.arrays["toy/image"].astype(np.float32)):
        toy.arrays["toy/image"] = wrong
        with pytest.raises(StoreError, match=r"toy/image: got .*, want float16 \(64, 32\)"):
            toy.write()


def test_another_identity_is_seen_and_the_old_store_kept(make_toy):
    toy = make_toy().write()
    before = contents(toy.path)
    other = toy.writer(identity={"views": {"count": 2}})
    assert other.previous_identity() != other.identity == toy.writer(identity={"views": {"count": 2}}).identity
    assert contents(other.set_aside()) == before and not toy.path.exists()


def test_a_store_that_was_set_aside_is_never_overwritten(make_toy):
    """A whole store goes aside; its half-made successor of the same identity must not take its place."""
    toy = make_toy().write()
    before = contents(toy.path)
    first = toy.writer().set_aside()
    toy.writer().begin()
    second = toy.writer().set_aside()
    assert first != second and contents(first) == before and not (second / "manifest.json").exists()


def test_a_damaged_plan_is_named(make_toy):
    toy = make_toy().write()
    (toy.path / "plan.json").write_text('{"rows": ')
    with pytest.raises(StoreError, match=r"plan\.json: damaged .*; move .* away and make it again"):
        toy.writer().previous_identity()


def test_the_plan_is_kept_as_it_was_made(toy):

    assert pa.ipc.open_file(toy.path / "plan.arrow").read_all() == toy.writer().plan
    assert json.loads((toy.path / "plan.json").read_bytes()) == toy.writer().identity


def test_what_lies_beside_the_shards_and_is_gone_is_written_again(toy):
    """`store verify` sends people here: they delete what it names, and run what made the store once more."""
    beside = [*toy.path.rglob("zarr.json"), toy.path / "plan.arrow"]
    before = {path: path.read_bytes() for path in beside}
    assert len(before) > 3
    for path in beside:
        path.unlink()
    assert len(verify(toy.path)) == len(before)
    assert toy.writer().mend() == [] and verify(toy.path) == []
    assert {path: path.read_bytes() for path in beside} == before
