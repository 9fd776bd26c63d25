"""Every function that is told a place takes `~`, `$NAME` and `{cache}` in it, as recipes and the other functions do."""

import inspect
from pathlib import Path

import pytest

import distillkit
from distillkit.errors import DistillkitError

# Of each function how it is called with a place where nothing is: what it says then names that place.
CALLS = {
    "FeatureStore": lambda call, at: call(at),
    "append": lambda call, at: call(at),
    "atlas": lambda call, at: call(at),
    "bench_model": lambda call, at: call([at]),
    "check": lambda call, at: call(at),
    "compare": lambda call, at: call([at]),
    "comparison": lambda call, at: call([at]),
    "embed": lambda call, at: call(at, ".", out="v.npy"),
    "evaluate": lambda call, at: call(at),
    "evaluate_teacher": lambda call, at: call(at, at),
    "export": lambda call, at: call(at, "onnx"),
    "export_store": lambda call, at: call(at, "out"),
    "extract": lambda call, at: call(at),
    "import_features": lambda call, at: call("clip_retrieval", at, "out"),
    "load_student": lambda call, at: call(at),
    "merge": lambda call, at: call("out", [at, at]),
    "mine": lambda call, at: call(at),
    "new_recipe": lambda call, at: call("new.toml", images=str(at), goal="image-tower"),
    "plan_claims": lambda call, at: call(at),
    "plan_extraction": lambda call, at: call(at),
    "plan_training": lambda call, at: call(at),
    "push": lambda call, at: call(at, "a/b"),
    "push_store": lambda call, at: call(at, "a/b"),
    "retry_changed": lambda call, at: call(at),
    "retry_failed": lambda call, at: call(at),
    "run_claims": lambda call, at: call(at),
    "search": lambda call, at: call(at, "a circle", within="."),
    "select_texts": lambda call, at: call(at),
    "show": lambda call, at: call(at),
    "split_corpus": lambda call, at: call(str(at)),
    "store_failures": lambda call, at: call(at),
    "store_info": lambda call, at: call(at),
    "store_precision": lambda call, at: call(at),
    "suggest_scale": lambda call, at: call(at),
    "teacher_precision": lambda call, at: call(at, "fp16"),
    "train": lambda call, at: call(at),
    "verify": lambda call, at: call(at),
    "view": lambda call, at: call(at, "out", rows="0:1"),
    "write_claims": lambda call, at: call([at], "page.md"),
    "write_evaluation": lambda call, at: call(at, "wise"),
}
# These are told no place, or have a test of their own below.
OTHERS = {
    "check_corpus",
    "copy_recipe",
    "explain_recipe",
    "list_corpora",
    "list_recipes",
    "prepare_demo",
    "show_corpus",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLACE", str(tmp_path / "home"))
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "home"))
    return tmp_path / "home"


def test_all_functions_are_asked():
    assert CALLS.keys() | OTHERS == set(distillkit.__all__)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_what_stands_for_a_place_is_replaced(name, home):
    for at in ("~/gone/x", Path("~/gone/x"), "$PLACE/gone/x", "{cache}/gone/x"):
        with pytest.raises((DistillkitError, FileNotFoundError)) as refused:
            found = CALLS[name](getattr(distillkit, name), at)
            list(found if inspect.isgenerator(found) else ())
        assert f"{home}/gone/x" in str(refused.value) and str(at) not in str(refused.value)
    assert not list(Path().glob("[~${]*"))


def test_what_is_written_lies_there_too(home, toy_stores):
    images = toy_stores / "out/images"
    distillkit.copy_recipe("demo/dime_fm", "~/recipes")
    assert distillkit.list_recipes("~/recipes") and list((home / "recipes").rglob("*.toml"))
    distillkit.view(images, "~/view", rows="0:10")
    assert distillkit.export_store("~/view", "$PLACE/npy") == 10 and (home / "npy").is_dir()
    assert distillkit.show("~/view", out="~/page.html") == home / "page.html"
    distillkit.merge("~/merged", [images])
    assert distillkit.verify("~/merged").good and distillkit.FeatureStore("~/merged").path == home / "merged"
    new = distillkit.new_recipe("~/new.toml", images="~/merged", goal="image-tower")
    assert new == home / "new.toml" and distillkit.check("~/new.toml")
    lines = [line for line, _ in distillkit.check_corpus("cifar10", "~/gone")]
    assert any(f"{home}/gone" in line for line in lines) and not any("~/gone" in line for line in lines)
    assert not list(Path().iterdir())
