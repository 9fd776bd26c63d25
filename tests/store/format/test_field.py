"""Numbers of every dtype, and several views of an image, come back as they were put in: by our reader and by zarr."""

import hashlib
import json

import numpy as np
import pytest
import torch
import zarr

from distillkit.errors import StoreError
from distillkit.store.format.encode import encode
from distillkit.store.format.field import PARAMETERS, Field, blank
from distillkit.store.format.manifest import Manifest, file_digest
from distillkit.store.format.plan import plan_digest
from distillkit.store.reading.contents import Views
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system.atomic import write_json
from tests.store.conftest import contents

COLUMNS = ["left", "top", "right", "bottom", "flip"]
VIEWS = {"views": {"count": 4, "columns": COLUMNS}}


def one(dtype, shape=(32,), per_view=False):
    return {"toy/x": Field(teacher="toy", shape=list(shape), dtype=dtype, per_view=per_view)}


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_features_come_back_in_the_dtype_of_their_field(make_toy, dtype):
    toy = make_toy(fields=one(dtype), failed=(3,))
    said = torch.randn(150, 32)
    toy.arrays["toy/x"] = encode(said, toy.fields["toy/x"]).rows
    got = FeatureStore(toy.write(rows_per_shard=128).path).read("x", [2, 149, 3])
    want = said.to(getattr(torch, dtype))
    assert got.dtype == want.dtype and torch.equal(got[:2], want[[2, 149]]) and got[2].isnan().all()


@pytest.mark.parametrize(("dtype", "absent"), [("int32", -1), ("uint8", 255)])
def test_whole_numbers_come_back(make_toy, dtype, absent):
    toy = make_toy(fields=one(dtype), failed=(3,)).write(rows_per_shard=128)
    got = FeatureStore(toy.path).read("x", np.arange(150)).numpy()
    assert (got[3] == absent).all() and str(got.dtype) == dtype
    np.testing.assert_array_equal(np.delete(got, 3, 0), np.delete(toy.arrays["toy/x"], 3, 0))
    np.testing.assert_array_equal(zarr.open(toy.path, mode="r")["toy/x"][:], got)


def test_zarr_reads_bfloat16_as_its_bits(make_toy):
    toy = make_toy(fields=one("bfloat16"), failed=(3,))
    toy.arrays["toy/x"] = encode(torch.full((150, 32), 1.5), toy.fields["toy/x"]).rows
    array = zarr.open(toy.write().path, mode="r")["toy/x"]
    assert array.dtype == np.uint16 and array.attrs["dtype"] == "bfloat16" and (array[0] == 0x3FC0).all()
    (toy.path / "toy/x/c/1/0").unlink()
    assert (array[64:128] == 0x7FC0).all()  # NaN, as in every row without features


def test_a_value_beyond_its_dtype_makes_a_row_unusable():
    said = torch.tensor([[1.0, 2.0], [1e5, 0.0], [float("nan"), 0.0], [float("inf"), 0.0], [1e39, 0.0]])
    for dtype, usable in {"float16": [1, 0, 0, 0, 0], "bfloat16": [1, 1, 0, 0, 0], "float32": [1, 1, 0, 0, 0]}.items():
        field = Field(teacher="toy", shape=[2], dtype=dtype)
        assert encode(said, field).usable.tolist() == [bool(value) for value in usable]
    assert encode(said.bfloat16(), Field(teacher="toy", shape=[2], dtype="float16")).usable.tolist()[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "int32", "uint8"])
def test_blank_rows_are_what_failed_rows_are(dtype):
    field = one(dtype, (2, 3))["toy/x"]
    assert blank(field, 5).shape == (5, 2, 3) and blank(field, 5).nbytes == 5 * field.row_bytes


# Views.


@pytest.fixture
def seen(make_toy):
    """Four looks at every image: an embedding of each, and how it was cut."""
    parameters = Field(teacher="views", shape=[4, 5], dtype="float32", per_view=True)
    fields = one("float16", (4, 8), per_view=True) | {"toy/text": one("float16")["toy/x"], PARAMETERS: parameters}
    return make_toy(fields=fields, failed=(3,)).write(rows_per_shard=256, identity=VIEWS)


def test_all_views_or_one_or_another_of_each_row(seen):
    store, rows = FeatureStore(seen.path), np.array([149, 0, 7, 0])
    want = seen.arrays["toy/x"][rows]
    np.testing.assert_array_equal(store.read("x", rows).numpy(), want)
    np.testing.assert_array_equal(store.read("x", rows, view=2).numpy(), want[:, 2])
    for view in (np.array([3, 0, 1, 2]), torch.tensor([3, 0, 1, 2])):
        np.testing.assert_array_equal(store.read("x", rows, view=view).numpy(), want[range(4), [3, 0, 1, 2]])
    out = torch.empty(4, 8, dtype=torch.float16)
    assert store.read("x", rows, out=out, view=1).data_ptr() == out.data_ptr()
    assert store.read(PARAMETERS, rows, view=1).shape == (4, 5) and store.read("x", [3], view=0).isnan().all()
    assert store.views == Views(4, tuple(COLUMNS)) and store.field("x").view_shape == [8]


@pytest.mark.parametrize("view", [4, -1, [0, 4]])
def test_a_view_that_is_not_there_is_never_a_neighbour(seen, view):
    with pytest.raises(StoreError, match="asked for, it has 0 to 3"):
        FeatureStore(seen.path).read("x", [0, 1], view=view)
    for row in (-1, 150):
        with pytest.raises(StoreError, match=f"rows {row}..{row} asked for, it has 150"):
            FeatureStore(seen.path).read("x", [row], view=3)
    with pytest.raises(StoreError, match="'toy/text' has one value for all views"):
        FeatureStore(seen.path).read("text", [0], view=0)


def test_a_store_without_views_says_so(toy):
    assert FeatureStore(toy.path).views == Views(1, ())


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("toy/x", {"shape": [3, 8]}),
        ("toy/x", {"shape": [-4, -8]}),
        ("toy/x", {"shape": []}),
        ("toy/x", {"shape": [4, 0]}),
        ("toy/x", {"shape": [4, 8 * 10**15]}),
        ("toy/x", {"shape": [4, 2**62]}),
        ("toy/x", {"shape": [4, 8.5]}),
        ("toy/x", {"dtype": "float64"}),
        ("toy/x", {"dtype": "float32"}),
        ("toy/x", {"teacher": "views"}),
        (PARAMETERS, {"dtype": "float16"}),
        (PARAMETERS, {"shape": [4, 6]}),
        (PARAMETERS, {"shape": [5]}),
        (PARAMETERS, {"per_view": False, "shape": [5, 5]}),
        (PARAMETERS, {"teacher": "toy"}),
    ],
    ids=str,
)
def test_fields_that_cannot_be_are_refused_before_anything_is_mapped(seen, field, change):
    path = seen.path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["fields"][field] |= change
    path.write_text(json.dumps(manifest))
    told = r"^[^\n]*manifest\.json: not a manifest \([^\n]*; run: distillkit extract-teacher RECIPE"
    with pytest.raises(StoreError, match=told):
        FeatureStore(seen.path)


@pytest.mark.parametrize("name", ["x", "../x", "toy/..", "toy/", "toy/a/b", "toy\\x", "/toy"])
def test_names_that_leave_the_store_are_refused(seen, name):
    path = seen.path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["fields"][name] = {"teacher": name.split("/")[0], "shape": [32], "dtype": "float16"}
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="no name of a field"):
        FeatureStore(seen.path)


# Version 1.


def as_version_1(toy):
    """The same store as version 1 wrote it: another digest of the plan, and no number in its identity."""
    plan = plan_digest(toy.writer().plan, 1)
    manifest = json.loads((toy.path / "manifest.json").read_bytes())
    manifest |= {"version": 1, "source": manifest["source"] | {"plan": plan}}
    write_json(toy.path / "manifest.json", manifest)
    identity = json.loads((toy.path / "plan.json").read_bytes()) | {"plan": plan}
    write_json(toy.path / "plan.json", {name: value for name, value in identity.items() if name != "version"})
    said = {name: file_digest(toy.path / name).model_dump() for name in ("manifest.json", "plan.json")}
    write_json(toy.path / "checksums.json", said)
    return manifest


def test_stores_of_version_1_are_read_and_keep_their_digest(toy):
    manifest = as_version_1(toy)
    assert all(field.keys() == {"teacher", "shape", "dtype"} for field in manifest["fields"].values())
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    store = FeatureStore(toy.path)
    assert store.digest == Manifest.read(toy.path).digest == digest and verify(toy.path) == []
    np.testing.assert_array_equal(store.read("image", [0])[0].numpy(), toy.arrays["toy/image"][0])


def test_what_version_1_began_is_continued_and_ended_as_version_1(toy):
    as_version_1(toy)
    whole = contents(toy.path)
    (toy.path / "commits/00001.json").unlink()
    (toy.path / "manifest.json").unlink()
    assert toy.writer().previous_identity() == toy.writer().identity
    assert contents(toy.write().path) == whole
    (toy.path / "added/more").mkdir(parents=True)
    write_json(toy.path / "added/more/manifest.json", {})
    with pytest.raises(StoreError, match="version 1, which has no additions"):
        FeatureStore(toy.path)


def test_version_1_with_what_it_never_had_is_refused(make_toy):
    toy = make_toy(fields=one("bfloat16"), failed=()).write()
    as_version_1(toy)
    with pytest.raises(StoreError, match="toy/x: nothing that version 1 knows"):
        FeatureStore(toy.path)
