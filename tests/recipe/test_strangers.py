"""A stranger's recipe is shown without importing what it names."""

import inspect
import json
import subprocess
import sys
import typing

import pytest
from pydantic import BaseModel

from distillkit.recipe.component import Component
from distillkit.recipe.evaluation import EvalRecipe
from distillkit.recipe.extraction import ExtractRecipe
from distillkit.recipe.mining import MineRecipe, SelectRecipe
from distillkit.recipe.registry import ROOMS, kinds, resolve
from distillkit.recipe.training import TrainRecipe

RECIPE = """
name = "bait"
out = "/somewhere/else"
[data]
images = "s3://bucket/images"
batch_size = 4
[student]
kind = "stranger_module_for_tests:Student"
[[losses]]
kind = "affinity"
[optim]
epochs = 1
"""


def test_nothing_is_imported_and_all_of_it_is_told(tmp_path, run_cli, monkeypatch):
    (tmp_path / "stranger_module_for_tests.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    code, out, err = run_cli("recipe", "check", tmp_path / "recipe.toml", "--no-plugins")
    assert code == 0 and not err
    assert "imports  'stranger_module_for_tests' for kind 'stranger_module_for_tests:Student'" in out
    assert "place    data.images = 's3://bucket/images'" in out and "place    out = '/somewhere/else'" in out
    assert not (tmp_path / "ran").exists() and "stranger_module_for_tests" not in sys.modules


def test_a_recipe_of_our_own_kinds_says_so(tmp_path, run_cli):
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("stranger_module_for_tests:Student", "timm_image"))
    code, out, _ = run_cli("recipe", "check", tmp_path / "recipe.toml", "--no-plugins")
    assert code == 0 and out.startswith("imports  nothing but distillkit's own kinds")
    (tmp_path / "recipe.toml").write_text("= no toml")
    code, _, err = run_cli("recipe", "check", tmp_path / "recipe.toml", "--no-plugins")
    assert code == 1 and err.count("\n") == 1


def inner(annotation):
    """The types that an annotation is made of, alternatives one by one."""
    return [one for one in typing.get_args(annotation) if one not in (type(None), ...)]


def filled(annotation, marks, place):
    """A value of that type with a new marker for each text that it may hold; None where it holds none."""
    origin, held = typing.get_origin(annotation), inner(annotation)
    if annotation is typing.Any or annotation is str:
        marks.append(f"marker-{len(marks)}-of-{place}")
        return marks[-1]
    if origin is typing.Annotated:
        return filled(held[0], marks, place)
    if origin in (list, tuple):
        found = filled(held[0], marks, place)
        return None if found is None else [found]
    if origin is dict:
        found = filled(held[1], marks, place)
        return None if found is None else {"any": found}
    if inspect.isclass(annotation) and issubclass(annotation, Component):
        return {"kind": "unknown"}
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return section(annotation, marks, place)
    if origin is typing.Literal:
        return None
    return next((value for one in held if (value := filled(one, marks, place)) is not None), None)


def section(model, marks, place):
    told = {name: filled(knob.annotation, marks, f"{place}.{name}") for name, knob in model.model_fields.items()}
    return {name: value for name, value in told.items() if value is not None}


def component(room, kind, marks):
    constructor = resolve(room, kind).__init__
    hints = typing.get_type_hints(constructor)
    knobs = [one for one in inspect.signature(constructor).parameters.values() if one.kind is one.KEYWORD_ONLY]
    told = {one.name: filled(hints[one.name], marks, f"{room}.{kind}.{one.name}") for one in knobs}
    return {"kind": kind} | {name: value for name, value in told.items() if value is not None}


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


SHOW = """
import sys
from pathlib import Path
from distillkit.recipe.strangers import shown
print(*shown(Path(sys.argv[1])), sep="\\n")
rooms = tuple(f"distillkit.{room}." for room in sys.argv[2:])
print(sorted(name for name in sys.modules if name.startswith((*rooms, "stranger_"))))
"""


def test_every_text_of_every_section_and_kind_is_shown_and_no_kind_is_imported(tmp_path):
    marks, recipe = [], {}
    for model in (ExtractRecipe, TrainRecipe, EvalRecipe, MineRecipe, SelectRecipe):
        recipe[model.__name__] = section(model, marks, model.__name__)
    for room in ROOMS:
        recipe[room] = [component(room, kind, marks) for kind in kinds(room)]
    told = "".join(f"{key} = {toml(value)}\n" for key, value in recipe.items())
    (tmp_path / "recipe.toml").write_text(told + '"stranger" = {kind = "stranger_module:Thing", any = "marker-of-it"}')
    shown = subprocess.run(
        [sys.executable, "-c", SHOW, tmp_path / "recipe.toml", *ROOMS], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    known = ("teachers.run.run", "webdataset.shards", "templates_file", "evals.knn.train", "corpora.class_names")
    assert len(marks) > 100 and all(any(word in mark for mark in marks) for word in known)
    assert [mark for mark in [*marks, "marker-of-it"] if not any(f"'{mark}'" in line for line in shown)] == []
    assert shown[0].startswith("imports  'stranger_module'") and shown[-1] == "[]"
    assert not any("nothing but" in line for line in shown)


@pytest.mark.parametrize("said", ['kind = "run"\nrun = "there"', 'kind = "x"\nknobs = { any = ["run:there"] }'])
def test_what_a_run_names_in_its_turn_is_told_to_be_imported(tmp_path, run_cli, said):
    (tmp_path / "recipe.toml").write_text(f"[[teachers]]\n{said}\n")
    code, out, _ = run_cli("recipe", "check", tmp_path / "recipe.toml", "--no-plugins")
    assert code == 0 and "imports  whatever the recipe.json of the run of teachers.0" in out
    assert "imports  and reads what a store, view or run" in out


def test_what_it_extends_and_what_its_keys_hide_is_shown(tmp_path, run_cli):
    (tmp_path / "first.toml").write_text('extends = "deeper/one.toml"\n[data]\nimages = "deep"\n')
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper/one.toml").write_text('[any]\nthing = "deepest"\n')
    (tmp_path / "recipe.toml").write_text('extends = "first.toml"\n"a\\u001b[2K\\nb" = "hidden"\n')
    code, out, _ = run_cli("recipe", "check", tmp_path / "recipe.toml", "--no-plugins")
    assert code == 0 and "\x1b" not in out and "'a\\x1b[2K\\nb' = 'hidden'" in out
    for line in ("extends = 'first.toml'", "extends = 'deeper/one.toml'", "data.images = 'deep'", "= 'deepest'"):
        assert line in out
