"""Compressed fields: smaller, the same numbers, read by zarr; what is damaged is named."""

import json
import pickle
import subprocess
import sys

import numcodecs
import numpy as np
import pyarrow as pa
import pytest
import torch
import zarr

from distillkit.errors import StoreError
from distillkit.store.format import layout
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import file_digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify

FIELDS = {
    "toy/patches": Field(teacher="toy", shape=[4, 16], dtype="float16", compression="zstd"),
    "toy/large": Field(teacher="toy", shape=[1024, 64], dtype="float32", compression="zstd"),
    "toy/image": Field(teacher="toy", shape=[32], dtype="float16"),
}


@pytest.fixture
def packed(make_toy):
    toy = make_toy(fields=FIELDS, failed=(3, 149))
    toy.arrays["toy/large"] = np.repeat(np.arange(150, dtype="f4"), 1024 * 64).reshape(150, 1024, 64)
    return toy.write()


@pytest.mark.parametrize("name", ["toy/patches", "toy/large"])
def test_it_reads_as_if_it_were_not_compressed(packed, name):
    store, rows = FeatureStore(packed.path), [149, 0, 64, 0, 128, 63]
    got = store.read(name, rows).numpy()
    np.testing.assert_array_equal(got[1:], packed.arrays[name][rows[1:]])
    assert np.isnan(got[0]).all() and store.read(name, []).shape == (0, *FIELDS[name].shape)
    out = torch.empty_like(torch.from_numpy(got))
    assert store.read(name, rows, out=out).data_ptr() == out.data_ptr()
    assert torch.equal(pickle.loads(pickle.dumps(store)).read(name, [5]), store.read(name, [5]))  # noqa: S301
    with pytest.raises(StoreError, match="asked for, it has 150"):
        store.read(name, [150])


def test_plain_zarr_reads_it_and_would_write_the_same(packed, tmp_path):
    array = zarr.open(packed.path, mode="r")["toy/patches"]
    np.testing.assert_array_equal(array[64:128], packed.arrays["toy/patches"][64:128])
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr/zarr.json").write_bytes((packed.path / "toy/patches/zarr.json").read_bytes())
    zarr.open(tmp_path / "zarr", mode="r+")[:128] = array[:128]
    for shard in (0, 1):
        ours, theirs = (folder / f"c/{shard}/0/0" for folder in (packed.path / "toy/patches", tmp_path / "zarr"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_it_is_smaller_and_large_rows_are_unpacked_one_by_one(packed):
    assert layout.inner_rows(FIELDS["toy/patches"]) == 64 and layout.inner_rows(FIELDS["toy/large"]) == 1
    assert layout.packed_rows(3 << 16) == 1 and layout.packed_rows(1 << 16) == 4 and layout.packed_rows(1) == 64
    assert (packed.path / "toy/large/c/0/0/0").stat().st_size < 64 * FIELDS["toy/large"].row_bytes / 100
    assert verify(packed.path) == []


def test_views_of_a_compressed_field(make_toy):
    field = Field(teacher="toy", shape=[2, 4, 16], dtype="bfloat16", per_view=True, compression="zstd")
    toy = make_toy(fields={"toy/patches": field}, failed=())
    toy.arrays["toy/patches"][:] = np.arange(150 * 2, dtype="u2").reshape(150, 2, 1, 1) + 0x3F80
    store = FeatureStore(toy.write(identity={"views": {"count": 2, "columns": []}}).path)
    rows, view = [7, 149, 7], np.array([1, 0, 0])
    assert store.read("patches", rows, view=view).dtype == torch.bfloat16
    assert torch.equal(store.read("patches", rows, view=view), store.read("patches", rows)[range(3), view])


def test_a_store_of_both_kinds_is_read_in_blocks(packed):
    seen = [rows for rows, read in FeatureStore(packed.path).blocks(["patches", "image"], 16) if len(read) == 2]
    assert len(np.unique(np.concatenate(seen))) == 148
    assert FeatureStore(packed.path).populate(["patches", "image"])


def test_damage_is_named(packed):
    path = packed.path / "toy/patches/c/1/0/0"
    raw = bytearray(path.read_bytes())
    for place in (0, len(raw) - 10):
        damaged = raw.copy()
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"toy/patches: damaged \(.*run: distillkit store verify"):
            FeatureStore(packed.path).read("patches", [64])
        assert [line.split(":")[0] for line in verify(packed.path)] == [str(path)]
    path.unlink()
    with pytest.raises(StoreError, match="c/1/0/0 is missing"):
        FeatureStore(packed.path).read("patches", [0])


BOMB = """
import resource, sys
import numpy as np
from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
store = FeatureStore(sys.argv[1])
store.read("patches", [64])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    store.read("patches", [0])
except StoreError as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("told", [True, False], ids=["of a size", "of no size"])
def test_a_chunk_that_claims_more_is_refused_without_its_memory(packed, told):
    """A gigabyte of zeros is 32 KB; the manifest, which is whoever's who made the bytes, says them to be right."""
    path, size = packed.path / "toy/patches/c/0/0/0", 1 << 30
    stream = numcodecs.zstd.Zstd(level=1).encode(np.zeros(size, "u1"))
    if not told:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as out:
            for _ in range(1 << 10):
                out.write(bytes(1 << 20))
        stream = sink.getvalue().to_pybytes()
    assert len(stream) < 1 << 18
    path.write_bytes(stream + layout.shard_index([len(stream)], 64, FIELDS["toy/patches"]))
    manifest = json.loads((packed.path / "manifest.json").read_bytes())
    manifest["shards"][0]["files"]["toy/patches/c/0/0/0"] = file_digest(path).model_dump()
    (packed.path / "manifest.json").write_text(json.dumps(manifest))
    done = subprocess.run([sys.executable, "-c", BOMB, packed.path], capture_output=True, text=True, check=True)
    assert "toy/patches: damaged (" in done.stderr and done.stderr.count("\n") == 1
    assert int(done.stdout) < 100 * 1024  # KiB


def test_rows_that_would_fill_the_memory_are_refused(packed):
    path = packed.path / "manifest.json"
    path.write_text(path.read_text().replace("1024,", "1024000000,"))
    with pytest.raises(StoreError, match="toy/large: compressed rows of"):
        FeatureStore(packed.path)
