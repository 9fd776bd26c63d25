"""What every source must do. A new kind is tested as soon as its file is there.

All it needs is tests/sources/test_<kind>.py with `example(folder) -> knobs`, which makes a small corpus below `folder`.
"""

import importlib
from pathlib import Path

import pytest

from distillkit.pixels import decode
from distillkit.recipe import Component
from distillkit.registry import kinds
from distillkit.store.plan import make_plan
from distillkit.types import Sample


@pytest.fixture(params=kinds("sources"))
def source(request, tmp_path):
    example = importlib.import_module(f"tests.sources.test_{request.param}").example
    component = Component(kind=request.param, **example(tmp_path))
    component.check("sources", "source")
    return component.build("sources")


def test_it_yields_samples_with_unique_keys(source):
    samples = list(source)
    keys = [sample.key for sample in samples]
    assert samples and all(type(sample) is Sample for sample in samples)
    assert all(type(key) is str and key for key in keys) and len(set(keys)) == len(keys)
    assert all(sample.image is not None or sample.text is not None for sample in samples)


def test_it_can_be_read_twice_and_is_the_same(source):
    assert list(source) == list(source)


def test_two_readers_do_not_disturb_each_other(source):
    one, other = iter(source), iter(source)
    next(one)
    assert [next(one, None), *one] == list(source)[1:] or len(list(source)) == 1
    assert list(other) == list(source)


def test_its_images_lie_below_its_root(source):
    root = source.root
    assert root is None or (isinstance(root, Path) and root.is_absolute())
    for sample in source:
        if sample.image is not None:
            assert sample.image.is_relative_to(root)
            decode(sample.image)


def test_its_keys_can_be_stored_and_shown(source):
    for sample in source:
        sample.key.encode()
        assert "\n" not in sample.key


def test_a_plan_can_be_made_of_it(source):
    plan, duplicates = make_plan(source, source.root)
    assert plan["key"].to_pylist() == [sample.key for sample in source] and duplicates == 0
    assert plan["text"].to_pylist() == [sample.text for sample in source]
    assert plan["label"].to_pylist() == [sample.label for sample in source]
