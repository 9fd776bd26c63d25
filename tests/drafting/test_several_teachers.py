"""recipe new and suggest-scale on stores with several teachers: one is named, the others are told of."""

import json
import re
from functools import cached_property

import pytest

from distillkit.check import check
from distillkit.drafting.draft import draft
from distillkit.drafting.material import Material
from distillkit.losses._sharpness import cosines, scale_for
from distillkit.recipe import TrainRecipe, load
from distillkit.store.reading.reader import FeatureStore
from tests.teachers.test_timm import make_dino


@pytest.fixture
def extracted(tmp_path, teacher_folder, corpus, run_cli):
    """Of `fields` at a time: the store of images that clip, and dino, whose logits have no scale, said these of."""
    folder = tmp_path / "several"
    make_dino(folder / "dino", pixels=56)
    clip = f'[[teachers]]\nname = "clip"\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n'
    dino = f'[[teachers]]\nname = "dino"\nkind = "timm"\nmodel = "local-dir:{folder}/dino"\nimage_size = 28\n'
    corpora = f'[[corpora]]\nname = "images"\nsource = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}\n'

    def run(name, *fields):
        for asked in fields:
            teachers = "".join(one for alias, one in (("clip", clip), ("dino", dino)) if alias in asked)
            (folder / "extract.toml").write_text(
                f'name = "{name}"\nout = "{folder}/{name}"\n{teachers}{corpora}fields = {asked}\nmax_failures = 0.2\n'
            )
            code, _, err = run_cli("extract-teacher", folder / "extract.toml")
            assert code == 0, err
        return folder / name / "images"

    return run


@pytest.fixture
def added(extracted):
    """dino was added to what clip said."""
    return extracted("later", '["clip/image"]', '["clip/image", "dino/image"]')


def new(run_cli, store, *words):
    return run_cli(
        "recipe", "new", "mine.toml", "--images", store, "--goal", "image-tower", "--parameters", "1M", *words
    )


def test_the_teacher_that_is_named_is_learned_from(added, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = new(run_cli, added, "--teacher", "dino")
    assert code == 0 and "other teachers" not in err, err
    recipe, text = load("mine.toml", kind=TrainRecipe), (tmp_path / "mine.toml").read_text()
    said = FeatureStore(added, "dino").read("image", FeatureStore(added).ok_rows)
    assert recipe.data.teacher == "dino" and recipe.student.knobs["embed_dim"] == said.shape[1] and check(recipe)
    knobs = recipe.losses[0].knobs
    assert knobs["logit_scale"] == pytest.approx(3 * scale_for(cosines(said, said)), rel=0.01)
    assert knobs["temperature"] == 3 and "# the teacher has none of its own; see distillkit suggest-scale" in text
    code, _, err = run_cli("train-student", "mine.toml", "--set", "optim.epochs=1")
    assert code == 0, err


def test_where_none_is_named_the_others_are_told(added, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = new(run_cli, added)
    told = "other teachers said that, too: dino; to learn from one: --teacher dino, from both: --also dino"
    assert code == 0 and f"{added}: {told}" in err and f"\n# {told}\n" in (tmp_path / "mine.toml").read_text()
    assert load("mine.toml", kind=TrainRecipe).data.teacher is None


def test_prompts_that_the_named_teacher_did_not_read_are_refused(added, tmp_path, teacher_folder, run_cli):
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "prompts.toml").write_text(
        f'name = "prompts"\nout = "{tmp_path}"\n[teacher]\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n'
        f'[[corpora]]\nname = "prompts"\nfields = ["text"]\n'
        f'source = {{ kind = "class_prompts", file = "{tmp_path}/names.txt" }}\n'
    )
    assert run_cli("extract-teacher", tmp_path / "prompts.toml")[0] == 0
    asked = (*("--images", added, "--goal", "classes", "--classes", tmp_path / "prompts"), "--teacher", "dino")
    code, _, err = run_cli("recipe", "new", tmp_path / "mine.toml", *asked)
    told = f"{tmp_path}/prompts: has no text features of dino, which is to be learned from; choose a teacher that"
    assert code == 1 and told in err


def test_texts_of_another_teacher_are_refused_as_that_and_not_by_their_width(
    added, tmp_path, teacher_folder, run_cli, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("".join(f"cat {n}\n" for n in range(64)))
    (tmp_path / "texts.toml").write_text(
        f'name = "texts"\nout = "{tmp_path}"\n[teacher]\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n'
        f'[[corpora]]\nname = "texts"\nfields = ["text"]\n'
        f'source = {{ kind = "textlines", file = "{tmp_path}/texts.txt" }}\n'
    )
    assert run_cli("extract-teacher", tmp_path / "texts.toml")[0] == 0
    told = f"texts: has features of openclip local-dir:{teacher_folder}, not of dino ("
    cure = "; name a store with features of dino in its place, or leave it out, or learn from clip (data.teacher, "
    code, _, err = new(run_cli, added, "--texts", "texts", "--teacher", "dino")
    assert code == 1 and err.count("\n") == 1 and told in err and cure in err, err
    assert not (tmp_path / "mine.toml").exists() and new(run_cli, added, "--texts", "texts")[0] == 0
    code, _, err = run_cli("recipe", "check", "mine.toml", "--set", 'data.teacher="dino"')
    assert code == 1 and told in err and cure in err, err


def test_an_unknown_teacher_is_refused(added, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = new(run_cli, added, "--teacher", "dyno")
    assert code == 1 and f"{added}: no teacher 'dyno'; it has: clip, dino; did you mean 'dino'?" in err
    assert not (tmp_path / "mine.toml").exists()


def test_of_several_from_the_beginning_the_first_is_taken(extracted, tmp_path):
    store = extracted("several", '["clip/image", "dino/image", "dino/cls"]')
    for goal, taken, others in (("image-tower", "clip", True), ("dino", "dino", False)):
        text = draft(goal, Material(str(store)), "mine", "mine.toml", parameters="1M")
        (tmp_path / "mine.toml").write_text(text)
        recipe = load(tmp_path / "mine.toml", kind=TrainRecipe)
        assert recipe.data.teacher == taken and check(recipe)
        assert ("to learn from one: --teacher dino" in text) == others


def test_a_scale_is_suggested_for_the_teacher_that_is_named(added, run_cli):
    halves = []
    for alias in ("clip", "dino"):
        code, out, err = run_cli("suggest-scale", added, "--teacher", alias)
        assert code == 0 and ("the teacher's own scale" in out) == (alias == "clip"), err
        halves.append(re.search(r"^image and image .* (\S+)   L_pvl", out, re.MULTILINE)[1])
    assert halves[0] != halves[1]


def test_a_term_that_wants_the_scale_of_a_teacher_without_one(added, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new(run_cli, added, "--teacher", "dino")[0] == 0
    code, _, err = run_cli("recipe", "check", "mine.toml", "--set", 'losses.0.logit_scale="teacher"')
    told = "losses.affinity needs teacher.scale, the teacher gives image; it has no logit scale of its own: set "
    assert code == 1 and f"{told}logit_scale to a number, see distillkit suggest-scale STORE" in err


@pytest.mark.long
@pytest.mark.parametrize("goal", ["image-tower", "clip-pair", "dino"])
def test_two_teachers_are_learned_from_and_each_counts(extracted, run_cli, tmp_path, monkeypatch, goal):
    """By the command that the extraction names."""
    monkeypatch.chdir(tmp_path)
    asked = {"image-tower": ["dino/cls"], "clip-pair": ["clip/text", "dino/image"], "dino": ["dino/cls"]}[goal]
    store = extracted("several", str(["clip/image", *asked]).replace("'", '"'))
    first, second = ("dino", "clip") if goal == "dino" else ("clip", "dino")
    if goal != "dino":
        err = run_cli("extract-teacher", tmp_path / "several/extract.toml")[2]
        assert (
            f"next: distillkit recipe new FILE --images {store} --also dino  (writes a recipe for a student of" in err
        )
    more = ("--goal", goal, "--parameters", "20M", "--also", second, "--image-size", "32")
    code, _, err = run_cli("recipe", "new", "mine.toml", "--images", store, *more)
    assert code == 0 and "other teachers" not in err, err
    recipe = load("mine.toml", kind=TrainRecipe)
    assert recipe.paper is None and recipe.losses[-1].teacher == second and recipe.data.teacher in (None, first)
    code, _, err = run_cli("train-student", "mine.toml", "--set", "optim.epochs=1", "--set", "evals=[]")
    assert code == 0, err
    line = json.loads((tmp_path / "runs/mine/metrics.jsonl").read_text().splitlines()[0])
    assert 0.1 < recipe.losses[-1].knobs["weight"] * line[f"of_{second}"] / line["total"] < 0.6


def test_of_two_teachers_both_are_looked_at(added, tmp_path, run_cli, monkeypatch):
    """Rows, bytes and pixels of each; steps are counted on the images that both said something of."""
    monkeypatch.chdir(tmp_path)
    rows, forgotten = len(FeatureStore(added).ok_rows), 7
    real = FeatureStore.ok_rows.func

    def some_failed(self):
        found = real(self)
        return found[forgotten:] if self.alias == "dino" else found

    patched = cached_property(some_failed)
    patched.__set_name__(FeatureStore, "ok_rows")
    monkeypatch.setattr(FeatureStore, "ok_rows", patched)
    code, _, err = new(run_cli, added, "--also", "dino", "--image-size", "32")
    assert code == 0, err
    text, fields = (tmp_path / "mine.toml").read_text(), FeatureStore(added).fields
    assert f"  # {rows - forgotten} with features of both\n" in text
    for alias, pixels in (("clip", 32), ("dino", 28)):
        size = fields[f"{alias}/image"].row_bytes
        assert f"\n# {alias} said image: {size:,} bytes a row, of images of {pixels} pixels\n" in text, text
    assert f"\n# {forgotten} images left out: clip alone said something of them\n" in text
    recipe = load("mine.toml", kind=TrainRecipe)
    lines = {line.split()[0]: line for line in check(recipe)}
    steps = (rows - forgotten) // recipe.data.batch_size * int(recipe.optim.epochs)
    assert f"{steps:,} steps of" in lines["training"] and f"for {rows - forgotten} rows" in lines["store"]
    assert "of both" not in draft("image-tower", Material(str(added)), "mine", "mine.toml", parameters="1M")


@pytest.mark.parametrize(
    ("also", "told"),
    [("clip", "clip is learned from already; name another teacher: --also dino"), ("dyno", "no teacher 'dyno'")],
)
def test_a_second_teacher_that_is_none_is_refused(added, run_cli, also, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = new(run_cli, added, "--also", also)
    assert code == 1 and told in err and not (tmp_path / "mine.toml").exists()
