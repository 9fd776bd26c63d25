"""Several teachers in one pass: each says what it says alone, images are decoded once, what fails, fails for all."""

import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr

from distillkit.engine import shard
from distillkit.errors import RecipeError, StoreError
from distillkit.recipe import ExtractRecipe, load
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.teachers import _preprocess
from tests.teachers.test_timm import make_dino

CORPORA = """
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = {fields}
rows_per_shard = 64
batch_size = 16
max_failures = 0.2
"""
CLIP = 'kind = "openclip"\nmodel = "local-dir:{teacher}"\n'
DINO = 'kind = "timm"\nmodel = "local-dir:{dino}"\nimage_size = 28\ngrid = 1\n'
BOTH = '["clip/image", "dino/cls", "text", "dino/patches", "clip/patches"]'


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return make_dino(tmp_path_factory.mktemp("several") / "dino", pixels=56)


@pytest.fixture
def extract(tmp_path, corpus, teacher_folder, dino, run_cli):
    """Stage 1 with the teachers of `names` over the toy images: (exit code, stderr, store)."""
    kinds = {"clip": CLIP, "dino": DINO, "lite": CLIP}

    def run(names, fields, out="out", *more):
        teachers = "".join(f'[[teachers]]\nname = "{name}"\n{kinds[name]}' for name in names)
        text = f'name = "toy"\nout = "{tmp_path}/{out}"\n' + teachers + CORPORA
        recipe = tmp_path / "several.toml"
        recipe.write_text(text.format(corpus=corpus, teacher=teacher_folder, dino=dino, fields=fields))
        code, _, err = run_cli("extract-teacher", recipe, *more)
        assert "Traceback" not in err
        return code, err, tmp_path / out / "images"

    return run


def shards(store, name):
    return [path.read_bytes() for path in sorted((store / name).rglob("*")) if path.is_file()]


def test_two_teachers_in_one_pass_say_what_each_says_alone_bit_for_bit(extract):
    code, err, both = extract(["clip", "dino"], BOTH)
    assert code == 0, err
    assert err.count(": loaded ") == 2 and verify(both) == []
    _, _, clip = extract(["clip"], '["image", "text", "patches"]', "clip")
    _, _, dino = extract(["dino"], '["cls", "patches"]', "dino")
    for name, alone in [("clip/image", clip), ("clip/text", clip), ("clip/patches", clip)]:
        assert shards(both, name) == shards(alone, name) != []
    for name in ("dino/cls", "dino/patches"):
        assert shards(both, name) == shards(dino, name) != []
    manifest = Manifest.read(both)
    assert manifest.teachers == Manifest.read(clip).teachers | Manifest.read(dino).teachers
    shapes = {name: (field.teacher, field.shape) for name, field in manifest.fields.items()}
    assert shapes["clip/patches"] == ("clip", [4, 64]) and shapes["dino/patches"] == ("dino", [1, 32])
    assert zarr.open(both, mode="r")["dino/patches"].shape == (70, 1, 32)


def test_a_field_alone_is_the_same_as_beside_others(extract):
    """The embedding does not depend on whether tokens are kept too."""
    _, _, alone = extract(["clip"], '["image"]', "alone")
    _, _, beside = extract(["clip"], '["patches", "image", "cls"]', "beside")
    assert shards(alone, "clip/image") == shards(beside, "clip/image")


def test_one_teacher_is_stored_under_its_kind_as_ever(recipes, run_cli, extract, tmp_path):
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    _, _, named = extract(["clip"], '["image", "text"]', "named")
    for name in ("image", "text"):
        assert shards(tmp_path / "out/images", f"openclip/{name}") == shards(named, f"clip/{name}")


def test_every_image_is_decoded_once(extract, monkeypatch):
    decoded, real = [], _preprocess.decode
    monkeypatch.setattr(_preprocess, "decode", lambda image, **limits: decoded.append(image) or real(image, **limits))
    assert extract(["clip", "dino"], BOTH)[0] == 0
    assert len(decoded) == 70


def test_each_teacher_looks_once_at_each_image(extract, monkeypatch):
    from distillkit.teachers.openclip import Openclip
    from distillkit.teachers.timm import Timm

    asked = []
    for kind in (Openclip, Timm):
        real = kind.forward

        def counting(self, *, fields, real=real, **inputs):
            asked.append((type(self).__name__, *inputs, *fields))
            return real(self, **inputs, fields=fields)

        monkeypatch.setattr(kind, "forward", counting)
    assert extract(["clip", "dino"], BOTH)[0] == 0
    assert {call: asked.count(call) for call in asked} == {
        ("Openclip", "pixels", "image", "patches"): 5,
        ("Timm", "pixels", "cls", "patches"): 5,
        ("Openclip", "tokens", "text"): 5,
    }


def test_what_fails_for_one_fails_for_all(extract, corpus, monkeypatch):
    from distillkit.teachers.timm import Timm

    (corpus / "images/003.png").write_bytes(b"")
    real, calls = Timm.forward, []

    def odd(self, pixels, fields):
        said = real(self, pixels, fields=fields)
        calls.append(1)
        if len(calls) > 1:
            return said
        cls, patches = said.cls.clone(), said.patches.clone()
        cls[5, 0], patches[5, 0, 0] = float("nan"), float("inf")
        return replace(said, cls=cls, patches=patches)

    monkeypatch.setattr(Timm, "forward", odd)
    assert extract(["clip", "dino"], BOTH)[0] == 0
    store = FeatureStore(extract(["clip", "dino"], BOTH)[2])
    lines = {line["key"]: (line["stage"], line["error"]) for line in store.failures()}
    assert len(store.failures()) == 2 and lines["images/003.png"][0] == "decode"
    assert lines["images/006.png"] == ("forward", "dino/cls: the teacher gave a value that is not finite in float16")
    failed = np.setdiff1d(np.arange(70), store.ok_rows)
    assert failed.tolist() == [3, 6]
    assert all(store.read(name, failed).isnan().all() for name in store.manifest.fields)


def test_lost_files_of_the_base_are_extracted_again_under_the_recipe_that_added_a_teacher(extract):
    _, _, store = extract(["clip"], '["clip/image"]')
    assert extract(["clip", "dino"], '["clip/image", "dino/cls"]')[0] == 0
    for lost in ("clip/image/c/1/0", "added/dino/dino/cls/c/0/0"):
        (store / lost).unlink()
    before = Manifest.read(store).digest
    code, err, _ = extract(["clip", "dino"], '["clip/image", "dino/cls"]')
    assert code == 0 and verify(store) == [] and Manifest.read(store).digest == before
    assert f"{store}: shard 2 of 2 has lost files" in err and f"{store}/added/dino: shard 1 of 2 has lost files" in err
    assert not list((store / "added").glob("*.before-*"))  # the addition stayed, and was mended in its place


def test_the_log_tells_teachers_apart(extract):
    store = extract(["clip", "dino"], BOTH)[2]
    lines = [json.loads(line) for line in (store / "extract.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "shard" in line]
    assert lines and all(line["forward_seconds"].keys() == {"clip/image", "dino/image", "clip/text"} for line in lines)


def test_a_corpus_knows_only_the_teachers_it_asks(extract):
    """A teacher that says nothing of a corpus is not part of its store's identity."""
    _, _, store = extract(["clip", "dino"], '["dino/cls"]')
    assert Manifest.read(store).teachers.keys() == {"dino"}
    code, err, again = extract(["dino"], '["cls"]')
    assert code == 0 and "already complete" in err and again == store


def test_an_interrupted_pass_goes_on(extract, monkeypatch):
    _, _, whole = extract(["clip", "dino"], BOTH, "whole")
    real = shard.Shard.keep

    def only_the_first(self, *values):
        if self.number > 0:
            raise KeyboardInterrupt
        real(self, *values)

    with monkeypatch.context() as patched:
        patched.setattr(shard.Shard, "keep", only_the_first)
        assert extract(["clip", "dino"], BOTH)[0] == 130
    code, err, store = extract(["clip", "dino"], BOTH)
    assert code == 0 and "2 shards, 1 already committed" in err
    assert Manifest.read(store).digest == Manifest.read(whole).digest


# Names.


@pytest.mark.parametrize(
    ("names", "fields", "message"),
    [
        (["clip", "dino"], '["image"]', "several teachers give 'image'; write clip/image or dino/image"),
        (["clip", "dino"], '["logits"]', "no teacher gives 'logits'; they give: clip/image, clip/text, clip/cls"),
        (["clip", "dino"], '["dino/text"]', "no teacher gives 'dino/text'; they give: "),
        (["dino"], '["text"]', "the teacher gives no 'text'; it gives: image, cls, patches"),
        (["clip", "dino"], '["text", "clip/text"]', "asks for 'clip/text' twice"),
    ],
)
def test_fields_that_are_not_clear(extract, names, fields, message):
    code, err, store = extract(names, fields)
    assert code == 1 and f"corpus 'images': {message}" in err.splitlines()[-1] and not store.exists()
    assert "loading" not in err


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ("", "write one [teacher], or [[teachers]] with a `name` each"),
        (f"[teacher]\n{CLIP}[[teachers]]\nname='a'\n{CLIP}", "write one [teacher], or [[teachers]]"),
        (f"[[teachers]]\n{CLIP}", "'teachers[0].name' is missing"),
        (f"[[teachers]]\nname='a'\n{CLIP}" * 2, "two teachers are called 'a'; their fields would be the same"),
        (f"[[teachers]]\nname='a/b'\n{CLIP}", "teachers[0].name: "),
        (f"[[teachers]]\nname='a'\ngird=2\n{DINO}", "teachers[0].timm: unknown key 'gird', did you mean 'grid'?"),
    ],
)
def test_recipes_that_name_teachers_wrongly(tmp_path, teachers, message):
    path = tmp_path / "recipe.toml"
    text = 'name = "toy"\nout = "out"\n' + teachers + CORPORA
    path.write_text(text.format(corpus="x", teacher="x", dino="x", fields='["image"]'))
    with pytest.raises(RecipeError) as caught:
        load(path, kind=ExtractRecipe)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_moved_teacher_is_told_by_its_name(extract, dino, tmp_path):
    """Another teacher under the same name is another store, and the first is set aside where that is asked for."""
    extract(["clip", "dino"], BOTH)
    weights = (dino / "model.safetensors").read_bytes()
    try:
        shutil.copy(make_dino(tmp_path / "other", seed=1, pixels=56) / "model.safetensors", dino)
        code, err, _ = extract(["clip", "dino"], BOTH)
        assert code == 1 and "teachers.dino.weights_sha256: " in err and "to extract anew means 70 rows" in err
        code, err, store = extract(["clip", "dino"], BOTH, "out", "--overwrite")
    finally:
        (dino / "model.safetensors").write_bytes(weights)
    assert code == 0 and "teachers.dino.weights_sha256: " in err and "extracting anew" in err
    assert len(list(store.parent.glob("images.before-*"))) == 1


# Training learns from one of them.


def batches(path, **knobs):
    from distillkit.recipe import Data
    from distillkit.training.batches import Batches

    data = Data(images=str(path), batch_size=8, **knobs)
    return Batches(data, 0, SimpleNamespace(image_size=16))


def test_a_batch_holds_what_the_chosen_teacher_said(extract):
    fields = '["clip/image", "clip/cls", "text", "dino/image", "dino/cls", "dino/patches"]'
    store = extract(["clip", "dino"], fields)[2]
    clip, dino = batches(store, teacher="clip", captions="paired"), batches(store, teacher="dino")
    assert clip.ingredients.teacher_widths == {"image": 32, "cls": 64, "text": 32, "scale": 1}
    assert dino.ingredients.teacher_widths == {"image": 32, "cls": 32, "patches": 32}
    assert (clip.ingredients.teacher["kind"], dino.ingredients.teacher["kind"]) == ("openclip", "timm")
    batch = dino.at(2)
    rows = dino.ingredients.images[0].store.rows_of(list(batch.keys))
    for name in ("image", "cls", "patches"):
        assert torch.equal(getattr(batch.teacher, name), FeatureStore(store).read(f"dino/{name}", rows))
    assert batch.teacher.scale is None and batch.teacher.text is None
    assert torch.equal(clip.at(2).teacher.cls, FeatureStore(store).read("clip/cls", rows))
    dino.narrow({"teacher.cls", "student.cls"})
    assert dino.at(2).teacher.patches is None and dino.at(2).teacher.cls is not None


def test_a_store_of_tokens_alone_is_enough(extract):
    """Proteus needs no embedding."""
    made = batches(extract(["dino"], '["cls", "patches"]')[2])
    assert made.ingredients.teacher_widths == {"cls": 32, "patches": 32}
    assert made.at(0).teacher.patches.shape == (8, 1, 32)


def test_which_teacher_must_be_clear(extract):
    store = extract(["clip", "dino"], '["clip/image", "dino/image"]')[2]
    with pytest.raises(RecipeError, match=r"has features of several teachers \(clip, dino\); name one of them in data"):
        batches(store)
    with pytest.raises(StoreError, match="no teacher 'dyno'; it has: clip, dino"):
        batches(store, teacher="dyno")
    with pytest.raises(StoreError, match="several fields \\(clip/image, dino/image\\) for 'image'"):
        FeatureStore(store).read("image", [0])
    alone = extract(["dino"], '["image"]', "alone")[2]
    with pytest.raises(RecipeError, match=r"data.teacher: .*images knows no 'dyno'; it has: dino"):
        batches(alone, teacher="dyno")
    chosen = pickle.loads(pickle.dumps(FeatureStore(store, "dino")))  # noqa: S301
    assert chosen.field_name("image") == "dino/image" and chosen.field_name("clip/image") == "clip/image"


def test_one_teacher_may_go_by_two_names(extract, recipes, run_cli, tmp_path):
    """Texts extracted by a lone [teacher], images by the same one among several: the fingerprint decides."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    store = extract(["clip", "dino"], '["clip/image", "dino/image"]', "several")[2]
    texts = str(tmp_path / "out/texts")
    made = batches(store, teacher="clip", texts=texts)
    assert made.ingredients.teacher_widths == {"image": 32, "text": 32, "scale": 1}
    with pytest.raises(StoreError, match=r"texts: has features of openclip .*, not of dino"):
        batches(store, teacher="dino", texts=texts)


def test_a_dtype_of_a_single_field(extract, every_step):
    """Patches in int8 with ranges measured beforehand on rows of the whole corpus; the rest as ever."""
    _, _, exact = extract(["clip"], '["image", "patches"]\ndtype = "float32"', "exact")
    code, err, store = extract(["clip"], '["image", "patches"]\ndtypes = { patches = "int8", image = "bfloat16" }')
    assert code == 0 and "measuring the range of clip/patches on 70 rows" in err and verify(store) == []
    assert f"{store}: images 32/70  " in err, "how far it is"
    one, other = FeatureStore(store), FeatureStore(exact)
    assert one.field("patches").dtype == "int8" and one.read("image", [0]).dtype == torch.bfloat16
    want, got = (it.read("patches", np.arange(70)) for it in (other, one))
    assert (want - got).abs().max() <= one.base.steps["clip/patches"].scale.max() * 0.51
    code, err, _ = extract(["clip"], '["image"]\ndtypes = { patches = "int8" }')
    assert code == 1 and "corpus 'images': dtypes names 'patches', which is none of its fields" in err
    assert "loading" not in err


def test_tokens_may_be_compressed_and_vectors_not(extract):
    _, _, plain = extract(["clip"], '["image", "patches"]', "plain")
    code, _, store = extract(["clip"], '["image", "patches"]\ncompression = { patches = "zstd" }')
    rows = np.arange(70)
    assert code == 0 and verify(store) == [] and FeatureStore(store).field("patches").compression == "zstd"
    assert torch.equal(FeatureStore(store).read("patches", rows), FeatureStore(plain).read("patches", rows))
    code, err, _ = extract(["clip"], '["image"]\ncompression = { image = "zstd" }', "refused")
    assert code == 1 and "compression of clip/image: only fields of tokens" in err and "loading" not in err
    code, err, _ = extract(["clip"], '["image"]\ncompression = { image = "lzma" }', "refused")
    assert code == 1 and "compression" in err and "zstd" in err


# A teacher that comes later.


def test_a_teacher_that_comes_later_is_added_and_nothing_is_touched(extract):
    code, _, store = extract(["clip"], '["image", "text"]')
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.rglob("*") if path.is_file()}
    code, err, _ = extract(["clip", "dino"], '["clip/image", "text", "dino/cls"]')
    assert code == 0 and "images: stays as it is, dino added to it; train with data.teacher = 'dino'" in err
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before}
    assert verify(store) == [] and list(FeatureStore(store).teachers) == ["clip", "dino"]
    _, _, alone = extract(["dino"], '["cls"]', "alone")
    rows = np.arange(70)
    assert torch.equal(FeatureStore(store).read("dino/cls", rows), FeatureStore(alone).read("cls", rows))
    code, err, _ = extract(["clip", "dino"], '["clip/image", "text", "dino/cls"]')
    assert code == 0 and "added/dino: already complete (70 rows), nothing to do" in err
    assert not list(store.parent.glob("*.before-*")) and not list(store.glob("added/*.before-*"))


def test_a_recipe_of_the_later_teacher_alone_adds_it_too(extract):
    _, _, store = extract(["clip"], '["image"]')
    digest = FeatureStore(store).digest
    assert extract(["dino"], '["cls"]')[0] == 0
    assert FeatureStore(store).digest == digest != FeatureStore(store, "dino").digest


def test_a_teacher_that_is_there_under_another_name_is_told_and_not_asked_again(extract):
    """Fields that are not there, or in another dtype, are something to do."""
    _, _, store = extract(["clip"], '["image", "text"]')
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    for words in ((), ("--plan",), ("--overwrite",)):
        code, err, _ = extract(["lite"], '["image"]', "out", *words)
        told = f"{store}: has this teacher, 'lite', with these fields already, as 'clip'; nothing to do, train with"
        assert code == 0 and told in err and not (store / "added").exists(), err
    code, err, _ = extract(["clip", "lite"], '["clip/image", "clip/text", "lite/image"]')
    assert code == 0 and "already, as 'clip'" in err and f"{store}: already complete (70 rows), nothing to do" in err
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    code, err, _ = extract(["dino", "lite"], '["dino/cls", "lite/image"]')
    assert code == 0 and "already, as 'clip'" in err and [*FeatureStore(store).teachers] == ["clip", "dino"], err
    assert extract(["lite"], '["patches"]')[0] == 0 and "lite/patches" in FeatureStore(store).fields


def test_an_addition_of_another_kind_sets_aside_the_addition_alone(extract):
    _, _, store = extract(["clip"], '["image"]')
    extract(["dino"], '["cls"]')
    code, err, _ = extract(["dino"], '["patches"]')
    assert code == 1 and "added/dino: " in err and FeatureStore(store).fields.keys() == {"clip/image", "dino/cls"}
    code, err, _ = extract(["dino"], '["patches"]', "out", "--overwrite")
    assert code == 0 and "extracting anew, the old store is now" in err
    assert FeatureStore(store).fields.keys() == {"clip/image", "dino/patches"}
    assert len(list(store.glob("added/dino.before-*"))) == 1 and not list(store.parent.glob("*.before-*"))


def test_where_more_than_a_teacher_changes_the_store_is_made_anew(extract):
    _, _, store = extract(["clip"], '["image"]')
    code, err, _ = extract(["clip", "dino"], '["clip/image", "text", "dino/cls"]', "out", "--overwrite")
    assert code == 0 and "extracting anew" in err and not (store / "added").exists()
    assert FeatureStore(store).fields.keys() == {"clip/image", "clip/text", "dino/cls"}


def test_a_run_that_does_not_use_what_was_added_stays_the_same_run(extract):
    """Neither its identity (the digests of its stores) nor one of its batches changes."""
    _, _, store = extract(["clip"], '["image", "text"]')
    before = batches(store)
    extract(["dino"], '["cls"]')
    after, learner = batches(store), batches(store, teacher="dino", captions="none")
    digests = [made.ingredients.images[0].store.digest for made in (after, before, learner)]
    assert digests[0] == digests[1] != digests[2]
    was, now = before.ingredients, after.ingredients
    assert now.teacher_widths == was.teacher_widths and now.teacher == was.teacher
    assert torch.equal(after.at(3).teacher.image, before.at(3).teacher.image) and after.at(3).keys == before.at(3).keys
    assert learner.ingredients.teacher_widths == {"cls": 32}


def test_the_recipe_of_the_guide_learns_from_both(extract, run_cli, tmp_path):
    """docs/training.md's, with this store and its width."""
    code, err, store = extract(["clip", "dino"], '["clip/image", "dino/cls"]')
    assert code == 0, err
    guide = (Path(__file__).parents[2] / "docs/training.md").read_text()
    (recipe,) = re.findall(r'```toml\n(name = "two_teachers".*?)```', guide, re.DOTALL)
    for told, here in (("stores/mine/images", str(store)), ("= 768", "= 32"), ("batch_size = 256", "batch_size = 16")):
        assert told in recipe
        recipe = recipe.replace(told, here)
    (tmp_path / "two.toml").write_text(recipe)
    code, out, err = run_cli("recipe", "check", tmp_path / "two.toml")
    assert code == 0 and re.search(r"^teacher +image, scale, dino\.cls$", out, re.MULTILINE), (out, err)
