"""The folder is the registry."""

import subprocess
import sys
from pathlib import Path

import pytest

import distillkit
from distillkit.errors import RecipeError
from distillkit.recipe import registry
from distillkit.recipe.registry import ROOMS, kinds, resolve


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Write a module that is importable for a while."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package with one room, `losses`, in place of distillkit's own."""
    (tmp_path / "losses").mkdir()
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "recipe" / "registry.py"))
    monkeypatch.setattr(sys.modules["distillkit"], "__path__", [str(tmp_path), *distillkit.__path__])
    monkeypatch.delitem(sys.modules, "distillkit.losses", raising=False)
    for name in [name for name in sys.modules if name.startswith("distillkit.losses.")]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "losses/__init__.py").write_text("")
    yield tmp_path / "losses"
    for name in [name for name in sys.modules if name.startswith("distillkit.losses")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ROOMS)
def test_every_file_of_a_room_is_a_kind_with_one_public_class(name):
    files = {path.stem for path in (Path(distillkit.__file__).parent / name).glob("[!_]*.py")}
    assert set(kinds(name)) == files and files
    for kind in files:
        assert isinstance(resolve(name, kind), type)


def test_listing_imports_nothing():
    code = (
        "import sys; from distillkit.recipe.registry import kinds; assert 'retrieval' in kinds('evals'); "
        "print([name for name in sys.modules if name.startswith('distillkit.evals')])"
    )  # in a process of its own: modules that are imported a second time have other classes
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_files_that_start_with_an_underscore_are_no_kinds():
    assert not [kind for kind in kinds("losses") if kind.startswith("_")]
    with pytest.raises(RecipeError, match="unknown kind '_score'"):
        resolve("losses", "_score")


def test_an_unknown_kind_is_answered_with_the_nearest_and_all():
    with pytest.raises(RecipeError) as caught:
        resolve("sources", "foldr")
    assert (
        "sources: unknown kind 'foldr', did you mean 'folder'? (there are: class_prompts, csv, datasets, folder"
        in str(caught.value)
    )
    with pytest.raises(RecipeError, match=r"unknown kind 'zzz' \(there are: "):
        resolve("sources", "zzz")


@pytest.mark.parametrize("kind", ["", "folder.py", "../folder", "Folder", "folder "])
def test_only_the_name_itself_is_a_kind(kind):
    with pytest.raises(RecipeError, match="sources: unknown kind"):
        resolve("sources", kind)


def test_a_file_is_enough_to_make_a_kind(room):
    (room / "mine.py").write_text("class _Part: ...\nclass Mine(_Part): ...\n")
    assert kinds("losses") == ["mine"] and resolve("losses", "mine").__name__ == "Mine"


@pytest.mark.parametrize(("text", "held"), [("class A: ...\nclass B: ...", "A, B"), ("class _A: ...", "none")])
def test_a_file_with_another_number_of_public_classes_is_no_kind(room, text, held):
    (room / "mine.py").write_text(text)
    with pytest.raises(RecipeError, match=rf"losses/mine\.py must hold exactly one public class, it holds: {held}$"):
        resolve("losses", "mine")


def test_imported_classes_do_not_count(room):
    (room / "mine.py").write_text("from pathlib import Path\nclass Mine: ...\n")
    assert resolve("losses", "mine").__name__ == "Mine"


def test_classes_outside_the_package_are_found(outside):
    outside("strange.deep.mod", "class Mine:\n    def __init__(self, *, knob: int = 1): ...\n")
    assert resolve("losses", "strange.deep.mod:Mine").__module__ == "strange.deep.mod"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("strange_absent:Mine", "cannot import 'strange_absent' for kind 'strange_absent:Mine'"),
        ("strange:Other", "'strange' has no 'Other'"),
        ("strange:VALUE", "'strange:VALUE' is not a class"),
        ("strange:", "is not of the form 'package.module:Class'"),
        (":Mine", "is not of the form 'package.module:Class'"),
        (".strange:Mine", "is not of the form 'package.module:Class'"),
        ("a..b:Mine", "is not of the form 'package.module:Class'"),
        ("strange:Mine:x", "is not of the form 'package.module:Class'"),
    ],
)
def test_what_cannot_be_found_outside_is_one_line(outside, kind, message):
    outside("strange", "VALUE = 1\nclass Mine: ...\n")
    with pytest.raises(RecipeError) as caught:
        resolve("losses", kind)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_bug_in_a_module_outside_keeps_its_traceback(outside):
    outside("strange", "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        resolve("losses", "strange:Mine")
