"""A stranger's recipe is shown without importing what it names."""

import sys

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
