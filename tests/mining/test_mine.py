"""Neighbours of one store in another: true, kept where they belong, continued after a kill, refused in one line."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import tracemalloc
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import DistillkitError, RecipeError, StoreError
from distillkit.mine import mine_here
from distillkit.mining.duplicates import unequal
from distillkit.recipe import MineRecipe
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.claims import Part
from distillkit.training.ingredients import Ingredients
from tests.mining.conftest import clustered, truth, write

KINDS = sorted({*get_args(MineRecipe.model_fields["index"].annotation)} - {"auto", "exact", "gpu_ivf_pq"})


def recipe(images, texts, **knobs):
    return MineRecipe(**{"queries": str(images.path), "corpus": str(texts.path), "k": 32, "rows_per_shard": 64} | knobs)


def mined(images, name="neighbours"):
    store = FeatureStore(images.path)
    return store.read(f"{name}/ids", np.arange(len(store))).numpy(), store.read(
        f"{name}/scores", np.arange(len(store))
    ).numpy()


def test_neighbours_are_those_of_numpy_and_lie_beside_the_rows_that_asked(images, texts):
    said = []
    path = mine_here(recipe(images, texts), 1, said.append)
    ids, scores = mined(images)
    rows, cosines = truth(images, texts, 32)
    assert path == images.path / "added/neighbours"
    assert np.array_equal(ids[images.ok_rows], rows)
    assert np.abs(scores[images.ok_rows] - cosines).max() < 1e-3
    assert (ids[[3, 200]] == -1).all() and np.isnan(scores[[3, 200]]).all()
    assert FeatureStore(images.path, uses=["neighbours"]).ok_rows.tolist() == images.ok_rows.tolist()
    assert not verify(images.path) and FeatureStore(images.path).digest == images.digest
    assert any("not normalised" in line for line in said) and any(
        "recall@32: 1, the search is exact" in line for line in said
    )


def test_neighbours_are_no_teacher(images, texts):
    mine_here(recipe(images, texts), 1, lambda _: None)
    store = FeatureStore(images.path)
    assert store.said_by == ["toy"] and "neighbours" in store.teachers
    for name in ("eff", "neighbours"):
        with pytest.raises(StoreError, match=f"no teacher '{name}'; it has: toy$"):
            FeatureStore(images.path, name)
        given = SimpleNamespace(first=store, data=SimpleNamespace(teacher=name))
        with pytest.raises(RecipeError, match=f"images knows no '{name}'; it has: toy$"):
            Ingredients.teacher.func(given)


@pytest.mark.parametrize("kind", KINDS)
def test_an_approximate_search_tells_its_true_recall(images, texts, kind):
    mine_here(recipe(images, texts, index=kind, recall=0.9, held_out=300), 1, lambda _: None)
    ids, scores = mined(images)
    rows, cosines = truth(images, texts, 32)
    facts = FeatureStore(images.path).teachers["neighbours"]
    found = np.mean([np.isin(true, own).mean() for true, own in zip(rows, ids[images.ok_rows], strict=True)])
    assert facts["index"] == kind and facts["recall"] >= 0.9
    assert found == pytest.approx(facts["recall"], abs=0.01)  # held out are all of these few queries
    same = ids[images.ok_rows] == rows
    assert np.abs(scores[images.ok_rows][same] - cosines[same]).max() < 1e-3  # ranked by the store's own vectors
    assert np.all(np.diff(scores[images.ok_rows].astype(np.float32), axis=1) <= 0)


def test_the_other_way_and_within_a_store(images, texts):
    mine_here(recipe(texts, images, field="text", corpus_field="image", name="seen"), 1, lambda _: None)
    assert np.array_equal(mined(texts, "seen")[0][texts.ok_rows], truth(texts, images, 32)[0])
    mine_here(recipe(texts, texts, field="text", name="like"), 1, lambda _: None)
    ids, _ = mined(texts, "like")
    everything = truth(texts, texts, 33)[0]
    assert not (ids == np.arange(len(ids))[:, None]).any()
    assert (ids[texts.ok_rows] == everything[:, 1:]).mean() > 0.999  # but for ties


def test_equal_texts_count_once_and_near_ones_if_asked(tmp_path, images):
    vectors = clustered(400, 2)
    vectors[200:300] = vectors[100:200] * 2  # the same directions, said otherwise
    said = []
    texts = write(tmp_path / "t", "text", vectors, [f"text {n % 350}" for n in range(400)])
    mine_here(recipe(images, texts, near_duplicates=0.9999), 1, said.append)
    assert any("250 of 400 rows are searched; 50 repeat a text, 100 nearly do" in line for line in said)
    kept = np.concatenate([np.arange(200), np.arange(300, 350)])
    assert np.array_equal(mined(images)[0][images.ok_rows], truth(images, texts, 32, kept)[0])
    mine_here(recipe(images, texts, name="all", equal_texts="each"), 1, lambda _: None)
    assert mined(images, "all")[0].max() > 350


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_of_a_crowd_of_near_texts_one_stays(tmp_path, images, kind):
    """More of them than are looked at for a row at first, in any order."""
    random = np.random.default_rng(0)
    crowd = random.standard_normal(32) + 0.01 * random.standard_normal((200, 32))
    order = random.permutation(500)
    vectors = np.concatenate([clustered(300, 2), crowd])[order]
    texts, said = write(tmp_path / "t", "text", vectors), []
    mine_here(recipe(images, texts, near_duplicates=0.98, index=kind), 1, said.append)
    assert any("301 of 500 rows are searched; 0 repeat a text, 199 nearly do" in line for line in said), said
    if kind == "exact":
        kept = np.flatnonzero((order < 300) | (np.arange(500) == np.argmax(order >= 300)))
        assert np.array_equal(mined(images)[0][images.ok_rows], truth(images, texts, 32, kept)[0])


def test_a_rerun_does_nothing_and_a_change_mines_anew(images, texts):
    said = []
    mine_here(recipe(images, texts), 1, lambda _: None)
    mine_here(recipe(images, texts), 1, said.append)
    assert said == [f"{images.path}/added/neighbours: already mined (298 rows), nothing to do"]
    mine_here(recipe(images, texts, k=64), 1, said.append)
    assert mined(images)[0].shape == (300, 64) and any(
        "mining anew, the old neighbours are now" in line for line in said
    )


def test_lost_and_damaged_files_are_mined_again_alone(images, texts, run_cli):
    said = []
    path = mine_here(recipe(images, texts), 1, lambda _: None)
    whole = mined(images)
    lost = path / "neighbours/ids/c/2/0"
    lost.write_bytes(lost.read_bytes()[::-1])
    code, out, err = run_cli("store", "verify", images.path)
    assert code == 1 and str(lost) in out
    assert err.rstrip().endswith("mine-neighbours RECIPE, where RECIPE is the recipe that it was begun with")
    lost.unlink()
    (path / "commits/00000.json").write_text("{")
    mine_here(recipe(images, texts), 1, said.append)
    assert [line for line in said if "lost files" in line] == [
        f"{path}: shard {number} of 5 has lost files or is damaged; it is mined again" for number in (1, 3)
    ]
    assert any("3 of 5 shards are already committed" in line for line in said) and not verify(images.path)
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(whole, mined(images), strict=True))


def test_looking_for_equal_texts_holds_a_block_of_them():
    """Of 400,000 texts of 200 letters 80 MB would be in memory; a block and 8 bytes of each are."""
    texts = pa.chunked_array([pa.array([f"{n % 300_000:0200d}" for n in range(400_000)])])
    vectors = SimpleNamespace(store=SimpleNamespace(index={"text": texts}), rows=np.arange(1, 400_000))
    held = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = unequal(vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.tolist() == list(range(1, 300_001))  # the text of row 0, which is not meant, comes again
    assert peak < 40e6 and pa.total_allocated_bytes() - held < 1e6


def test_parts_make_one_addition(images, texts):
    said = []
    mine_here(recipe(images, texts), 1, said.append, part=Part(1, 2))
    assert (
        said[-1].endswith("3 of 5 shards left to other processes")
        and "neighbours" not in FeatureStore(images.path).added
    )
    mine_here(recipe(images, texts), 1, said.append, part=Part(2, 2))
    assert np.array_equal(mined(images)[0][images.ok_rows], truth(images, texts, 32)[0])


def test_an_index_is_kept_used_again_and_refused_for_another_store(tmp_path, images, texts):
    said = []
    knobs = {"index": "ivf_pq", "held_out": 50}
    mine_here(recipe(images, texts, **knobs), 1, said.append)
    assert not any("used again" in line for line in said)
    mine_here(recipe(images, texts, k=64, **knobs), 1, said.append)
    assert any("the index of an earlier run is used again" in line for line in said)
    texts.path.rename(tmp_path / "old")
    other = write(tmp_path / "texts", "text", clustered(1000, 5), failed=(7,))
    with pytest.raises(
        DistillkitError, match=r"this index was made from something else \(corpus: .*delete that folder"
    ):
        mine_here(recipe(images, other, **knobs), 1, said.append)


def test_an_index_of_as_many_other_texts_is_not_taken(tmp_path, images):
    """Of b near a, and c near b alone: at 0.98 c is left out, at 0.97 b, and then c stays."""
    random = np.random.default_rng(5)
    vectors, (a, across) = random.standard_normal((1000, 32)), np.linalg.qr(random.standard_normal((32, 2)))[0].T
    angles = np.arccos([1.0, 0.975, 0.985]).cumsum()
    vectors[[10, 11, 900]] = np.cos(angles)[:, None] * a + np.sin(angles)[:, None] * across
    texts = write(tmp_path / "texts", "text", vectors)
    knobs = {"index": "fp16", "held_out": 300, "candidates": 1}
    for name, cosine, gone in (("close", 0.98, 900), ("near", 0.97, 11)):
        said: list[str] = []
        mine_here(recipe(images, texts, name=name, near_duplicates=cosine, **knobs), 1, said.append)
        assert not any("effort raised" in line for line in said), said
        wanted = truth(images, texts, 32, np.delete(np.arange(1000), gone))[0]
        assert (mined(images, name)[0][images.ok_rows] == wanted).mean() > 0.95
    again: list[str] = []
    mine_here(recipe(images, texts, name="again", near_duplicates=0.97, **knobs), 1, again.append)
    assert sum("used again" in line for line in again) == 2


@pytest.mark.long
def test_killed_and_run_again_it_is_as_if_never_stopped(tmp_path, images, texts):
    """kill -9 of the command and its process after the first commits; the same command goes on from there."""
    file = tmp_path / "mine.toml"
    knobs = 'k = 32\nrows_per_shard = 64\nindex = "pq"\nheld_out = 50\n'
    file.write_text(f'queries = "{images.path}"\ncorpus = "{texts.path}"\n{knobs}')
    path = images.path / "added/neighbours"
    command = [sys.executable, "-c", "from distillkit.cli import main; main()", "mine-neighbours", file]
    slow = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nsync = os.fsync\ndef slow(handle):\n    time.sleep(0.03)\n    sync(handle)\nos.fsync = slow\n"
    )
    process = subprocess.Popen(command, env=slow, stderr=subprocess.PIPE)
    while not (path / "commits/00001.json").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.2)  # its own process sees that nobody waits for it any more
    done = {file.name: file.stat().st_mtime_ns for file in (path / "commits").iterdir()}
    assert 2 <= len(done) < 5 and not (path / "manifest.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and f"{len(done)} of 5 shards are already committed" in again.stderr
    assert all((path / "commits" / name).stat().st_mtime_ns == when for name, when in done.items())
    ids = mined(images)[0]
    mine_here(recipe(images, texts, name="undisturbed", index="pq", held_out=50), 1, lambda _: None)
    assert np.array_equal(ids, mined(images, "undisturbed")[0])


REFUSED = {
    "k larger than the corpus": ({"k": 1000}, r"texts: 999 rows to choose from; lower k = 1000"),
    "no such field": ({"corpus_field": "image"}, r"no field 'image'; it has: toy/text"),
    "too little memory": ({"max_memory": "1MB"}, r"is too little for this search; the least that works: \d+MiB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line(images, texts, case):
    knobs, message = REFUSED[case]
    with pytest.raises(DistillkitError, match=message) as told:
        mine_here(recipe(images, texts, **knobs), 1, lambda _: None)
    assert "\n" not in str(told.value)


def test_other_teachers_and_widths_are_refused(tmp_path, images):
    other = write(tmp_path / "other", "text", clustered(50, 2), model="another")
    with pytest.raises(DistillkitError, match=r"different teachers \(model: 'toy' against 'another'\)"):
        mine_here(recipe(images, other), 1, lambda _: None)
    wide = write(tmp_path / "wide", "text", clustered(50, 2, width=64))
    with pytest.raises(DistillkitError, match=r"image is 32 wide, .*text is 64 wide; name two fields of one space"):
        mine_here(recipe(images, wide), 1, lambda _: None)
    empty = write(tmp_path / "empty", "text", clustered(50, 2), failed=range(50))
    with pytest.raises(DistillkitError, match=r"empty: no row has features; why: distillkit store failures .*empty"):
        mine_here(recipe(images, empty), 1, lambda _: None)


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_rows_without_direction_are_left_out_and_told(tmp_path, images, bad):
    """Kind G: one row of zeros among many costs no mining, be it asked about or asked for."""
    vectors = clustered(50, 2)
    vectors[9] = bad
    said = []
    store = write(tmp_path / "texts", "text", vectors)
    mine_here(recipe(images, store), 1, said.append)
    assert f"{store.path}: text of 1 row is zero or NaN, as of 'k00009'; these rows are left out" in said
    ids = mined(images)[0]
    assert (ids[images.ok_rows] >= 0).all() and not (ids == 9).any()
    vectors[:] = bad
    with pytest.raises(DistillkitError, match="no row has a direction"):
        mine_here(recipe(images, write(tmp_path / "all", "text", vectors)), 1, said.append)


def test_rows_outside_of_the_view_that_asks_are_not_told_as_failed(images, texts, tmp_path, run_cli):
    view, said = select(images.path, np.arange(100), tmp_path / "view"), []
    mine_here(recipe(view, texts), 1, said.append)
    told = f"300 rows, 1 of them failed, 200 not asked (not of the view {view.path})"
    assert f"added/neighbours: complete, {told}, digest" in said[-1]
    out = run_cli("store", "info", images.path)[1]
    assert f"{images.path}: 300 rows, 2 of them failed; 3 shards\n" in out
    assert f"{images.path}/added/neighbours: {told}; 5 shards\n" in out
    with pytest.raises(StoreError, match=r"no teacher 'toi'; it has: toy; did you mean 'toy'\?"):
        FeatureStore(images.path, "toi")  # neighbours are no teacher
    told = FeatureStore(images.path, uses=["neighbours"]).failures()
    assert sum("not asked: it is outside of the view" in line["error"] for line in told) == 200


def test_the_neighbours_of_a_view_are_told_to_lie_with_its_store(images, texts, tmp_path):
    view, said = select(images.path, np.arange(100), tmp_path / "view"), []
    made = mine_here(recipe(view, texts), 1, said.append)
    assert made == images.path / "added/neighbours"
    told = f"{view.path}: is a view of {images.path}, which keeps the neighbours of its rows: {made} ("
    assert any(line.startswith(told) for line in said)
    mine_here(recipe(view, texts), 1, said.clear() or said.append)
    assert said[0].startswith(told) and "already mined" in said[1]
    mine_here(recipe(images, texts, name="all"), 1, said.clear() or said.append)
    assert not any("is a view" in line for line in said)


def test_mining_ends_with_the_command_that_uses_what_was_mined(images, texts, tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr("distillkit.mining.process.mine_apart", lambda recipe, say, *_: mine_here(recipe, 1, say))
    file = tmp_path / "mine.toml"
    file.write_text(f'queries = "{images.path}"\ncorpus = "{texts.path}"\nname = "near"\nk = 4\n')
    err = run_cli("mine-neighbours", file)[2]
    last = err.splitlines()[-1].partition("  (")[0]
    assert last.startswith("next: distillkit train-student RECIPE --set ")
    knobs = dict(word.split("=", 1) for word in shlex.split(last) if word.startswith("data."))
    assert {name: json.loads(value) for name, value in knobs.items()} == {
        "data.images": str(images.path),
        "data.texts": str(texts.path),
        "data.sampling": "neighbours",
        "data.neighbours": "near",
    }
    assert run_cli("mine-neighbours", file, "--set", 'next="other"')[2].endswith("next: other\n")
    assert "next: " not in run_cli("mine-neighbours", file, "--shard", "1/2")[2]
    file.write_text(f'queries = "{images.path}"\ncorpus = "{images.path}"\ncorpus_field = "image"\nk = 4\n')
    assert f"next: distillkit mine-neighbours {file} --page neighbours.html" in run_cli("mine-neighbours", file)[2]
