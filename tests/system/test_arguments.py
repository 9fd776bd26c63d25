"""Values of other types than a public function names: one line that says which, what is needed and what was meant."""

import inspect
import os
import pickle
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import distillkit
from distillkit.errors import DistillkitError
from distillkit.system.arguments import refuse_other_types


class Images(Dataset):
    """What other libraries take in place of a folder."""


def function_of(name):
    found = getattr(distillkit, name)
    return getattr(found, name) if inspect.ismodule(found) else found


def needed(name):
    return [one for one in inspect.signature(function_of(name)).parameters.values() if one.default is one.empty]


NAMES = [name for name in distillkit.__all__ if not isinstance(getattr(distillkit, name), type)]
LISTS = [
    (name, parameter.name)
    for name in NAMES
    for parameter in inspect.signature(function_of(name)).parameters.values()
    if "Sequence" in str(parameter.annotation)
]


def given(name, /, **others):
    """What the function cannot do without, and these."""
    return {one.name: ["none/here"] if (name, one.name) in LISTS else "none/here" for one in needed(name)} | others


@pytest.mark.parametrize(("name", "parameter"), LISTS)
def test_a_word_is_no_list(name, parameter):
    with pytest.raises(DistillkitError, match=rf"{parameter} = 'a/b': a list .* such as \['a/b'\]"):
        getattr(distillkit, name)(**given(name, **{parameter: "a/b"}))


@pytest.mark.parametrize("wrong", [None, 5, ["none/here"], b"none/here", Images()], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("name", [name for name in NAMES if needed(name)])
def test_the_first_argument_is_what_it_says(name, wrong):
    first = needed(name)[0].name
    if (name, first) in LISTS and isinstance(wrong, list):
        wrong = [*wrong, None]
    with pytest.raises(DistillkitError, match=f"^{name}: {first} = .* is needed") as refused:
        getattr(distillkit, name)(**given(name, **{first: wrong}))
    assert "\n" not in str(refused.value)


def test_nobody_to_hear_is_told_how():
    with pytest.raises(DistillkitError, match="say = None: a function is needed; leave it out, or use print"):
        distillkit.train("none.toml", say=None)


def test_who_needs_a_number_is_given_one():
    with pytest.raises(DistillkitError, match="atlas: most = '3': a whole number is needed"):
        distillkit.atlas("none/here", most="3")


def test_what_is_missing_is_said_by_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epochs'"):
        distillkit.train("none.toml", epochs=3)


def test_what_stands_for_a_type_is_taken():
    def asked(path: "str | Path", names: "list[str]", most: "int", share: "float | None", quick: "bool"): ...

    refuse_other_types(asked, "asked", {"path": PurePosixPath("a"), "names": ("b",), "most": np.int64(3)})
    refuse_other_types(asked, "asked", {"share": np.float32(0.5), "quick": np.True_, "names": {"b": 1}})
    refuse_other_types(asked, "asked", {"share": 1, "quick": 1, "names": []})
    refuse_other_types(lambda path: None, "asked", {"path": 5})


PLACES = {"root", "images", "texts", "classes", "class_names", "measure", "lists", "samples", "runtime_dir"}


@pytest.mark.parametrize("name", NAMES)
def test_places_may_be_paths(name):
    """Some were texts alone: the folder of a corpus, the stores of a new recipe."""
    for parameter in inspect.signature(function_of(name)).parameters.values():
        if parameter.name in PLACES and parameter.annotation != "float":  # split_corpus: a share of classes
            refuse_other_types(function_of(name), name, {parameter.name: Path("a")})


def test_what_scandir_gives_is_a_place(tmp_path):
    (tmp_path / "nothing").mkdir()
    for entry in os.scandir(tmp_path):
        with pytest.raises(DistillkitError, match=f"^{tmp_path}/nothing"):
            distillkit.store_info(entry)
        with pytest.raises(DistillkitError, match=f"^{tmp_path}/nothing"):
            distillkit.compare([entry])


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "device" in inspect.signature(function_of(name)).parameters]
)
def test_a_device_may_be_torchs_own(name):
    with pytest.raises(DistillkitError) as refused:
        getattr(distillkit, name)(**given(name, device=torch.device("cpu")))
    assert "device" not in str(refused.value)


def test_a_new_recipe_takes_paths(tmp_path):
    with pytest.raises(DistillkitError, match=f"^{tmp_path}/none"):
        distillkit.new_recipe(tmp_path / "new.toml", images=tmp_path / "none", texts=tmp_path / "none2", goal="dino")


def test_functions_travel_to_processes():
    assert pickle.loads(pickle.dumps(distillkit.view)) is distillkit.view  # noqa: S301
