"""How a field lies on disk."""

import json
import struct

import google_crc32c
import numpy as np
import pytest
import zarr

from distillkit.errors import StoreError
from distillkit.store.format import layout
from distillkit.store.format.field import Field
from tests.store.conftest import FIELDS


def test_a_shard_is_its_rows_then_padding_then_the_index(toy):
    """Shard 2 has 22 rows: one inner chunk of 64 with NaN behind them, and an index of one chunk."""
    raw = (toy.path / "toy/image/c/2/0").read_bytes()
    rows = np.frombuffer(raw[: 64 * 64], "<f2").reshape(64, 32)
    np.testing.assert_array_equal(rows[:21], toy.arrays["toy/image"][128:149])
    assert np.isnan(rows[21:]).all()  # row 149 failed, the others were never planned
    assert raw[64 * 64 : -4] == struct.pack("<QQ", 0, 64 * 64)
    assert raw[-4:] == struct.pack("<I", google_crc32c.value(raw[64 * 64 : -4]))


def test_chunks_that_were_never_written_are_marked_so(make_toy):
    """30 rows in a shard of 128: the second inner chunk is missing, which zarr writes as two times 2**64 - 1."""
    toy = make_toy(rows=30, failed=()).write(rows_per_shard=128)
    raw = (toy.path / "toy/image/c/0/0").read_bytes()
    assert len(raw) == 64 * 64 + 2 * 16 + 4 == layout.shard_size(30, 128, FIELDS["toy/image"])
    assert struct.unpack("<QQQQ", raw[64 * 64 : -4]) == (0, 64 * 64, 2**64 - 1, 2**64 - 1)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 128, 150, 192])
@pytest.mark.parametrize("name", FIELDS)
def test_zarr_itself_reads_what_was_written(make_toy, rows, name):
    toy = make_toy(rows=rows, failed=()).write()
    array = zarr.open(toy.path, mode="r")[name]
    assert array.shape == toy.arrays[name].shape and str(array.dtype) == FIELDS[name].dtype
    np.testing.assert_array_equal(array[:], toy.arrays[name])


def test_zarr_itself_writes_the_same_bytes(tmp_path, make_toy):
    """Our shards are not only readable: they are what zarr would have written for the same metadata."""
    toy = make_toy(rows=150, failed=()).write(rows_per_shard=128)
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr/zarr.json").write_bytes((toy.path / "toy/image/zarr.json").read_bytes())
    zarr.open(tmp_path / "zarr", mode="r+")[:128] = toy.arrays["toy/image"][:128]
    ours, theirs = (toy.path / "toy/image/c/0/0").read_bytes(), (tmp_path / "zarr/c/0/0").read_bytes()
    assert ours == theirs


def test_zarr_notices_a_damaged_index(toy):
    path = toy.path / "toy/image/c/0/0"
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"(?i)checksum"):
        zarr.open(toy.path, mode="r")["toy/image"][:64]


def test_plain_readers_see_nan_where_there_are_no_features(toy):
    array = zarr.open(toy.path, mode="r")["toy/image"]
    assert np.isnan(array[3]).all() and np.isnan(array[149]).all() and np.isfinite(array[4]).all()
    (toy.path / "toy/image/c/1/0").unlink()
    assert np.isnan(array[64:128]).all()


@pytest.mark.parametrize(
    ("rows_per_shard", "shape", "dtype", "advice"),
    [
        (100, [32], "float16", "take a multiple of 64, such as 64"),
        (1000, [768], "float16", "take a multiple of 64, such as 960"),
        (64, [3], "float16", "take a multiple of 2048, such as 2048"),
        (3, [512], "float32", "take a multiple of 64, such as 64"),
    ],
)
def test_shards_that_are_no_whole_chunks_and_pages_are_refused(rows_per_shard, shape, dtype, advice):
    field = Field(teacher="toy", shape=shape, dtype=dtype)
    with pytest.raises(StoreError, match=f"rows_per_shard = {rows_per_shard} does not fit rows of .*{advice}$"):
        layout.check_rows_per_shard(rows_per_shard, field)
    layout.check_rows_per_shard(int(advice.rsplit(" ", 1)[1]), field)


def test_what_is_told_of_one_field_does_for_all():
    """Of eight neighbours: 32 bytes of row numbers, then 16 of cosines."""
    fields = [Field(teacher="toy", shape=[8], dtype=dtype) for dtype in ("int32", "float16")]
    with pytest.raises(StoreError, match=r"does not fit rows of 32 bytes; take a multiple of 256, such as 256$"):
        layout.check_rows_per_shard(64, *fields)
    layout.check_rows_per_shard(256, *fields)


def test_the_metadata_is_plain_zarr_version_3(toy):
    metadata = json.loads((toy.path / "toy/patches/zarr.json").read_text())
    assert metadata["zarr_format"] == 3 and metadata["shape"] == [150, 2, 16] and metadata["data_type"] == "float32"
    assert metadata["codecs"][0]["name"] == "sharding_indexed" and metadata["fill_value"] == "NaN"
    assert sorted(zarr.open(toy.path, mode="r")["toy"].array_keys()) == ["image", "patches", "text"]
