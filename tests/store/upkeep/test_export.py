"""What other programs read of an export is what the store says."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.store.format.encode import encode
from distillkit.store.format.field import Field
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep import export as module
from distillkit.store.upkeep.export import export
from tests.store.conftest import contents
from tests.store.reading.test_additions import DINO, NEAR, add

BF16 = Field(teacher="toy", shape=[32], dtype="bfloat16")


@pytest.fixture
def store(make_toy):
    """150 rows, three of them without features; a field of each kind."""
    toy = make_toy()
    toy.fields = toy.fields | {"toy/cls": BF16}
    toy.arrays["toy/cls"] = encode(torch.randn(150, 32), BF16).rows
    return FeatureStore(toy.write().path)


def expected(store):
    return {name: store.read(name, store.ok_rows).to(torch.float64).numpy() for name in store.fields}


def facts(store, columns=("key", "image", "text", "label")):
    return store.index.select(columns).take(pa.array(store.ok_rows)).to_pylist()


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", dict.fromkeys(module._ROWS, 60))
    monkeypatch.setattr(module, "_BLOCK", 25)


def test_npy_files_hold_every_field_and_their_keys(store, tmp_path):
    assert export(store, tmp_path / "out", "npy") == 147
    for name, values in expected(store).items():
        np.testing.assert_array_equal(np.load(tmp_path / f"out/{name}.npy", allow_pickle=False), values)
    assert pq.read_table(tmp_path / "out/keys.parquet").to_pylist() == facts(store)
    assert np.load(tmp_path / "out/toy/image.npy").dtype == np.float16


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_arrow_and_parquet_hold_every_field_in_files_of_so_many_rows(store, tmp_path, form):
    export(store, tmp_path / "out", form)
    paths = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in paths] == [f"rows-{number:05d}.{form}" for number in range(3)]
    read = pq.read_table if form == "parquet" else lambda path: pa.ipc.open_file(path).read_all()
    table = pa.concat_tables([read(path) for path in paths])
    assert table.select(["key", "image", "text", "label"]).to_pylist() == facts(store)
    for name, values in expected(store).items():
        column = table.schema.field(name)
        shape = json.loads(column.metadata[b"shape"])
        assert pa.types.is_fixed_size_list(column.type) and shape == list(values.shape[1:])
        held = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(held.reshape(-1, *shape), values)


def test_webdataset_holds_a_file_for_each_field_of_each_row(store, tmp_path):
    export(store, tmp_path / "out", "webdataset", ["image", "patches"])
    samples = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                samples.setdefault(key, {})[ending] = tar.extractfile(member).read()
    assert len(samples) == 147
    assert [json.loads(sample["json"]) for sample in samples.values()] == facts(store, ("key", "text", "label"))
    for name in ("image", "patches"):
        held = [np.load(io.BytesIO(sample[f"toy.{name}.npy"])) for sample in samples.values()]
        np.testing.assert_array_equal(np.stack(held), expected(store)[f"toy/{name}"])
    assert {tuple(sample) for sample in samples.values()} == {("json", "toy.image.npy", "toy.patches.npy")}


def test_the_same_store_is_the_same_export(store, tmp_path):
    for form in ("npy", "arrow", "parquet", "webdataset"):
        for place in ("one", "other"):
            export(store, tmp_path / form / place, form)
        assert contents(tmp_path / form / "one") == contents(tmp_path / form / "other")


@pytest.mark.parametrize("form", ["npy", "parquet", "webdataset"])
def test_a_field_that_is_named_twice_is_written_once(store, tmp_path, form):
    """Two columns of one name are none that a program can ask for."""
    name = store.feature_names[0]
    export(store, tmp_path / "once", form, [name])
    export(store, tmp_path / "twice", form, [name, name])
    files = {path.relative_to(tmp_path / "once") for path in (tmp_path / "once").rglob("*.*")}
    assert files and files == {path.relative_to(tmp_path / "twice") for path in (tmp_path / "twice").rglob("*.*")}
    for file in files:
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "twice" / file).read_bytes()


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(store, tmp_path, run_cli):
    with pytest.raises(StoreError, match="'hdf5' is no format of export; take one of: npy, arrow, parquet, webdataset"):
        export(store, tmp_path / "out", "hdf5")
    with pytest.raises(StoreError, match="no field 'nothing'"):
        export(store, tmp_path / "out", "npy", ["nothing"])
    (tmp_path / "full").mkdir()
    with pytest.raises(StoreError, match="full: is there already; move it away"):
        export(store, tmp_path / "full", "npy")
    with pytest.raises(
        StoreError, match=r"out\.parquet: a folder of files is made; name it \S+/out, and the form by --to"
    ):
        export(store, tmp_path / "out.parquet", "npy")
    assert not list(tmp_path.glob("out*"))
    arguments = ("store", "export", store.path, tmp_path / "out", "--to", "npy", "--field", "image")
    assert run_cli(*arguments)[0] == 0
    assert sorted(contents(tmp_path / "out")) == ["keys.parquet", "toy/image.npy"]


def test_rows_that_failed_in_an_addition_are_left_out_with_its_fields(toy, make_toy, tmp_path):
    add(make_toy, toy, "dino", DINO, failed=(5, 70))
    store = FeatureStore(toy.path)
    assert export(store, tmp_path / "own", "npy", ["toy/image"]) == 147
    assert export(store, tmp_path / "both", "npy", ["toy/image", "dino/image"]) == 146
    values = [np.load(tmp_path / f"both/{name}/image.npy") for name in ("toy", "dino")]
    assert len(values[0]) == len(values[1]) == 146 and all(np.isfinite(value).all() for value in values)


def test_rows_that_mining_did_not_ask_about_are_no_failed_rows(toy, make_toy, tmp_path):
    """Neighbours of a view lie in the store that it is of: all of its rows go out, and so do those of other views."""
    asked = range(60)
    mined = {"near": {"model": "exact", "kind": "mined"}}
    add(make_toy, toy, "near", NEAR, failed=range(60, 150), teachers=mined)
    other = select(toy.path, np.arange(100, 150), tmp_path / "other").path
    said = []
    assert export(FeatureStore(toy.path), tmp_path / "base", "npy", say=said.append) == 147
    assert export(FeatureStore(other), tmp_path / "view", "npy", say=said.append) == 49
    ids = np.load(tmp_path / "base/near/ids.npy")
    assert len(ids) == 147 and not (tmp_path / "view/near").exists()
    told = "left out near, which were mined of none of its 49 rows (--field near/ids --field near/scores takes them)"
    assert [line.partition(": ")[2] for line in said if "left out near" in line] == [told]
    assert export(FeatureStore(other), tmp_path / "asked", "npy", ["near/scores"]) == 49
    assert np.isnan(np.load(tmp_path / "asked/near/scores.npy")).all()
    rows = FeatureStore(toy.path).ok_rows
    known = FeatureStore(toy.path).read("near/ids", rows).numpy()
    np.testing.assert_array_equal(ids, known)
    assert (rows < len(asked)).sum() == 59
    assert f"{tmp_path}/base: left out 3 of 150 rows, 3 failed (why: distillkit store failures {toy.path})" in said
    assert f"{tmp_path}/view: left out 1 of 50 rows, 1 failed (why: distillkit store failures {toy.path})" in said
    assert f"{tmp_path}/base: near of 88 of 147 rows are empty (-1, NaN): none were mined" in said
    assert FeatureStore(toy.path).relying_on(["near/ids"]).ok_rows.tolist() == rows.tolist()


def test_what_is_left_out_is_told_by_where_it_failed(toy, make_toy, tmp_path, run_cli):
    dino = add(make_toy, toy, "dino", DINO, failed=(3, 5, 70)).path
    code, _, err = run_cli("store", "export", toy.path, tmp_path / "both")
    why = "failed (why: distillkit store failures"
    told = f"left out 4 of 150 rows, 3 {why} {toy.path}), 1 {why} {dino})"
    assert code == 0 and told in err and "146 rows as npy" in err and "empty" not in err
    said = []
    export(FeatureStore(toy.path, "dino"), tmp_path / "own", "npy", ["toy/image"], said.append)
    assert f"{tmp_path}/own: {told}" in said
    assert "k0005" in run_cli("store", "failures", dino)[1]


def test_an_export_of_no_rows_is_refused(toy, tmp_path):
    view = FeatureStore(select(toy.path, [3, 70], tmp_path / "view").path)
    with pytest.raises(StoreError, match=r"view: no row has all of toy/image: left out 2 of 2 rows, 2 failed \(why: "):
        export(view, tmp_path / "out", "npy", ["image"])
    assert not (tmp_path / "out").exists()
