"""Asking again: a wrong teacher, swapped files, a row that is not what its teacher said, each found and named."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from distillkit.engine.reforward import Agreement, reforward
from distillkit.extract import extract
from distillkit.recipe import ExtractRecipe, load
from distillkit.store.format.checksums import checksums
from distillkit.store.format.manifest import Manifest, file_digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import write_json
from distillkit.system.record import sealed, unsealed
from tests.conftest import EXTRACT, draw, make_teacher
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


LABELS = """
name = "labels"
out = "{out}"
[teacher]
kind = "timm"
model = "test_vit"
weights = "{weights}"
image_size = 32
top_k = 10
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["logits", "classes"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two teachers, a corpus of 130 images, which is two full shards and two rows, and its store."""
    folder = tmp_path_factory.mktemp("reforward")
    make_teacher(folder / "clip")
    make_dino(folder / "dino")
    corpus = draw(folder / "corpus", 130)
    extracted(folder, folder, corpus)
    return folder, corpus


def extracted(out, folder, corpus, more="", rows=64):
    recipe = out / "recipe.toml"
    recipe.write_text(RECIPE.format(out=out / "out", folder=folder, corpus=corpus, more=more, rows=rows))
    extract(load(recipe, kind=ExtractRecipe), say=lambda line: None)
    return out / "out/images"


@pytest.fixture
def store(world, tmp_path):
    """A copy of the store, to be changed."""
    return shutil.copytree(world[0] / "out/images", tmp_path / "images")


def found(path, count=64):
    results = list(reforward(FeatureStore(path), count))
    return {one.field: one for one in results if isinstance(one, Agreement)}, [r for r in results if isinstance(r, str)]


def test_a_store_holds_what_its_teachers_say(store, run_cli):
    fields, teachers = found(store)
    assert fields.keys() == {"clip/image", "clip/text", "clip/patches", "dino/cls"} and teachers == []
    for one in fields.values():
        assert len(one.values) == 64 and one.values.min() > 0.9999 and one.problems == []
    code, out, _ = run_cli("store", "verify", store, "--reforward", "8")
    assert code == 0 and "clip/image  8 rows, cosine least " in out


def test_classes_are_compared_by_name(world, tmp_path, run_cli):
    """Falling log-probabilities of any two classifiers look alike; which classes they belong to does not."""
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = timm.create_model("test_vit", img_size=32, num_classes=50)
        torch.nn.init.normal_(network.head.weight)
        save_file(network.state_dict(), tmp_path / f"{seed}.safetensors")
        recipe = LABELS.format(out=tmp_path / "out", weights=tmp_path / f"{seed}.safetensors", corpus=world[1])
        (tmp_path / f"{seed}.toml").write_text(recipe)
    assert run_cli("extract-teacher", tmp_path / "0.toml")[0] == 0
    arguments = ("store", "verify", tmp_path / "out/images", "--reforward", "64")
    assert run_cli(*arguments)[0] == 0
    code, out, _ = run_cli(*arguments, "--recipe", tmp_path / "1.toml")
    assert code == 1 and "timm/classes: row " in out and "teacher timm: weights_sha256: " in out


def test_a_store_without_features_has_nothing_to_compare(world, tmp_path, run_cli, monkeypatch):
    # Such a corpus is refused today; stores of it were made before.
    monkeypatch.setattr("distillkit.engine.planning._refuse_wrong_as_a_whole", lambda *_: None)
    broken = draw(tmp_path / "corpus", 3)
    for path in (broken / "images").iterdir():
        path.write_bytes(b"")
    text = EXTRACT.format(out=tmp_path / "out", teacher=f"{world[0]}/clip", corpus=broken)
    (tmp_path / "extract.toml").write_text(text)
    assert run_cli("extract-teacher", tmp_path / "extract.toml")[0] == 1
    code, _, err = run_cli("store", "verify", tmp_path / "out/images", "--reforward", "8")
    assert code == 1 and "no row has features to compare; why: distillkit store failures" in err


def test_images_without_captions_are_asked_again_by_what_they_have(world, tmp_path, run_cli):
    """Kind G: a view of rows that have no text lacks that field, not all of them."""
    corpus = draw(tmp_path / "corpus", 6)
    table = (corpus / "pairs.tsv").read_text().splitlines()
    silent = [table[0], *("\t" + line.partition("\t")[2] for line in table[1:5]), *table[5:]]
    (corpus / "pairs.tsv").write_text("\n".join(silent) + "\n")
    text = EXTRACT.format(out=tmp_path / "out", teacher=f"{world[0]}/clip", corpus=corpus)
    (tmp_path / "extract.toml").write_text(text)
    assert run_cli("extract-teacher", tmp_path / "extract.toml")[0] == 0
    for rows, fields in (("0:4", ["openclip/image"]), ("0:6", ["openclip/image", "openclip/text"])):
        view = tmp_path / f"view{rows[-1]}"
        assert run_cli("store", "view", tmp_path / "out/images", view, "--rows", rows)[0] == 0
        code, out, err = run_cli("store", "verify", view, "--reforward", "8")
        assert code == 0, err
        assert [line.split()[0] for line in out.splitlines()[1:]] == fields
    code, out, err = run_cli("store", "precision", tmp_path / "view4", "--field", "text")
    assert code == 1 and "openclip/text has 0 rows with features, too few to measure" in err
    assert run_cli("store", "precision", tmp_path / "view6", "--field", "text")[0] == 0


def test_drawn_views_are_shown_again(world, tmp_path):
    fields, _ = found(
        extracted(tmp_path, *world, "[corpora.views]\ncount = 3\nclean_first = false\nscale = [0.2, 0.9]", rows=1024)
    )
    for one in fields.values():
        assert one.values.min() > 0.9999 and not one.problems


def test_another_teacher_is_named_with_both_hashes(store, world, tmp_path, run_cli):
    path, text = store, (world[0] / "recipe.toml").read_text()
    other = make_teacher(tmp_path / "clip2", seed=1)
    (tmp_path / "other.toml").write_text(text.replace(f"{world[0]}/clip", str(other)))
    code, out, err = run_cli("store", "verify", path, "--reforward", "16", "--recipe", tmp_path / "other.toml")
    assert code == 1 and "does not hold what its teachers say now" in err
    want = FeatureStore(path).teachers["clip"]["weights_sha256"]
    assert f"teacher clip: weights_sha256: '{want}' against '" in out and "clip/image: row " in out
    assert "dino/cls: row" not in out and "and 11 more rows" in out


def rewrite(path, swap):
    """Files change places, and commits, manifest and checksums are made to agree: only the teacher can tell."""
    one, other = (path / name for name in swap)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    for shard in manifest["shards"]:
        mend(shard["files"], path, swap)
    write_json(path / "manifest.json", manifest)
    for commit in (path / "commits").iterdir():
        record, _ = unsealed(commit.read_bytes())
        mend(record["files"], path, swap)
        write_json(commit, sealed(record))
    write_json(path / "checksums.json", checksums(path, Manifest.read(path)))


def mend(files, path, swap):
    for name in set(swap) & files.keys():
        files[name] = file_digest(path / name).model_dump()


def test_swapped_files_are_found_by_checksums(store, run_cli):
    path = store
    swap = ["clip/image/c/0/0", "clip/image/c/1/0"]
    keep = (path / "manifest.json").read_bytes()
    rewrite(path, swap)
    (path / "manifest.json").write_bytes(keep)
    code, out, _ = run_cli("store", "verify", path)
    assert code == 1 and all(f"{name}: sha256" in out for name in swap)


def test_swapped_files_with_mended_checksums_are_found_by_the_teacher(store, run_cli):
    path = store
    rewrite(path, ["clip/image/c/0/0", "clip/image/c/1/0"])
    code, out, _ = run_cli("store", "verify", path, "--reforward", "512")
    assert code == 1 and "every checksum agrees" in out
    assert "clip/image: row 5 ('images/005.png'): cosine 0." in out and "clip/image: and 1" in out
    assert "clip/text: row" not in out


def test_a_row_of_another_length_is_named(store):
    path, rows = store, FeatureStore(store).read("clip/image", np.arange(64)).numpy()
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
    assert code == 1 and "none of its teachers can be run again; name the extraction recipe with --recipe" in err


@pytest.mark.usefixtures("every_step")
def test_a_long_question_tells_how_far_it_is(store, run_cli):
    code, _, err = run_cli("store", "verify", store, "--reforward", "64")
    assert code == 0 and all(f"{store}: rows asked of {who} again 32/64  " in err for who in ("clip", "dino"))
    assert "sha256 of the weights: bytes " in err and f"{store}: bytes " in err
