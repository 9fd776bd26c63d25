"""Asking again: a wrong teacher, swapped files, a row that is not what its teacher said, each found and named."""

import json
import os

import numpy as np
import pytest

from distillkit.reforward import Agreement, reforward
from distillkit.store.manifest import file_digest
from distillkit.store.reader import FeatureStore
from tests.conftest import draw, make_teacher
from tests.teachers.test_timm import make_dino

RECIPE = """
name = "toy"
out = "{out}"
[[teachers]]
name = "clip"
kind = "openclip"
model = "local-dir:{folder}/clip"
grid = 1
[[teachers]]
name = "dino"
kind = "timm"
model = "local-dir:{folder}/dino"
image_size = 28
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["clip/image", "clip/text", "clip/patches", "dino/cls"]
rows_per_shard = {rows}
batch_size = 16
{more}
"""


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two teachers and a corpus of 130 images, which is two full shards and two rows."""
    folder = tmp_path_factory.mktemp("reforward")
    make_teacher(folder / "clip")
    make_dino(folder / "dino")
    return folder, draw(folder / "corpus", 130)


@pytest.fixture
def extract(world, tmp_path, run_cli):
    def extract(more="", rows=64):
        folder, corpus = world
        (tmp_path / "recipe.toml").write_text(
            RECIPE.format(out=tmp_path / "out", folder=folder, corpus=corpus, more=more, rows=rows)
        )
        assert run_cli("extract-teacher", tmp_path / "recipe.toml")[0] == 0
        return tmp_path / "out/images"

    return extract


def found(path, count=64):
    results = list(reforward(FeatureStore(path), count))
    return {one.field: one for one in results if isinstance(one, Agreement)}, [r for r in results if isinstance(r, str)]


def test_a_store_holds_what_its_teachers_say(extract, run_cli):
    fields, teachers = found(extract())
    assert fields.keys() == {"clip/image", "clip/text", "clip/patches", "dino/cls"} and teachers == []
    for one in fields.values():
        assert len(one.cosines) == 64 and one.cosines.min() > 0.9999 and one.problems == []
    code, out, _ = run_cli("store", "verify", extract(), "--reforward", "8")
    assert code == 0 and "clip/image  8 rows, cosine least " in out


def test_drawn_views_are_shown_again(extract):
    fields, _ = found(extract("[corpora.views]\ncount = 3\nclean_first = false\nscale = [0.2, 0.9]", rows=1024))
    for one in fields.values():
        assert one.cosines.min() > 0.9999 and not one.problems


def test_another_teacher_is_named_with_both_hashes(extract, world, tmp_path, run_cli):
    path = extract()
    other = make_teacher(tmp_path / "clip2", seed=1)
    text = (tmp_path / "recipe.toml").read_text()
    (tmp_path / "other.toml").write_text(text.replace(f"{world[0]}/clip", str(other)))
    code, out, err = run_cli("store", "verify", path, "--reforward", "16", "--recipe", tmp_path / "other.toml")
    assert code == 1 and "does not hold what its teachers say now" in err
    want = FeatureStore(path).teachers["clip"]["weights_sha256"]
    assert f"teacher clip: weights_sha256: '{want}' -> '" in out and "clip/image: row " in out
    assert "dino/cls: row" not in out and "and 11 more rows" in out


def rewrite(path, swap):
    """Files change places, and commits, manifest and checksums are made to agree: only the teacher can tell."""
    one, other = (path / name for name in swap)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    for shard in manifest["shards"]:
        for name in set(swap) & shard["files"].keys():
            shard["files"][name] = file_digest(path / name).model_dump()
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_swapped_files_are_found_by_checksums(extract, run_cli):
    path = extract()
    swap = ["clip/image/c/0/0", "clip/image/c/1/0"]
    keep = (path / "manifest.json").read_bytes()
    rewrite(path, swap)
    (path / "manifest.json").write_bytes(keep)
    code, out, _ = run_cli("store", "verify", path)
    assert code == 1 and all(f"{name}: sha256" in out for name in swap)


def test_swapped_files_with_mended_checksums_are_found_by_the_teacher(extract, run_cli):
    path = extract()
    rewrite(path, ["clip/image/c/0/0", "clip/image/c/1/0"])
    code, out, _ = run_cli("store", "verify", path, "--reforward", "512")
    assert code == 1 and "every checksum agrees" in out
    assert "clip/image: row 5 ('images/005.png'): cosine 0." in out and "clip/image: and 1" in out
    assert "clip/text: row" not in out


def test_a_row_of_another_length_is_named(extract):
    path = extract()
    store = FeatureStore(path)
    rows = store.read("clip/image", np.arange(64)).numpy()
    rows[7] *= 1.1
    with (path / "clip/image/c/0/0").open("r+b") as file:
        file.write(rows.tobytes())
    fields, _ = found(path, 130)
    (problem,) = fields["clip/image"].problems
    assert problem.startswith("clip/image: row 7 ('images/007.png'): its length is 1.10")


def test_what_cannot_be_asked_again_is_one_line(run_cli, tmp_path):
    from tests.importers.test_importers import bring, clip_retrieval

    clip_retrieval(tmp_path / "embeddings")
    bring("clip_retrieval", tmp_path / "embeddings", tmp_path / "out")
    code, _, err = run_cli("store", "verify", tmp_path / "out", "--reforward", "8")
    assert code == 1 and "none of its teachers can be asked again; name one with --recipe" in err
