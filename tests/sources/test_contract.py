"""What every source must do. A new kind is tested as soon as its file is there.

All it needs is tests/sources/test_<kind>.py with `example(folder) -> knobs`, which makes a small corpus below `folder`.
"""

import errno
import importlib
import inspect
import re
import shutil
from pathlib import Path

import pytest

from distillkit.errors import NotNow, SourceError
from distillkit.pixels import decode
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds
from distillkit.store.format.plan import make_plan
from distillkit.types import Sample, class_number
from tests.system.test_opening import no_handle_left


@pytest.fixture(params=kinds("sources"))
def component(request, tmp_path):
    example = importlib.import_module(f"tests.sources.test_{request.param}").example
    component = Component(kind=request.param, **example(tmp_path))
    component.check("sources", "source")
    return component


@pytest.fixture
def source(component):
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
        if isinstance(sample.image, Path):
            assert sample.image.is_relative_to(root)


def test_it_reads_the_locations_of_its_plan_and_nothing_outside_its_root(source, tmp_path):
    locations = [place for place in make_plan(source, source.root)[0]["image"].to_pylist() if place is not None]
    assert hasattr(source, "read") or not locations
    for location in locations:
        found = source.read(location)
        decode(found)
        assert isinstance(found, bytes) or found.is_relative_to(source.root)
    outside = tmp_path.parent / "outside.png"
    shutil.copy(next((path for path in tmp_path.rglob("*") if path.is_file()), __file__), outside)
    for location in ("../outside.png", str(outside), "", "a\0b", *(f"../outside.png{end}" for end in ("@0+4", "#0"))):
        if locations:
            with pytest.raises(SourceError):
                source.read(location)


def test_a_store_can_build_it_again_with_its_root(source):
    """Training finds the images through the store: by kind, knobs and root alone."""
    assert source.root is None or not hasattr(source, "read") or "root" in inspect.signature(type(source)).parameters


def test_its_keys_can_be_stored_and_shown(source):
    for sample in source:
        sample.key.encode()
        assert "\n" not in sample.key


def test_a_plan_can_be_made_of_it(source):
    plan, duplicates = make_plan(source, source.root)
    assert plan["key"].to_pylist() == [sample.key for sample in source] and duplicates == 0
    assert plan["text"].to_pylist() == [sample.text for sample in source]
    assert plan["label"].to_pylist() == [class_number(sample.label) for sample in source]


def test_no_image_is_to_blame_where_no_file_can_be_opened(component, source):
    """Else all images behind it would be failed samples, of which a run that seems to end well says little."""
    places = [place for place in make_plan(source, source.root)[0]["image"].to_pylist() if place is not None]
    for place in places:
        decode(source.read(place))
        anew = component.build("sources")  # nothing of it is open or kept
        for one, may_have_it in ((anew, False), (source, True)):
            try:
                with no_handle_left():
                    decode(one.read(place))
                assert may_have_it
            except NotNow as told:
                assert re.match(r"/.*: cannot be read now \(too many open files\).*; raise `ulimit -n`", str(told))


def test_no_corpus_is_to_blame_where_no_file_can_be_opened(component, source):
    """It is neither damaged nor absent, and nothing of it is passed over."""
    want, anew = list(source), component.build("sources")
    try:
        with no_handle_left():
            found = list(anew)
    except NotNow:
        return
    except OSError as error:  # told in a line, as what any command is refused
        assert error.errno == errno.EMFILE
        return
    assert found == want  # in memory
