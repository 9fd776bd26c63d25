"""A store is plain zarr: zarr-python, zarrs and tensorstore read the very bits that were written, of every dtype."""

import numpy as np
import pytest
import zarr

from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.steps import Steps
from tests.store.conftest import FIELDS as PLAIN

FIELDS = {f"toy/{dtype}": Field(teacher="toy", shape=[2, 16], dtype=dtype) for dtype in DTYPES} | {
    "toy/packed": Field(teacher="toy", shape=[2, 16], dtype="float16", compression="zstd"),
    "toy/image": PLAIN["toy/image"],
}
PARTS = (slice(None), slice(60, 130), slice(149, 150))


@pytest.fixture
def every(make_toy):
    """A store of every dtype; in what was put in, failed rows are as the store has them."""
    toy = make_toy(fields=FIELDS, failed=(3,))
    for name, field in FIELDS.items():
        raw = np.random.default_rng(0).integers(0, 256, (150, field.row_bytes), np.uint8)
        if field.dtype in ("float16", "float32"):  # any bits but those of NaN, of which there are many
            raw.view(DTYPES[field.dtype])[~np.isfinite(raw.view(DTYPES[field.dtype]))] = 1.5
        toy.arrays[name] = raw.view(DTYPES[field.dtype]).reshape(150, *field.shape)
    writer = toy.writer(rows_per_shard=128)
    ones = np.ones(16, "f4")
    writer.steps = {"toy/int8": Steps(ones, ones)}
    writer.begin()
    return toy.write(rows_per_shard=128)


def same(got, want, part):
    """Bit for bit, but for the row that failed."""
    rows = np.arange(150)[part]
    ok = rows != 3
    return np.asarray(got)[ok].tobytes() == want[rows[ok]].tobytes()


@pytest.mark.parametrize("name", FIELDS)
def test_zarr_python_reads_the_same_bits(every, name):
    array = zarr.open(every.path, mode="r")[name]
    assert all(same(array[part], every.arrays[name], part) for part in PARTS)


@pytest.mark.parametrize("name", FIELDS)
def test_zarrs_reads_the_same_bits(every, name):
    pytest.importorskip("zarrs")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        array = zarr.open(every.path, mode="r")[name]
        assert all(same(array[part], every.arrays[name], part) for part in PARTS)


@pytest.mark.parametrize("name", FIELDS)
def test_tensorstore_reads_the_same_bits(every, name):
    tensorstore = pytest.importorskip("tensorstore")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{every.path / name}/"}}
    array = tensorstore.open(spec, open=True, read=True).result()
    assert all(same(array[part].read().result(), every.arrays[name], part) for part in PARTS)
