"""int8 fields: small, close to what was said, the same meaning in every shard; nothing is clipped in silence."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from distillkit.errors import StoreError
from distillkit.store.format.encode import encode
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.steps import Steps, sample_of, steps_of
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.store.upkeep.test_verify import flip


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


FIELD = Field(teacher="toy", shape=[32], dtype="int8")
TOKENS = Field(teacher="toy", shape=[4, 8], dtype="int8")


def test_values_are_centre_and_steps_away_from_it():
    """Seen from 1 to 3: the centre is 2, and a third more is covered: 0.7 to 3.3 in 254 steps."""
    steps = Steps.of(torch.tensor([[1.0, 0.0], [3.0, 8.0]]))
    np.testing.assert_allclose(steps.centre, [2, 4])
    np.testing.assert_allclose(steps.scale, [1.3 / 127, 5.2 / 127])
    kept, clipped = steps.encode(torch.tensor([[2.0, 9.2], [3.3, -1.2], [4.5, 4.0]]))
    assert kept.tolist() == [[0, 127], [127, -127], [127, 0]] and clipped == 1
    np.testing.assert_allclose(steps.decode(kept), [[2, 9.2], [3.3, -1.2], [3.3, 4]], rtol=1e-6)


def test_no_value_of_the_sample_is_farther_than_half_a_step():
    said = torch.randn(500, 16) * torch.logspace(-3, 3, 16)
    steps = Steps.of(said)
    kept, clipped = steps.encode(said)
    assert clipped == 0 and ((steps.decode(kept) - said).abs() <= torch.from_numpy(steps.scale) * 0.501).all()


def test_dimensions_that_never_move():
    steps = Steps.of(torch.tensor([[5.0, 0.0], [5.0, 1.0]]))
    kept, clipped = steps.encode(torch.tensor([[5.0, 0.5], [6.0, 0.5]]))
    assert steps.decode(kept)[0, 0] == 5 and clipped == 1  # what was never seen is told, not rounded away
    assert Steps.of(torch.zeros(3, 4)).decode(Steps.of(torch.zeros(3, 4)).encode(torch.zeros(2, 4))[0]).abs().max() == 0


def test_rows_that_failed_do_not_count_and_stay_absent():
    sample = torch.randn(10, 8)
    broken = sample.clone()
    broken[3], broken[4, 2] = torch.nan, torch.inf
    want = Steps.of(sample[[0, 1, 2, 5, 6, 7, 8, 9]])
    assert Steps.of(broken) == want
    assert want.decode(want.encode(broken[3:4])[0]).isnan().all()
    with pytest.raises(StoreError, match="no row of the sample has features"):
        Steps.of(torch.full((4, 8), torch.nan))


def test_steps_that_cover_several():
    one, other = Steps.of(torch.randn(100, 8)), Steps.of(torch.randn(100, 8) * 3 + 1)
    assert Steps.covering([one, replace(one)]) == one
    both = Steps.covering([one, other])
    for steps in (one, other):
        for end in (-127, 127):
            assert both.encode(steps.decode(torch.full((1, 8), end, dtype=torch.int8)))[1] == 0


def test_the_sample_is_spread_and_bounded():
    assert sample_of(10, [FIELD]).tolist() == list(range(10))
    rows = sample_of(40_000_000, [FIELD])
    assert len(rows) == 16_384 and rows[0] == 0 and rows[-1] == 39_999_999 and (np.diff(rows) > 2000).all()
    large = Field(teacher="toy", shape=[256, 1024], dtype="int8")
    assert len(sample_of(10**6, [large])) * 256 * 1024 * 4 <= 1 << 28
    assert len(sample_of(10, [Field(teacher="toy", shape=[10**9], dtype="int8")])) == 1


def write(toy, spread=2.0):
    """A store with two int8 fields, and what the teacher said; one value lies far beyond the sample."""
    said = {name: torch.randn(150, *field.shape) * spread + 1 for name, field in toy.fields.items()}
    said["toy/x"][7, 5] = 99.0
    writer = toy.writer(rows_per_shard=128)
    writer.steps = {name: Steps.of(torch.cat([values[:7], values[8:]])) for name, values in said.items()}
    writer.begin()
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        kept = {name: encode(values[first:stop], toy.fields[name], writer.steps[name]) for name, values in said.items()}
        failures = [(row - first, "decode", "grey") for row in (3, 149) if first <= row < stop]
        clipped = {name: one.clipped for name, one in kept.items()}
        writer.commit(shard, {name: one.rows for name, one in kept.items()}, failures, clipped)
    writer.finish({"toy": "1"})
    return toy, said


@pytest.fixture
def small(make_toy):
    return write(make_toy(fields={"toy/x": FIELD, "toy/tokens": TOKENS}, failed=(3, 149)))


@pytest.mark.parametrize("name", ["toy/x", "toy/tokens"])
def test_the_reader_gives_what_was_meant(small, name):
    toy, said = small
    store, rows = FeatureStore(toy.path), [0, 148, 64, 20]
    steps = steps_of(toy.path, toy.fields)[name]
    got = store.read(name, rows)
    assert got.dtype == torch.float32 and (got - said[name][rows]).abs().max() <= steps.scale.max() * 0.51
    raw = store.read(name, rows, raw=True)
    assert raw.dtype == torch.int8 and torch.equal(steps.decode(raw), got)
    assert store.read(name, [3, 149]).isnan().all() and (store.read(name, [3], raw=True) == -128).all()
    out = torch.empty(4, *toy.fields[name].shape)
    assert store.read(name, rows, out=out).data_ptr() == out.data_ptr() and torch.equal(out, got)


def test_views_of_an_int8_field(make_toy):
    field = Field(teacher="toy", shape=[2, 32], dtype="int8", per_view=True)
    toy, said = make_toy(fields={"toy/x": field}, failed=()), torch.randn(150, 2, 32)
    writer = toy.writer(identity={"views": {"count": 2, "columns": []}})
    writer.steps = {"toy/x": Steps.of(said)}
    writer.begin()
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        writer.commit(shard, {"toy/x": encode(said[first:stop], field, writer.steps["toy/x"]).rows}, [])
    writer.finish({})
    assert (FeatureStore(toy.path).read("x", [9, 149], view=1) - said[[9, 149], 1]).abs().max() < 0.03


def test_plain_zarr_reads_it_too(small):
    toy, said = small
    group = zarr.open(toy.path, mode="r")
    centre, scale = group["toy/x.steps"][:]
    np.testing.assert_allclose(group["toy/x"][10:20] * scale + centre, said["toy/x"][10:20], atol=scale.max())


def test_what_was_clipped_is_counted_and_told(small, run_cli):
    toy, _ = small
    assert [shard.clipped for shard in Manifest.read(toy.path).shards] == [{"toy/x": 1}, {}]
    assert "toy/x  int8 [32], 1 value of 4800 clipped" in run_cli("store", "info", toy.path)[1]


def begun_again(toy):
    writer = toy.writer(rows_per_shard=128)
    writer.begin()
    return writer


def test_it_is_verified_and_continued_with_its_steps(small):
    toy, _ = small
    steps = steps_of(toy.path, toy.fields)
    assert verify(toy.path) == [] and begun_again(toy).steps == steps
    path = toy.path / "toy/x.steps/c/0/0"
    flip(path, 9)
    (line,) = verify(toy.path)
    assert line.startswith(f"{path}: sha256")
    for state in ("flipped", "gone"):
        if state == "gone":
            path.unlink()
            with pytest.raises(StoreError, match=r"x\.steps/c/0/0: missing or damaged, and int8 rows mean nothing"):
                FeatureStore(toy.path).read("x", [0])
        for use in (lambda: begun_again(toy), lambda: toy.writer(rows_per_shard=128).finish({"toy": "1"})):
            with pytest.raises(StoreError, match=r"x\.steps/c/0/0: missing or damaged, and int8 rows mean nothing"):
                use()


def test_what_is_not_complete_tells_its_steps_to_the_byte(small):
    """The manifest, which tells them, comes last; they are laid down with the plan."""
    toy, _ = small
    path, files = toy.path / "toy/x.steps/c/0/0", Manifest.read(toy.path).files
    manifest, whole = (toy.path / "manifest.json").read_bytes(), path.read_bytes()
    said = json.loads((toy.path / "steps.json").read_bytes())
    assert {name: said[name] for name in said if name != "sha256"} == {n: f.model_dump() for n, f in files.items()}
    (toy.path / "manifest.json").unlink()
    for place in range(0, len(whole), 16):
        flip(path, place)
        with pytest.raises(StoreError, match=r"x\.steps/c/0/0: missing or damaged"):
            begun_again(toy)
        path.write_bytes(whole)
    toy.writer(rows_per_shard=128).finish({"toy": "1"})
    assert (toy.path / "manifest.json").read_bytes() == manifest
    record = (toy.path / "steps.json").read_bytes()
    for place in range(0, len(record), 23):
        flip(toy.path / "steps.json", place)
        (line,) = verify(toy.path)
        assert line == f"{toy.path / 'steps.json'}: not as it was written, or not what the manifest says; delete it"
        with pytest.raises(StoreError, match=r"steps\.json: not as it was written; delete it, and run"):
            begun_again(toy)
        (toy.path / "steps.json").write_bytes(record)


def test_steps_that_are_lost_are_written_again_by_who_has_them(small):
    toy, _ = small
    path, whole = toy.path / "toy/x.steps/c/0/0", (toy.path / "toy/x.steps/c/0/0").read_bytes()
    steps = steps_of(toy.path, toy.fields)
    for damage in (lambda: flip(path, 9), path.unlink, lambda: shutil.rmtree(toy.path / "toy/x.steps/c")):
        damage()
        writer = toy.writer(rows_per_shard=128)
        writer.steps = steps | {"toy/tokens": steps["toy/x"]}  # those of a field that has lost nothing are its own
        writer.begin()
        assert path.read_bytes() == whole and writer.steps == steps and verify(toy.path) == []
    flip(path, 9)
    writer.steps = {"toy/x": steps["toy/tokens"]}
    with pytest.raises(StoreError, match="missing or damaged"):
        writer.begin()


def test_an_older_store_goes_on_without_such_a_record(small):
    toy, _ = small
    path = toy.path / "toy/x.steps/c/0/0"
    (toy.path / "steps.json").unlink()
    begun_again(toy)
    flip(path, 9)
    with pytest.raises(StoreError, match="missing or damaged"):  # its manifest tells
        begun_again(toy)
    (toy.path / "manifest.json").unlink()
    assert begun_again(toy).steps == steps_of(toy.path, toy.fields)


def test_of_parts_the_one_is_named_whose_steps_are_damaged(small, tmp_path, run_cli):
    """Not the other one, which has others than those."""
    toy, _ = small
    parts = [shutil.copytree(toy.path, tmp_path / name) for name in ("a", "b")]
    for number, part in enumerate(parts):
        (part / "manifest.json").unlink()
        (part / f"commits/{number:05d}.json").unlink()
    flip(parts[0] / "toy/x.steps/c/0/0", 3)
    code, _, err = run_cli("store", "merge", tmp_path / "out", *parts)
    assert code == 1 and f"{parts[0]}/toy/x.steps/c/0/0: missing or damaged" in err and not (tmp_path / "out").exists()
    flip(parts[0] / "toy/x.steps/c/0/0", 3)
    code, _, err = run_cli("store", "merge", tmp_path / "out", *parts)
    assert code == 0 and verify(tmp_path / "out") == [], err
    assert (tmp_path / "out/steps.json").read_bytes() == (toy.path / "steps.json").read_bytes()


def test_stores_with_other_steps_become_one(small, make_toy, tmp_path, run_cli):
    """The numbers are made anew, for steps that can tell what either store could."""
    toy, said = small
    other = make_toy(fields=toy.fields, failed=(), path=tmp_path / "other")
    other.keys = [f"other {key}" for key in other.keys]
    _, more = write(other, spread=0.5)
    code, _, err = run_cli("store", "merge", tmp_path / "both", toy.path, other.path)
    assert code == 0, err
    both = FeatureStore(tmp_path / "both")
    scale = both.base.steps["toy/x"].scale.max()
    assert verify(both.path) == [] and len(both) == 300 and both.read("x", [3]).isnan().all()
    rows = [0, 20, 148]
    assert (both.read("x", rows) - said["toy/x"][rows]).abs().max() <= scale
    assert (both.read("x", [row + 150 for row in rows]) - more["toy/x"][rows]).abs().max() <= scale


@pytest.mark.parametrize("change", ["absent", "foreign"])
def test_a_manifest_without_the_steps_is_refused(small, change):
    path = small[0].path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    if change == "absent":
        del manifest["files"]
    else:
        manifest["files"]["../../secret"] = next(iter(manifest["files"].values()))
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="files: not the steps of its int8 fields"):
        FeatureStore(small[0].path)
