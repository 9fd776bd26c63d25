"""The files of claims that we ship: each arm is a sound recipe, and none learns from what it is measured on."""

from pathlib import Path

import pytest

from distillkit.check import check
from distillkit.claims.file import read_claims
from distillkit.claims.trials import Experiment, all_trials
from distillkit.errors import RecipeError
from distillkit.recipe import Expect

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "pipelines/claims").glob("*.toml"))
TUNING = sorted((ROOT / "pipelines/claims/tuning").glob("*.toml"))
EXPECT = Expect(
    rows=5000, widths={"image": 256, "text": 256, "cls": 192, "patches": 192, "scale": 1, "label": 50}, patches=16
)
BOTH = pytest.mark.parametrize("quick", [False, True], ids=["whole", "quick"])
EACH = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def experiment(path, quick):
    """With one seed: arms are the same for all."""
    return Experiment(read_claims(path).model_copy(update={"seeds": [0]}), Path("runs/claims"), quick)


def test_there_are_five_papers_and_25_claims():
    files = [read_claims(path) for path in FILES]
    assert [file.name for file in files] == ["clipkd", "dimefm", "ood", "proteus", "tinyclip"]
    assert sum(len(file.claims) for file in files) == 25
    assert all(len(file.seeds) >= 3 for file in files)


@EACH
def test_every_arm_is_a_recipe_that_checks(path):
    works = all_trials(experiment(path, False))
    assert len({work.recipe.folder for work in works}) == len(works)
    checked = set()
    for work in works:
        student = work.recipe.student
        shape = str((student, work.recipe.losses, work.recipe.data.captions, work.recipe.data.classes is None))
        if shape in checked:  # the same network and terms over other stores
            continue
        checked.add(shape)
        if str(student.knobs.get("inherit", "")).startswith("run:"):  # an arm that is not trained yet
            student = student.model_copy(update={"inherit": None})
        data = work.recipe.data.model_copy(update={"expect": EXPECT})
        lines = check(work.recipe.model_copy(update={"data": data, "student": student}))
        assert any(line.startswith("terms") for line in lines)


@EACH
@BOTH
def test_nobody_learns_from_what_is_kept_back(path, quick):
    """Neither images nor texts of unseen concepts, nor of those for validation, are in any arm's stores."""
    for work in all_trials(experiment(path, quick)):
        data = work.recipe.data
        stores = [data.images, data.texts, data.classes, *(one.images for one in data.mix)]
        named = [str(one) for one in stores if one] + [str(data.class_names or "")]
        assert named and not [one for one in named if any(word in one for word in ("unseen", "validation", "prompts"))]
        assert work.recipe.evals and all("unseen" in one.knobs["store"] for one in work.recipe.evals)


@pytest.mark.parametrize("path", TUNING, ids=lambda path: path.stem)
def test_what_was_tuned_was_tuned_on_validation(path):
    """Nothing of the unseen concepts is trained on or asked about, and no seed is one of the claims'."""
    file, claimed = read_claims(path), read_claims(path.parents[1] / path.name)
    assert not set(file.seeds) & set(claimed.seeds)
    for work in all_trials(Experiment(file, Path("runs/claims"), False)):
        data = work.recipe.data
        stores = [data.images, data.texts, data.classes, data.class_names, *(one.images for one in data.mix)]
        assert not [one for one in stores if one and ("unseen" in str(one) or "validation" in str(one))]
        for one in work.recipe.evals:
            assert "validation" in one.knobs["store"] and "unseen" not in str(one.knobs)


@EACH
def test_the_quick_look_is_the_same_arms_over_the_small_demo(path):
    whole, quick = all_trials(experiment(path, False)), all_trials(experiment(path, True))
    assert {work.arm.name for work in whole} == {work.arm.name for work in quick}
    for work in quick:
        content = work.recipe.model_dump_json()
        assert "stores/demo/" not in content and "/demo/" not in content
        assert work.recipe.optim.epochs <= 1.0


@EACH
def test_every_step_before_is_a_command_of_ours(path):
    from typer.main import get_command

    from distillkit.cli import app

    names = get_command(app).commands
    file = read_claims(path)
    for step in (*file.before, *file.quick.before):
        words = step.run.split()
        assert words[0] in names
        assert all((ROOT / word).is_file() for word in words if word.endswith(".toml"))


GOOD = """
name = "toy"
title = "Toy"
paper = "https://example.org"
seeds = [0]
[[evals]]
kind = "retrieval"
name = "unseen"
store = "stores/x"
[[arms]]
name = "a"
recipe = "pipelines/demo/dime_fm.toml"
[[arms]]
name = "b"
recipe = "pipelines/demo/dime_fm.toml"
[[claims]]
text = "a beats b"
on = "unseen.R@1"
better = [["a", "b"]]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('["a", "b"]', '["a", "c"]', "no arm 'c'"),
        ('on = "unseen.R@1"', 'on = "seen.R@1"', "no eval 'seen'"),
        ('on = "unseen.R@1"', 'on = "R"', 'is no "eval.measure"'),
        ('name = "b"', 'name = "a"', "two arms are called 'a'"),
        ('better = [["a", "b"]]', "", "has either `better`, pairs of arms"),
        ('better = [["a", "b"]]', 'order = { a = 1.0, b = 2.0 }\nthan = "a"', "`order` needs three arms"),
        ("[[claims]]", "[[clams]]", "has no \\[\\[claims\\]\\]"),
        ('kind = "retrieval"', 'kind = "retrieval"\nkk = 3', "kk"),
        ('title = "Toy"', "title = Toy", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, old, new, told):
    path = tmp_path / "toy.toml"
    path.write_text(GOOD)
    assert len(read_claims(path).arms) == 2
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(RecipeError, match=told) as refused:
        read_claims(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nothing\.toml: cannot be read"):
        read_claims(tmp_path / "nothing.toml")


@pytest.mark.parametrize("more", ["seeds = [0, 1, 0]", "seeds = [0]\nquick.seeds = [3, 3]"])
def test_a_run_counts_as_one_seed(tmp_path, more):
    """Else one run would be several that agree to the last digit, and their spread 0."""
    (tmp_path / "toy.toml").write_text(
        f"""name = "toy"
title = "Toy"
paper = "https://example.org"
{more}
evals = [{{ kind = "retrieval", store = "stores/toy" }}]
arms = [{{ name = "a", recipe = "toy.toml" }}, {{ name = "b", recipe = "toy.toml" }}]
claims = [{{ text = "It is", on = "retrieval.R@1", better = [["a", "b"]] }}]
"""
    )
    with pytest.raises(RecipeError, match=r"seeds: \d is listed twice; name each seed once"):
        read_claims(tmp_path / "toy.toml")
