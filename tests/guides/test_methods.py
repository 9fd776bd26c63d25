"""docs/methods: a page for every paper; its commands are run as far as they need no data, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.recipe.registry import kinds

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/methods").glob("*.md"))
PAPERS = ("dime_fm", "clip_kd", "tinyclip", "proteus", "ood")


def commands(page):
    return [
        line for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL) for line in block.splitlines()
    ]


def test_every_paper_has_a_page():
    assert {page.stem for page in PAGES} == set(PAPERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_hold(page, run_cli):
    """Recipes are checked with their real names. Training for 50 steps: test_every_recipe_trains.py."""
    told = commands(page)
    assert {shlex.split(line)[1] for line in told} >= {"recipe", "extract-teacher", "train-student"}
    for line in told:
        program, *words = shlex.split(line)
        if program == "make":
            assert f"\n{words[0]}: " in (ROOT / "Makefile").read_text()
        elif words[0] == "recipe":
            code, out, err = run_cli(*words)
            assert code == 0 and "parameters" in out, err
        else:
            load(words[1], kind=ExtractRecipe if words[0] == "extract-teacher" else TrainRecipe)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_names_what_there_is(page):
    text = page.read_text()
    assert "## Where we differ" in text and "**The store holds**" in text and "https://arxiv.org/abs/" in text
    for link in re.findall(r"\]\((\.\./[^)]*)\)", text):
        assert (page.parent / link).is_file(), link
    known = {kind for room in ("losses", "students", "evals", "sources") for kind in kinds(room)}
    for row in re.findall(r"^\| \S+ \|[^\n]*\| (`\w+`)", text, re.MULTILINE):
        assert row.strip("`") in known, row
