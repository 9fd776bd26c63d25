"""recipe explain: every knob has a type, a default, a meaning and a source; docs/reference.md is what it says."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from distillkit.errors import RecipeError
from distillkit.recipe.explained import every_table, explained
from distillkit.recipe.reference import reference
from distillkit.recipe.registry import ROOMS, kinds
from distillkit.recipe.spelled import spelled

ROOT = Path(__file__).parents[2]


def test_every_knob_of_every_kind_and_table_has_a_meaning():
    silent = [knob.path for table in every_table() for knob in table.knobs if len(knob.meaning) < 3]
    assert silent == []


def test_every_meaning_stands_alone():
    """`recipe explain KEY` prints it with nothing above it, and without the formula of its file."""
    elsewhere = re.compile(
        r"\b(as|see) (above|below)\b|\blikewise\b|\bditto\b|\bof the formula\b|\bdoes the same\b|\bthe same of\b"
        r"|\bsee (?!_)[A-Za-z_]+[.;:)]|\bwhich of the three\b|\b(before|behind|of) it\.$|\bprojection to it\b"
    )
    found = [f"{knob.path}: {knob.meaning}" for table in every_table() for knob in table.knobs]
    assert [line for line in found if elsewhere.search(line)] == []


@pytest.mark.parametrize(("key", "told"), [("data.augment.flip", "unmirrored"), ("corpora.views.flip", "sees it so")])
def test_what_a_mirror_does_to_stored_features_is_told(key, told):
    (table,) = [table for table in explained(key) if table.knobs]
    assert "mirrored, left to right" in table.knobs[0].meaning and told in table.knobs[0].meaning


def test_every_kind_and_every_recipe_is_there():
    paths = {table.path for table in every_table()}
    assert {f"{room}.{kind}" for room in ROOMS for kind in kinds(room)} <= paths
    assert {"data", "data.augment", "optim", "baseline", "corpora.views.randaugment", "validation"} <= paths


def test_sources_are_files_that_are_there_and_papers():
    for table in every_table():
        file, *papers = table.source.split(", ")
        assert (ROOT / file).is_file() and all(re.match("https://arxiv.org/abs/", one) for one in papers), table.path


def test_the_page_is_what_explain_says():
    assert (ROOT / "docs/reference.md").read_text() == reference(), (
        "make it anew: distillkit recipe explain --markdown > docs/reference.md"
    )


@pytest.mark.parametrize(
    ("word", "paths"),
    [
        ("optim.lr", ["optim.lr"]),
        ("lr", ["optim.lr", "baseline.lr"]),
        ("losses/token_regression", [f"losses.token_regression.{name}" for name in ("name", "weight", "level")]),
        ("token_regression", [f"losses.token_regression.{name}" for name in ("name", "weight", "level")]),
    ],
)
def test_a_word_finds_its_knobs(word, paths):
    assert [knob.path for table in explained(word) for knob in table.knobs] == paths


def test_types_defaults_and_bounds_are_those_of_the_schema():
    (table,) = explained("affinity")
    knobs = {knob.name: knob for knob in table.knobs}
    assert knobs["divergence"].type == '"kl" or "cross_entropy"' and knobs["divergence"].default == '"kl"'
    assert knobs["temperature"].type == "number, above 0" and knobs["symmetric"].default == "true"
    assert "each network's own" in knobs["logit_scale"].meaning and knobs["top_k"].default == "not given"
    assert explained("data.batch_size")[0].knobs[0].default is None


def test_a_kind_of_another_package_is_explained(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(
        'class Loss:\n    """`power`: of the distance."""\n\n    def __init__(self, w, *, power: float = 2.0): ...\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    (table,) = explained("losses/stranger:Loss")
    assert [(knob.name, knob.default, knob.meaning) for knob in table.knobs] == [("power", "2", "of the distance.")]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("afinity", "'affinity'"), ("learning_rate", "'optim.lr'"), ("data.batchsize", "'data.batch_size'")],
)
def test_a_misspelt_word_finds_the_nearest(word, meant):
    with pytest.raises(RecipeError, match=f"did you mean .*{re.escape(meant)}"):
        explained(word)


def test_the_command_prints_one_knob_or_json(run_cli):
    code, out, _ = run_cli("recipe", "explain", "optim.lr")
    assert code == 0 and "optim.lr: number, above 0; default 0.0008\n    the highest learning rate." in out
    code, out, _ = run_cli("recipe", "explain", "contrastive", "--json")
    assert code == 0 and json.loads(out)["path"] == "losses.contrastive"
    assert run_cli("recipe", "explain")[0] == 2


@pytest.mark.parametrize(
    ("word", "some"),
    [
        ("teacher.model", {"teachers.openclip.model", "teachers.timm.model"}),
        ("corpora.source.separator", {"sources.csv.separator"}),
        ("student.image_size", {"students.timm_image.image_size"}),
        ("evals.store", {"evals.retrieval.store"}),
    ],
)
def test_a_key_of_a_component_is_found_by_the_table_of_the_recipe(word, some):
    found = {knob.path for table in explained(word) for knob in table.knobs}
    assert some <= found and all(path.endswith(f".{word.rpartition('.')[2]}") for path in found)


def test_a_key_that_no_kind_has_is_refused_as_before():
    with pytest.raises(RecipeError, match="no kind and no key"):
        explained("teacher.nonsense")


def test_several_of_what_has_bounds_are_several():
    """It was "list of number, at least 0"."""
    assert spelled(list[Annotated[float, Field(ge=0)]], []) == "list of numbers, at least 0"
    assert spelled(list[Literal["a", "b"]], []) == 'list of "a" or "b"'
