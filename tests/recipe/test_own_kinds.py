"""A kind of one's own that lacks what its room wants is one line where it is built."""

import re
from pathlib import Path

import pytest
from torch import nn

from distillkit.errors import RecipeError
from distillkit.recipe import Component
from distillkit.recipe.own_kinds import WANTED
from distillkit.recipe.registry import ROOMS, kinds, resolve

ROOT = Path(__file__).parents[2]


class Rootless:
    def __iter__(self):
        return iter(())


class Takes:
    root = None

    def __init__(self, place, *, how: str = "well"):
        pass

    def __iter__(self):
        return iter(())


class Whole:
    def __init__(self, *, root: str | None = None):
        self.root = root

    def __iter__(self):
        return iter(())


class Unwritten(nn.Module):
    needs = ()

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight


class OfTexts(nn.Module):
    """A student that sees no images need not embed any."""

    image_size, widths = None, {"text": 3}

    def forward(self, batch):
        return None


class Given(nn.Module):
    """Its forward is chosen where it is made."""

    image_size, widths = None, {"text": 3}

    def __init__(self):
        super().__init__()
        self.forward = nn.Identity().forward


class Called(nn.Module):
    """It says itself what a call of it means, and leaves nothing to torch."""

    needs = ()

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight

    def __call__(self, batch, student):
        return student.image.mean()


class Prompted:
    """An eval that looks at no store but that of its prompts."""

    name, prompts = "prompted", "prompts"

    def run(self, encode, open_store):
        return {}


def built(name, room, *given):
    return Component(kind=f"tests.recipe.test_own_kinds:{name}").build(room, *given)


@pytest.mark.parametrize(
    ("name", "room", "given", "lacks"),
    [
        ("Rootless", "sources", (), "has no root, which one of sources must have"),
        ("Takes", "sources", (), "missing a required argument: 'place'"),
        ("Unwritten", "losses", ({},), "has no forward, which one of losses"),
        ("Whole", "evals", (), "has no name, no run"),
        ("Whole", "importers", ("a place",), "str from the run, then keywords alone"),
    ],
)
def test_what_it_lacks_is_named(name, room, given, lacks):
    with pytest.raises(RecipeError, match=re.escape(lacks)) as told:
        built(name, room, *given)
    assert str(told.value).startswith(f"{room}: kind 'tests.recipe.test_own_kinds:{name}'")
    assert "\n" not in str(told.value)


def test_what_has_all_is_built():
    assert built("Whole", "sources").root is None
    assert built("OfTexts", "students").widths == {"text": 3}


def test_what_its_room_can_ask_in_another_way_is_built():
    assert built("Given", "students")(3) == 3
    assert built("Called", "losses", {}).needs == ()
    assert built("Prompted", "evals").prompts == "prompts"


def test_every_room_of_the_page_is_asked_for_what_the_page_says():
    page = (ROOT / "docs/architecture.md").read_text("utf-8").partition("## Extension points")[2]
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert set(WANTED) == set(ROOMS) <= set(rows)
    for room, names in WANTED.items():
        assert [name for name in names if not re.search(rf"`{name}\b", rows[room])] == [], room


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"students", "losses", "exports"}))
def test_our_own_classes_have_what_is_wanted_of_others(room):
    for kind in kinds(room):
        its = resolve(room, kind)
        text = Path(ROOT / f"distillkit/{room}/{kind}.py").read_text("utf-8")
        wanted = [name for name in WANTED[room] if not hasattr(its, name) and f"self.{name}" not in text]
        assert wanted == [], kind
