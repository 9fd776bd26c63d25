"""What other precisions would cost, on rows whose answer is known."""

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.format.field import Field
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.precision import advice, choices, table

ROWS = 600


@pytest.fixture
def measured(make_toy):
    """The choices of a store with these rows, and the advice."""

    def measure(values, dtype="float16", name="x"):
        field = Field(teacher="toy", shape=list(values.shape[1:]), dtype=dtype)
        toy = make_toy(rows=len(values), fields={f"toy/{name}": field}, failed=(5,))
        toy.arrays[f"toy/{name}"] = values.astype(dtype)
        made = choices(FeatureStore(toy.write(rows_per_shard=256).path), name)
        return {choice.dtype: choice for choice in made}, advice(f"toy/{name}", field, made), table(made)

    return measure


def gaussian(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_embeddings_fit_int8_and_hardly_compress(measured):
    # Groups of eleven: the ten nearest of each vector are the others of its group, and nothing else is near.
    groups = np.repeat(gaussian(55, 512), 11, axis=0) * 0.8 + gaussian(605, 512) * 0.6
    made, told, shown = measured(groups + 1)
    assert list(made) == ["float16", "bfloat16", "int8", "int8, not centred"]
    assert [choice.bytes_per_row for choice in made.values()] == [1024, 1024, 512, 512]
    assert made["float16"].worst == 0 and made["float16"].overlap == 1
    # A step is 1.3 x 3.1 standard deviations / 127: its rounding has a variance of a twelfth of its square.
    want = (1.3 * 3.1 / 127) ** 2 / 12 / 2 / 2
    assert made["int8"].error == pytest.approx(want, rel=0.2) and made["int8"].worst < 1e-4
    assert made["int8"].error < made["int8, not centred"].error / 1.3
    assert 1e-7 < made["bfloat16"].error < 3e-6 and made["bfloat16"].overlap == 1
    assert told.startswith('dtypes = { x = "int8" } takes 50% less') and "cannot be mapped: not worth it" in told
    assert "float16 (stored)" in shown and all(len(line) < 120 for line in shown.splitlines())


def test_float32_may_become_float16(measured):
    made, told, _ = measured(gaussian(ROWS, 64) * np.logspace(-3, 3, 64), "float32")
    assert made["float16"].bytes_per_row == 128 and made["float16"].worst < 1e-6
    assert "takes 50% less" in told or "takes 75% less" in told


def test_rows_of_many_lengths_stay_as_they_are(measured):
    """A step is absolute: of short vectors int8 leaves little, and the advice says so."""
    made, told, _ = measured(gaussian(ROWS, 64) * np.logspace(-3, 1, ROWS)[:, None])
    assert made["int8"].worst > 1e-2 and told.startswith("float16 it is")


def test_tokens_are_vectors_and_what_repeats_compresses(measured):
    made, told, _ = measured(np.repeat(gaussian(ROWS // 10, 4, 32), 10, axis=0), name="patches")
    assert made["int8"].bytes_per_row == 128 and made["float16"].zstd_per_row < 0.3 * 256
    assert 'compression = { patches = "zstd" } takes' in told


def test_what_has_no_precision_to_spare_is_refused(make_toy):
    toy = make_toy(fields={"toy/ids": Field(teacher="toy", shape=[32], dtype="int32")}).write()
    with pytest.raises(StoreError, match="ids is int32"):
        choices(FeatureStore(toy.path), "ids")


def test_two_rows_are_too_few(make_toy):
    with pytest.raises(StoreError, match="has 1 row with features, too few to measure"):
        choices(FeatureStore(make_toy(rows=2, failed=(1,)).write().path), "image")


def test_rows_spread_over_a_corpus_that_all_have_nothing_are_no_measure_of_it(make_toy, monkeypatch):
    """Of captions that are few, a sample of all rows may have none: int8 is measured on the rows that have one."""
    monkeypatch.setattr("distillkit.store.upkeep.precision.sample_of", lambda rows, fields: np.array([0, 1]))
    made = choices(FeatureStore(make_toy(rows=60, failed=(0, 1)).write().path), "text")
    assert {choice.dtype for choice in made} >= {"float16", "int8"}


def test_the_command_prints_every_field(toy, run_cli):
    code, out, _ = run_cli("store", "precision", toy.path)
    assert code == 0 and out.count("bytes/row") == 3 and "toy/patches [2, 16]" in out
    code, out, _ = run_cli("store", "precision", toy.path, "--field", "image")
    assert code == 0 and out.count("bytes/row") == 1
    code, _, err = run_cli("store", "precision", toy.path, "--field", "nobody")
    assert code == 1 and "no field 'nobody'" in err
