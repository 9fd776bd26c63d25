"""docs/evaluation.md: its commands run as written, its recipe is one, its kinds, knobs and measures exist."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from distillkit.evaluation.verdicts import verdict
from distillkit.recipe import EvalRecipe
from distillkit.recipe.registry import kinds
from tests.corpora.layouts import lay
from tests.evaluation.worlds import make_world, results, train_run

TEXT = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(number):
    return [line.partition("#")[0].strip() for line in blocks("sh")[number].splitlines()]


@pytest.fixture
def ready(tmp_path, teacher_folder, monkeypatch, run_cli):
    """The toy world where the page has it, and we in it: a run, its evals, and runs that differ."""
    world = make_world(tmp_path / "world", teacher_folder)
    for name, *knobs in (("mine",), ("a@0", "seed=0"), ("a@1", "seed=1"), ("b@0", "seed=0", "optim.lr=1e-4")):
        train_run(world, f"../runs/{name}", *knobs, "optim.epochs=1.0")
    shutil.copytree(world / "out", tmp_path / "stores/mine")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/my_evals.toml").write_text(asked := blocks("toml")[0])
    monkeypatch.chdir(tmp_path)
    held_out = shlex.split(asked.partition("# distillkit ")[2].splitlines()[0])
    assert held_out[:2] == ["store", "view"] and run_cli(*held_out)[0] == 0
    return tmp_path


@pytest.fixture
def typed(run_cli):
    """What a line of the page prints: (stdout, stderr)."""

    def run(line):
        name, *words = shlex.split(line)
        code, out, err = run_cli(*words)
        assert name == "distillkit" and code == 0, err
        return out, err

    return run


def test_the_first_commands(ready, typed):
    first, others, page, compare = commands(0)
    assert "runs/mine/report.html" in typed(first)[0]
    # The page's stores are copies of those that the run was trained on: equal digests, one teacher.
    assert "linear_probe: student" in typed(others)[1]
    found = results(ready / "runs/mine")["results"]
    assert found.keys() == {"retrieval", "zero_shot", "linear_probe"}
    (ready / "runs/mine/report.md").unlink()
    assert "report is written anew" in typed(page)[1] and (ready / "runs/mine/report.md").is_file()
    assert "against runs/mine/baseline: " in typed(compare)[1]
    typed("distillkit evaluate runs/a@0 runs/a@1 runs/b@0")
    for line in commands(2):
        line = line.replace(" runs/b@1", "").replace("runs/a runs/b", "runs/a@0 runs/b@0")
        assert typed(line)[0]
    show, atlas = commands(3)
    assert "images.html" in typed(show)[0] and "runs/mine/atlas.parquet" in typed(atlas)[0]
    seeds = commands(2)[1].replace(" runs/b@1", "")
    assert "runs/a@0 and 1 more" in typed(f"{seeds} --table md")[0]


def test_the_sets_of_the_papers(tmp_path, teacher_folder, typed, monkeypatch):
    root = Path(__file__).parents[2]
    listed = set(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", TEXT.partition("pipelines/evals/) |")[2], re.MULTILINE))
    recipes = {path.stem for path in (root / "pipelines/evals").glob("*.toml") if not path.stem.endswith("_extract")}
    assert {name for line in listed for name in re.findall(r"`(\w+)`", line)} >= recipes
    shutil.copytree(root / "pipelines/evals", tmp_path / "pipelines/evals")
    monkeypatch.chdir(tmp_path)
    lay("cifar10", tmp_path / "data/cifar10")
    for line in commands(1):
        if line.startswith("distillkit extract-teacher"):
            knobs = f'teacher={{kind="openclip",model="local-dir:{teacher_folder}"}}'
            line += f" --set '{knobs}'"
        out, err = typed(line)
        assert out, err
    assert "top-1" in err


def test_everything_that_the_page_names_exists(ready, typed):
    EvalRecipe.model_validate(tomllib.loads(blocks("toml")[0]))
    named = re.findall(r"^\|[^|]*\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert set(named) == set(kinds("evals"))
    world = (ready / "world/more.toml").read_text()
    (ready / "all.toml").write_text(world.replace("k = 3\n", "", 2))
    typed("distillkit evaluate runs/mine --eval all.toml --set evaluation.autocast=false --set evaluation.workers=1")
    found = results(ready / "runs/mine")["results"]
    for measure in ("top-1", "mean per class", "same class", "KL over classes", "worst cosine", "linear CKA"):
        assert f"`{measure}`" in TEXT and any(measure in numbers["student"] for numbers in found.values()), measure


def test_its_arithmetic():
    assert "1,900 items" in TEXT
    told = verdict(value=0.02, low=-0.01, high=0.05, error=0.0155, adjusted=0.2, items=400).told
    assert "1,900 items" in told
