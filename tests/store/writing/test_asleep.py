"""Two write where one store has its place: a machine that slept on a file server has lost its claims, and goes on."""

import json

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import DistillkitError, StoreError
from distillkit.store.format.classes import write_classes
from distillkit.store.format.losses import write_losses
from distillkit.store.format.manifest import Shard
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing import begun, stamps
from distillkit.store.writing.shards import ShardWriter
from distillkit.store.writing.skeleton import Skeleton
from distillkit.system.record import digest
from distillkit.testing.promise import must
from tests.store.conftest import contents

ANOTHER = {"teachers": {"toy": {"model": "another", "weights_sha256": "1" * 64}}}


def begun_anew(toy):
    """Another recipe, whose run sees no claims, sets the store aside and begins."""
    other = toy.writer(identity=ANOTHER)
    other.set_aside()
    other.begin()
    return contents(toy.path)


def test_a_writer_whose_store_was_set_aside_writes_into_no_other(make_toy):
    """On a file server, a machine that slept has lost its claims."""
    toy = make_toy()
    asleep = toy.writer()
    asleep.begin()
    fresh = begun_anew(toy)
    with pytest.raises(StoreError, match=r"another process has begun a store of another recipe here; stop it, or"):
        toy.commit(asleep, 0)
    with pytest.raises(StoreError, match=r"what this run has committed lies in store\.before-"):
        asleep.record(0, Shard(rows=64, ok=64, files={}))
    assert contents(toy.path) == fresh


@pytest.mark.parametrize("name", range(5))
def test_a_store_that_is_set_aside_takes_half_written_files_along(make_toy, monkeypatch, name):
    """The machine fell asleep when it had just looked whose store it is: three fields, the index, the ledger."""
    toy, fresh, looks = make_toy(), {}, iter(range(10))
    asleep = toy.writer()
    asleep.begin()
    look = asleep.refuse_another_store

    def looked_and_slept():
        look()
        if next(looks) == name:
            fresh.update(begun_anew(toy))

    monkeypatch.setattr(asleep, "refuse_another_store", looked_and_slept)
    with pytest.raises((FileNotFoundError, StoreError)):
        toy.commit(asleep, 0)
    sentence = "Before it renames a file to its name, a writer must look whether `plan.json` is still its own"
    must(sentence, fresh != {} and contents(toy.path) == fresh)


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_begin_the_first_has_the_store(make_toy, monkeypatch, there):
    toy = make_toy()
    slow, quick = toy.writer(), toy.writer(identity=ANOTHER)
    if there:
        toy.path.mkdir(parents=True)
    lay_down = Skeleton.lay_down

    def slowly(skeleton, place, steps):
        lay_down(skeleton, place, steps)
        monkeypatch.setattr(Skeleton, "lay_down", lay_down)
        quick.begin()

    monkeypatch.setattr(Skeleton, "lay_down", slowly)
    with pytest.raises(StoreError, match="another process has begun a store of another recipe here"):
        slow.begin()
    assert json.loads((toy.path / "plan.json").read_bytes()) == quick.identity


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_lay_down_a_store_at_the_same_time_nothing_is_mixed(make_toy, tmp_path, monkeypatch, there):
    """A machine that slept has lost its lock, and goes on where another is at work: seed 26165 of many writers."""
    slow, quick = make_toy().writer(), make_toy(rows=90).writer(identity=ANOTHER)
    if there:
        (tmp_path / "store").mkdir()
    lay_down = Skeleton.lay_down

    def asleep(skeleton, place, steps):
        def meanwhile(another, its_place, its_steps):
            lay_down(another, its_place, its_steps)
            lay_down(skeleton, place, steps)  # awake again, before the other has given its folder a name

        monkeypatch.setattr(Skeleton, "lay_down", meanwhile)
        quick.begin()
        monkeypatch.setattr(Skeleton, "lay_down", lay_down)

    monkeypatch.setattr(Skeleton, "lay_down", asleep)
    with pytest.raises(StoreError, match="another process has begun a store of another recipe here"):
        slow.begin()
    store = tmp_path / "store"
    assert json.loads((store / "plan.json").read_bytes()) == quick.identity
    assert pa.ipc.open_file(store / "plan.arrow").read_all().num_rows == 90
    assert json.loads((store / "toy/image/zarr.json").read_bytes())["shape"][0] == 90
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def stamped(writer):
    writer.write(
        0,
        {
            name: np.zeros((64, *field.shape), "f2" if field.dtype == "float16" else "f4")
            for name, field in writer.fields.items()
        },
        [],
        writer.path,
    )
    found = stamps.blank(64)
    found[3] = stamps.Stamp(70, 10**18, 7)
    stamps.keep(writer.path, 0, found, writer.refuse_another_store)


def from_a_worker(toy, writer):
    staging = toy.path.with_name("staged")
    staging.mkdir(exist_ok=True)
    arrays = {name: values[64:128].copy() for name, values in toy.arrays.items()}
    worker = ShardWriter(writer.plan, writer.fields, writer.rows_per_shard)
    writer.adopt(1, worker.write(1, arrays, [], staging), staging)


WRITES = {
    "a shard from a worker": from_a_worker,
    "a shard": lambda toy, writer: toy.commit(writer, 1),
    "the record of a shard": lambda toy, writer: writer.record(1, Shard(rows=64, ok=64, files={})),
    "a shard's stamps": lambda toy, writer: stamped(writer),
    "what is computed of a shard": lambda toy, writer: begun.keep(writer.path, 1, toy.arrays, {}, whose="0"),
    "the manifest": lambda toy, writer: writer.finish({}),
    "a commit that is taken back": lambda toy, writer: writer.forget(0),
    "a lost file": lambda toy, writer: writer.skeleton.lay_down_one(
        writer.path, "zarr.json", writer.refuse_another_store
    ),
    "what was left out": lambda toy, writer: write_losses(writer.path, []),
    "the names of classes": lambda toy, writer: write_classes(writer.path, {"a": 0}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_where_a_store_was_moved_away_nothing_is_made_anew(make_toy, write):
    """Seed 60952 of many writers: the next recipe would lay down its store among the files of the one that slept."""
    toy = make_toy()
    asleep = toy.writer()
    asleep.begin()
    for shard in range(asleep.shards):
        toy.commit(asleep, shard)
    aside = toy.writer().set_aside()
    before = contents(aside)
    with pytest.raises((DistillkitError, FileNotFoundError)):
        write(toy, asleep)
        raise FileNotFoundError if write is WRITES["a commit that is taken back"] else AssertionError  # none is there
    must(
        "a writer must not create the store's folder again where it was moved away",
        not toy.path.exists() and contents(aside) == before,
    )


OF_NO_STORE = ("what is computed of a shard", "what was left out", "the names of classes")


@pytest.mark.parametrize("name", [name for name in WRITES if name not in OF_NO_STORE])
def test_nothing_of_another_store_is_written_or_removed(make_toy, name):
    toy = make_toy()
    asleep = toy.writer()
    asleep.begin()
    toy.commit(asleep, 0)
    asleep.set_aside()
    toy.write(identity=ANOTHER)
    before = contents(toy.path)
    asleep.identity = asleep._asked
    with pytest.raises(StoreError, match=r"another process has begun a store of another recipe here"):
        WRITES[name](toy, asleep)
    sentence = "A writer must rename a file before it removes it, and put it back if another store lies there by then"
    must(sentence, contents(toy.path) == before)


def test_whose_commits_these_are_is_asked_before_they_are_counted(make_toy, tmp_path):
    """Seed 44996 of many writers: the other recipe has fewer rows, so its commits do not add up to these."""
    asleep = make_toy(rows=100).writer()
    asleep.begin()
    asleep.set_aside()
    make_toy(rows=80).write(identity=ANOTHER)
    with pytest.raises(StoreError, match="another process has begun a store of another recipe here"):
        asleep.finish({})


def test_what_was_computed_for_another_store_is_not_gone_on_with(make_toy):
    """Awake again, it keeps its shard in hand where another store lies by now, of the same fields and rows."""
    toy = make_toy(failed=())
    asleep, other = toy.writer(), toy.writer(identity=ANOTHER)
    whose = [digest(writer.identity) for writer in (asleep, other)]
    other.begin()
    arrays = {name: values[:64] for name, values in toy.arrays.items()}
    begun.keep(toy.path, 0, arrays, {}, whose=whose[0])
    assert begun.kept(toy.path, 0, toy.fields, 64, whose[1]) is None
    assert begun.kept(toy.path, 0, toy.fields, 64, whose[0]) is not None


def test_two_that_write_one_file_at_the_same_time_write_it_whole(make_toy, monkeypatch):
    """Both have the claim, or one thinks so: neither opens what the other is about to give a name."""
    toy = make_toy()
    one, other = toy.writer(), toy.writer()
    one.begin(), other.begin()
    look, torn = one.refuse_another_store, []

    def looked_and_slept():
        look()
        monkeypatch.setattr(one, "refuse_another_store", look)
        torn.extend(path.read_bytes() for path in toy.path.rglob("*.partial"))
        toy.commit(other, 0)
        torn.extend(path.read_bytes() for path in toy.path.rglob("*.partial"))

    monkeypatch.setattr(one, "refuse_another_store", looked_and_slept)
    toy.commit(one, 0)
    assert len(torn) == 2 and torn[0] == torn[1] != b""
    toy.write()
    np.testing.assert_array_equal(FeatureStore(toy.path).read("toy/image", [0])[0], toy.arrays["toy/image"][0])


def test_a_store_is_not_laid_down_among_other_files(make_toy):
    """Of two who did, one would overwrite the other's; and a folder with photographs is no place for a store."""
    toy = make_toy()
    (toy.path / "notes").mkdir(parents=True)
    (toy.path / "notes/a.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"store: notes lies here, and no plan.json, so this is no store; choose anot"):
        toy.writer().begin()
    sentence = "A writer must not put its plan into a folder that holds anything already"
    must(sentence, [path.name for path in toy.path.rglob("*")] == ["notes", "a.txt"])
