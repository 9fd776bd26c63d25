"""What is added to a store later is read with its rows, and touches nothing that was there."""

import json
import pickle
import shutil

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.format.field import Field
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.store.conftest import contents
from tests.store.upkeep.test_verify import flip

NEAR = {
    "near/ids": Field(teacher="near", shape=[8], dtype="int32"),
    "near/scores": Field(teacher="near", shape=[8], dtype="float16"),
}
DINO = {"dino/image": Field(teacher="dino", shape=[16], dtype="float16")}


def add(make_toy, toy, name, fields, failed=(), folder="added", **changes):
    teachers = {next(iter(fields.values())).teacher: {"model": name}}
    addition = make_toy(rows=len(toy.keys), failed=failed, path=toy.path / folder / name, fields=fields)
    return addition.write(rows_per_shard=256, identity={"teachers": teachers} | changes)


@pytest.fixture
def base(toy):
    return toy, contents(toy.path), FeatureStore(toy.path).digest


@pytest.fixture
def both(base, make_toy):
    """The base, with a teacher for which rows 5 and 70 failed, and neighbours."""
    toy = base[0]
    return toy, add(make_toy, toy, "dino", DINO, failed=(5, 70)), add(make_toy, toy, "near", NEAR)


def test_what_is_added_is_read_with_the_rows_of_the_base(both):
    toy, dino, near = both
    store, rows = FeatureStore(toy.path), [149, 0, 64, 128]
    np.testing.assert_array_equal(store.read("dino/image", rows).numpy(), dino.arrays["dino/image"][rows])
    np.testing.assert_array_equal(store.read("near/ids", rows).numpy(), near.arrays["near/ids"][rows])
    assert list(store.fields) == [*sorted(toy.fields), *DINO, *NEAR] and list(store.teachers) == ["toy", "dino", "near"]
    assert store.teacher("dino/image") == {"model": "dino"} and store.field("scores").shape == [8]


def test_nothing_that_was_there_changes(base, both):
    toy, before, digest = base
    after = {name: data for name, data in contents(toy.path).items() if not name.startswith("added/")}
    store = FeatureStore(toy.path)
    assert after == before and store.digest == digest
    assert store.field_name("image") == "toy/image"  # a short name means what it meant
    assert store.ok_rows.tolist() == [row for row in range(150) if row not in (3, 70, 149)]


def test_what_is_relied_on_counts(base, both):
    toy, _, digest = base
    dino, near = FeatureStore(toy.path, "dino"), FeatureStore(toy.path, uses=["near"])
    digests = {digest, dino.digest, near.digest, FeatureStore(toy.path, "dino", uses=["near"]).digest}
    assert len(digests) == 4
    assert dino.ok_rows.tolist() == [row for row in range(150) if row not in (3, 5, 70, 149)]
    assert dino.field_name("image") == "dino/image" and dino.read("image", [5]).isnan().all()
    assert sorted(line["key"] for line in dino.failures()) == ["k0003", "k0005", "k0070", "k0070", "k0149"]
    with pytest.raises(StoreError, match="no features for 1 of 2 keys, the first is 'k0005'"):
        dino.rows_of(["k0004", "k0005"])
    assert FeatureStore(toy.path).rows_of(["k0005"]).tolist() == [5]
    assert pickle.loads(pickle.dumps(near)).digest == near.digest  # noqa: S301


def test_only_what_is_there_can_be_relied_on(both):
    with pytest.raises(StoreError, match="no addition 'far'; it has: dino, near"):
        FeatureStore(both[0].path, uses=["far"])


def test_an_addition_does_not_exist_before_its_manifest(both):
    toy = both[0]
    (toy.path / "added/dino/manifest.json").unlink()
    assert list(FeatureStore(toy.path).teachers) == ["toy", "near"]


def test_the_writer_of_the_base_leaves_additions_alone(both):
    toy = both[0]
    half = toy.path / "added/half/dino/image/c/0/0.partial"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    toy.writer().begin()
    assert half.exists()


def test_an_addition_for_another_plan(base, make_toy):
    toy = base[0]
    toy.keys = toy.keys[:100]
    with pytest.raises(StoreError, match="has other rows since dino was begun for it"):
        add(make_toy, toy, "dino", DINO)
    (toy.path / "added").rename(toy.path / "elsewhere")
    add(make_toy, toy, "dino", DINO, folder="elsewhere")
    (toy.path / "elsewhere").rename(toy.path / "added")
    with pytest.raises(StoreError, match=r"added/dino: made for another plan \(100 rows, .*\(150 rows"):
        FeatureStore(toy.path)


def test_an_addition_with_a_teacher_that_is_there(base, make_toy, tmp_path):
    toy = base[0]
    add(make_toy, toy, "dino", DINO)
    shutil.copytree(toy.path / "added/dino", toy.path / "added/again")
    with pytest.raises(StoreError, match=r"added/dino: adds teacher 'dino', which .*added/again has"):
        FeatureStore(toy.path)


def test_an_addition_with_other_views(base, make_toy):
    seen = {"dino/image": Field(teacher="dino", shape=[2, 16], dtype="float16", per_view=True)}
    add(make_toy, base[0], "dino", seen, views={"count": 2, "columns": []})
    with pytest.raises(StoreError, match="its views are not the ones of"):
        FeatureStore(base[0].path)


def test_a_damaged_manifest_of_an_addition_is_named(both):
    path = both[0].path / "added/near/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": 9}))
    with pytest.raises(StoreError, match=r"added/near/manifest\.json: store format version 9"):
        FeatureStore(both[0].path)


def test_verify_looks_into_additions(both):
    toy = both[0]
    assert verify(toy.path) == []
    flip(toy.path / "added/near/near/ids/c/0/0", 0)
    (line,) = verify(toy.path)
    assert line.startswith(f"{toy.path}/added/near/near/ids/c/0/0: sha256")


def test_info_shows_additions(both, run_cli):
    code, out, _ = run_cli("store", "info", both[0].path)
    assert code == 0 and "field    near/ids  int32 [8]" in out and "added/dino: 150 rows" in out
