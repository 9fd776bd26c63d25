"""distillkit embed into a store that is there: what is told of it can be typed, and does what it says."""

import re
import shlex
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import distillkit
from distillkit.store.reading.reader import FeatureStore
from tests.embedding.conftest import photos, runs  # noqa: F401


@pytest.fixture
def paths(photos):  # noqa: F811
    return sorted(photos.rglob("*.png"), key=lambda path: str(path.relative_to(photos)))


@pytest.fixture
def typed(run_cli):
    """Type the command that a line names: its exit code."""

    def run(line):
        (words,) = re.findall(r"distillkit (embed [^;()`\n]+)", line)
        return run_cli(*shlex.split(words))[0]

    return run


@pytest.fixture
def stored(runs, photos, run_cli, tmp_path):  # noqa: F811
    """The words of a command that has made a store of the photos, of which one is broken."""
    (photos / "sea/broken.png").write_bytes(b"x")
    words = ("embed", runs["image"], photos, "--out", tmp_path / "kept")
    code, out, err = run_cli(*words)
    assert code == 0 and out == f"{tmp_path}/kept\n" and "RECIPE" not in err, err
    return words


def same(words, tmp_path):
    """Whether the store says of every picture what the student says of it now."""
    store, now = FeatureStore(tmp_path / "kept"), distillkit.embed(*words[1:3], out=tmp_path / "now.npy")
    keys = (tmp_path / "now.keys.txt").read_text().splitlines()
    if sorted(store.values("key", store.ok_rows)) != sorted(keys):
        return False
    said = store.read("image", store.rows_of(keys)).float().numpy()
    return np.allclose(said, np.load(now.images), rtol=1e-3, atol=1e-5)


def test_what_failed_is_tried_again_by_the_command_that_is_named(stored, photos, paths, run_cli, typed, tmp_path):  # noqa: F811
    shutil.copy(paths[0], photos / "sea/broken.png")
    code, _, err = run_cli(*stored)
    assert code == 0 and "RECIPE" not in err and not same(stored, tmp_path)
    assert typed(next(line for line in err.splitlines() if "--retry-failed" in line)) == 0 and same(stored, tmp_path)
    assert "13 pictures" in run_cli(*stored)[2]


def test_other_commands_know_how_a_store_of_embed_is_made_again(stored, photos, paths, run_cli, typed, tmp_path):  # noqa: F811
    shutil.copy(paths[0], photos / "sea/broken.png")
    _, out, err = run_cli("store", "failures", tmp_path / "kept")
    assert typed(out + err) == 0 and same(stored, tmp_path)
    (tmp_path / "kept/manifest.json").write_text("{")
    code, _, err = run_cli("store", "info", tmp_path / "kept")
    assert code == 1 and typed(err) == 0 and same(stored, tmp_path)
    (tmp_path / "kept/manifest.json").unlink()
    code, out, _ = run_cli("store", "info", tmp_path / "kept")
    assert code == 0 and "RECIPE" not in out and typed(out) == 0 and same(stored, tmp_path)


def test_what_changed_is_done_again_where_that_is_asked_for(stored, paths, run_cli, tmp_path):
    Image.new("RGB", (40, 30), "red").save(paths[0])
    code, _, err = run_cli(*stored)
    assert code == 0 and "--retry-changed does them again" in err and not same(stored, tmp_path)
    assert run_cli(*stored, "--retry-changed")[0] == 0 and same(stored, tmp_path)


def test_what_came_is_added_where_that_is_asked_for(stored, photos, paths, run_cli, typed, tmp_path):  # noqa: F811
    shutil.copy(paths[0], photos / "another.png")
    code, _, told = run_cli(*stored)
    assert code == 1 and "name another --out" in told and "store append" not in told and "`out`" not in told, told
    code, _, err = run_cli(*stored, "--retry-changed")
    assert code == 1 and "RECIPE" not in err and "run first: distillkit embed" in err
    assert typed(told) == 0 and same(stored, tmp_path)


def test_what_is_gone_goes_where_that_is_asked_for(stored, paths, run_cli, typed, tmp_path):
    paths[0].unlink()
    code, _, err = run_cli(*stored)
    assert code == 1 and err.endswith("or set it aside with --overwrite\n"), err
    for option in ("--append", "--retry-changed", "--retry-failed"):
        code, _, err = run_cli(*stored, option)
        assert code == 1 and "RECIPE" not in err and "allow-smaller" not in err, err
    assert typed(err) == 0 and same(stored, tmp_path)


def test_texts_that_came_are_added_and_those_of_another_student_make_way(stored, runs, run_cli, typed, tmp_path):  # noqa: F811
    texts, place = tmp_path / "texts.txt", tmp_path / "said"
    texts.write_text("a circle\na square\n")
    words = ("embed", runs["pair"], "--texts", texts, "--out", place)
    assert run_cli(*words)[0] == 0
    texts.write_text("a circle\na square\na bicycle\n")
    code, _, err = run_cli(*words)
    assert code == 1 and typed(err) == 0 and FeatureStore(place).manifest.rows == 3
    code, _, err = run_cli("embed", runs["text"], *words[2:])
    assert code == 1 and "add --overwrite" in err and run_cli("embed", runs["text"], *words[2:], "--overwrite")[0] == 0


def test_pictures_that_are_all_broken_are_refused_and_made_when_they_are_mended(runs, photos, paths, run_cli, tmp_path):  # noqa: F811
    kept = [path.read_bytes() for path in paths]
    for path in paths:
        path.write_bytes(b"x")
    words = ("embed", runs["image"], photos, "--out", tmp_path / "kept")
    code, out, err = run_cli(*words)
    assert (code, out) == (1, "") and "not one of 12 rows" in err and "mend them, or name others" in err
    assert "recipe" not in err
    paths[0].write_bytes(kept[0])  # as in a file of vectors, as many may be broken as there are
    code, _, err = run_cli(*words)
    assert code == 0 and "kept: 1 picture\n" in err and "max_failures" not in err
    for path, content in zip(paths, kept, strict=True):
        path.write_bytes(content)
    assert run_cli(*words, "--retry-failed")[0] == 0 and same(words, tmp_path)


def test_what_is_done_to_a_store_is_refused_of_a_file_and_one_at_a_time(runs, photos, run_cli, tmp_path):  # noqa: F811
    words = ("embed", runs["image"], photos, "--out")
    for option in ("--retry-failed", "--retry-changed", "--append", "--overwrite"):
        code, _, err = run_cli(*words, tmp_path / "v.npy", option)
        assert code == 1 and f"{option} is for stores" in err
    code, _, err = run_cli(*words, tmp_path / "kept", "--append", "--retry-changed")
    assert code == 1 and "one after the other" in err


def test_a_student_in_hand_is_named_by_its_run(runs, photos, tmp_path):  # noqa: F811
    said, place = [], tmp_path / "kept"
    (photos / "sea/broken.png").write_bytes(b"x")
    distillkit.embed(distillkit.load_student(runs["image"]), photos, out=place, say=said.append)
    told = next(line for line in said if "--retry-failed" in line)
    assert f"distillkit embed {runs['image']} {photos} --out {place} --retry-failed" in told


def test_a_store_has_the_batches_and_threads_asked_for(runs, photos, run_cli, typed, tmp_path, monkeypatch):  # noqa: F811
    """They were taken for files of vectors alone, so nothing helped a store that memory was too little for."""
    asked = []
    embedding = sys.modules["distillkit.embed"]
    real = embedding.extract

    def heard(recipe, *rest, **more):
        asked.append((recipe.corpora[0].batch_size, recipe.decode_threads))
        return real(recipe, *rest, **more)

    monkeypatch.setattr(embedding, "extract", heard)
    words = ("embed", runs["image"], photos, "--out", tmp_path / "kept")
    assert run_cli(*words, "--batch-size", 5, "--threads", 2)[0] == 0
    shutil.copy(next(photos.rglob("*.png")), photos / "new.png")
    err = run_cli(*words, "--batch-size", 5)[2]
    assert typed(next(line for line in err.splitlines() if "--append" in line)) == 0
    assert asked == [(5, 2), (5, None), (5, None)]
    distillkit.embed(runs["image"], photos, out=tmp_path / "other")
    assert asked[-1] == (256, None)
    said = []
    distillkit.embed(runs["image"], photos, out=tmp_path / "other", batch_size=5, say=said.append)
    assert any("already complete" in line for line in said), "one of another number is no other store"
