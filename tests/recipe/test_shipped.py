"""The recipes that ship: found outside a clone, copied with what they build on, and part of the wheel."""

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from distillkit.errors import RecipeError
from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.recipe.shipped import copy, names
from distillkit.system import paths

ROOT = Path(__file__).parents[2]


def test_the_wheel_takes_pipelines_and_manifests_along():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"data_manifests", "pipelines"} <= wheel["force-include"].keys()


def test_an_installed_package_has_them_within(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "pipelines/demo", tmp_path / "distillkit/pipelines/demo")
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "distillkit/system/paths.py"))
    assert paths.shipped_recipes() == tmp_path / "distillkit/pipelines" and "demo/dime_fm" in names()


@pytest.mark.slow  # builds
def test_a_wheel_holds_every_recipe_and_manifest(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("pipelines", "data_manifests"):
        ours = {f"distillkit/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.toml")}
        assert ours and ours <= held
    unpacked = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(unpacked)
    listed = subprocess.run(
        [sys.executable, "-m", "distillkit", "recipe", "list"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0 and "demo/dime_fm" in listed.stdout, listed.stderr


def test_outside_a_clone_the_list_names_what_copy_takes(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli("recipe", "list")
    assert code == 0 and "recipe copy" in err and "broken" not in out
    listed = [line.split()[0] for line in out.splitlines()]
    assert "demo/dime_fm" in listed and set(listed) <= set(names())
    rows = [json.loads(line) for line in run_cli("recipe", "list", "--json")[1].splitlines()]
    assert [row["recipe"] for row in rows] == listed and rows[0].keys() == {"recipe", "student", "terms", "paper"}


def test_a_copy_loads_with_all_that_it_extends_and_names(tmp_path):
    made = copy("ood_coop", tmp_path / "mine")
    assert made[0] == tmp_path / "mine/ood_coop.toml" and tmp_path / "mine/ood.toml" in made
    assert tmp_path / "mine/extract/ood.toml" in made
    assert load(made[0], kind=TrainRecipe) == load(ROOT / "pipelines/ood_coop.toml", kind=TrainRecipe)


def test_a_copy_overwrites_nothing(tmp_path):
    (made,) = copy("pipelines/mine/ood.toml", tmp_path)[:1]
    assert copy("mine/ood", tmp_path)[0] == made  # the same file again
    made.write_text("mine = true")
    with pytest.raises(RecipeError, match="is already there, with other content"):
        copy("mine/ood", tmp_path)
    assert made.read_text() == "mine = true"


def test_an_unknown_name_finds_the_nearest(tmp_path):
    with pytest.raises(RecipeError, match="did you mean demo/dime_fm"):
        copy("demo/dimefm", tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_classes_of_ood_have_the_papers_one_prompt_each():
    """Where it trains as where it is measured; the source's own default are the 80 sentences of ImageNet."""
    recipes = [
        load(ROOT / f"pipelines/{name}.toml", kind=ExtractRecipe) for name in ("extract/ood", "evals/ood_extract")
    ]
    asked = [corpus.source.knobs for one in recipes for corpus in one.corpora if corpus.source.kind == "class_prompts"]
    assert len(asked) > 1 and {*map(str, (knobs["templates"] for knobs in asked))} == {"['a photo of {}']"}
