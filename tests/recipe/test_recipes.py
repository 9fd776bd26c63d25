"""Every recipe we ship is sound: it checks without data, weights or network; its quick sibling is the same method."""

import shlex
from pathlib import Path

import pytest

from distillkit.check import check
from distillkit.overview import overview
from distillkit.recipe import ExtractRecipe, MineRecipe, SelectRecipe, TrainRecipe, load

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines"
PAPERS = sorted(PIPELINES.glob("*.toml"))


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_papers_recipe_checks_without_anything_at_hand(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = load(path, kind=TrainRecipe)
    lines = check(recipe)
    assert [line.split()[0] for line in lines] == ["student", "compute", "terms", "teacher", "store", "training"]
    assert recipe.paper and f"pipelines/{path.name}" in path.read_text()


def test_sizes_that_the_papers_state(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    told = {path.stem: "\n".join(check(load(path, kind=TrainRecipe))) for path in PAPERS}
    assert "image 38.59, text 19.22" in told["tinyclip_manual"]
    assert "61.4 GB for 40,000,000" in told["dime_fm"]
    assert "1.01 TB for 1,281,167" in told["proteus"]  # two views of 506 GB


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("extract/*.toml")), ids=lambda path: path.stem)
def test_extraction_recipes_are_sound(path):
    recipe = load(path, kind=ExtractRecipe)
    assert recipe.next is None or (ROOT / recipe.next.split()[-1]).is_file()


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("mine/*.toml")), ids=lambda path: path.stem)
def test_mining_recipes_are_sound(path):
    assert f"mine-neighbours pipelines/mine/{path.name}" in path.read_text() and load(path, kind=MineRecipe)


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("select/*.toml")), ids=lambda path: path.stem)
def test_selection_recipes_are_sound(path):
    assert f"select-texts pipelines/select/{path.name}" in path.read_text() and load(path, kind=SelectRecipe)


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_student_is_shown_the_views_that_its_store_keeps(path):
    recipe = load(path, kind=TrainRecipe)
    stage1 = next(word for word in path.read_text().split() if word.startswith("pipelines/extract/"))
    corpora = {corpus.name: corpus for corpus in load(ROOT / stage1, kind=ExtractRecipe).corpora}
    drawn = [corpora[Path(one.images).name].drawn_views for one in recipe.data.mix or [recipe.data]]
    views = {one.count if one else 1 for one in drawn}
    assert views == {recipe.data.expect.views} and (recipe.data.views == "stored") == (views != {1})


def test_every_papers_recipe_has_its_extraction():
    for path in PAPERS:
        named = [word for word in path.read_text().split() if word.startswith("pipelines/extract/")]
        assert named and all((ROOT / word).is_file() for word in named), path


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("demo/*_quick.toml")), ids=lambda path: path.stem)
def test_the_quick_look_is_the_same_method(path):
    demo, quick = (load(one, kind=TrainRecipe) for one in (path.with_stem(path.stem.removesuffix("_quick")), path))
    assert (demo.losses, demo.optim.kind) == (quick.losses, quick.optim.kind)
    own = [one.baseline and one.baseline.model_copy(update={"images": None, "epochs": None}) for one in (demo, quick)]
    assert own[0] == own[1]
    assert [one.kind for one in demo.evals] == [one.kind for one in quick.evals]
    asked = [one.student.model_dump() | {"inherit": None} for one in (demo, quick)]
    assert asked[0] == asked[1]
    assert "QUICK" in quick.note and quick.name == f"{demo.name}_quick"


def variants(path):
    """The `--set`s of each line of the recipe's comments that has any, a command's or alone; lines may go on."""
    text = path.read_text().replace("\\\n#", "")
    lines = [line for line in text.splitlines() if line.startswith("#") and "--set" in line]
    for line in lines:
        words = shlex.split(line[1:])
        first = words.index("--set")
        assert words[first::2] == ["--set"] * len(words[first::2]), line
        stage = ExtractRecipe if "extract-teacher" in words else TrainRecipe
        named = [word for word in words[:first] if word.endswith(".toml")]
        yield stage, ROOT / named[0] if named else path, words[first + 1 :: 2]


SHIPPED = sorted({*PIPELINES.rglob("*.toml")} - {*PIPELINES.glob("mine/*.toml"), *PIPELINES.glob("select/*.toml")})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(PIPELINES)))
def test_what_the_comments_offer_can_be_set(path):
    for stage, recipe, settings in variants(path):
        assert load(recipe, settings, kind=stage) != load(recipe, kind=stage)


def test_every_term_and_switch_is_offered():
    told = {path.stem: len(list(variants(path))) for path in PAPERS}
    assert told["clip_kd"] >= 8 and told["proteus"] >= 4 and told["ood"] >= 9 and told["dime_fm"] >= 4


def test_every_paper_has_a_small_sibling_of_the_same_terms():
    for path in PAPERS:
        if path.stem in ("ood_coop", "ood_few_shot"):  # variants of ood.toml
            continue
        paper, demo = load(path, kind=TrainRecipe), load(PIPELINES / "demo" / path.name, kind=TrainRecipe)
        names = [[term.knobs.get("name", term.kind) for term in one.losses] for one in (paper, demo)]
        assert names[0][: len(names[1])] == names[1], path.name
        assert paper.paper == demo.paper and paper.folder != demo.folder


def test_the_list_names_file_student_terms_and_paper(run_cli):
    code, out, _ = run_cli("recipe", "list")
    assert code == 0 and len(out.splitlines()) == len(overview(Path("pipelines"))) >= 9
    line = next(line for line in out.splitlines() if "clip_kd.toml" in line)
    assert "CLIP-KD-ViT-T-16" in line and "task + CRD + ICL + FD" in line and "2307.12732" in line


def test_a_broken_recipe_is_a_row_that_says_why(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    good = (PIPELINES / "dime_fm.toml").read_text()
    for name, text in {
        "a_typo": good.replace("temperature = 3.0", "temprature = 3.0"),
        "b_half": "[data",
        "c_good": good,
    }.items():
        (tmp_path / f"pipelines/{name}.toml").write_text(text)
    code, out, err = run_cli("recipe", "list")
    assert code == 0 and not err
    typo, half, fine = out.splitlines()
    assert "broken" in typo and "did you mean 'temperature'" in typo
    assert "broken" in half and "not TOML" in half
    assert "DIME-FM-ViT-B-32" in fine


def test_where_there_are_other_recipes_alone_those_that_ship_are_listed(run_cli, tmp_path, monkeypatch):
    """As the README begins: a recipe for an extraction, in pipelines/extract/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines/extract").mkdir(parents=True)
    (tmp_path / "pipelines/extract/my_images.toml").write_text('name = "mine"\n')
    (tmp_path / "pipelines/near.toml").write_text('queries = "stores/mine/images"\ncorpus = "stores/mine/texts"\n')
    (tmp_path / "pipelines/measures.toml").write_text('[[evals]]\nkind = "retrieval"\nstore = "stores/mine/held"\n')
    code, out, err = run_cli("recipe", "list")
    assert code == 0 and "demo/dime_fm " in out and "recipe copy" in err


def test_a_recipe_whose_store_is_not_there_says_what_to_add(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PIPELINES / "dime_fm.toml").read_text().replace("expect =", "# expect =")
    (tmp_path / "recipe.toml").write_text(text)
    code, _, err = run_cli("recipe", "check", "recipe.toml")
    assert code == 1 and err.count("\n") == 1 and "[data.expect]" in err
