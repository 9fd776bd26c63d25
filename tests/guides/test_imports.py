"""What our pages import exists, and stands at a door: the package itself, one of its rooms or files, or one kind."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from distillkit.recipe.registry import ROOMS

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("distillkit/**/*.md"),
    ROOT / "distillkit/__init__.py",
]
IMPORT = re.compile(r"^ *from (distillkit[\w.]*) import \(?([\w, ]+)\)?$|^ *import (distillkit[\w.]*)$", re.MULTILINE)
CALL = re.compile(r"\bdistillkit((?:\.[a-z_]\w*)+)\(")


def imports():
    """(page, module, name) of every import in a page; the name is empty where the module itself is imported."""
    return [
        (page.relative_to(ROOT).as_posix(), module or whole, name)
        for page in PAGES
        for module, names, whole in IMPORT.findall(page.read_text("utf-8"))
        for name in re.findall(r"\w+", names) or [""]
    ]


@pytest.mark.parametrize(("page", "module", "name"), imports())
def test_what_a_page_imports_exists_and_stands_at_a_door(page, module, name):
    place = module.split(".")[1:]
    assert len(place) <= 1 or (place[0] in ROOMS and len(place) == 2), (
        f"{page}: {module} is no door: users import from few places"
    )
    assert not name or hasattr(import_module(module), name)


def test_what_a_page_calls_by_its_full_name_exists():
    for page in PAGES:
        for path in CALL.findall(page.read_text("utf-8").replace("```toml", "")):
            thing = import_module("distillkit")
            for name in path.split(".")[1:]:
                thing = getattr(thing, name)
            assert callable(thing)


def test_the_front_door_is_what_it_says():
    package = import_module("distillkit")
    assert all(callable(getattr(package, name)) for name in package.__all__)
