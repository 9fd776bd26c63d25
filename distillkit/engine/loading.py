"""The networks of a recipe's teachers, ready to be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distillkit.callable import Say
from distillkit.engine.job import Teacher
from distillkit.recipe import Component
from distillkit.recipe.registry import resolve
from distillkit.recipe.spelled import spelled_knobs
from distillkit.system.progress import heard_by
from distillkit.system.wording import count
from distillkit.system.wording import network as called
from distillkit.teachers._said import fingerprint_of

Teachers = dict[str, Teacher]  # by the name under which their fields are stored


def refuse_absent(components: Mapping[str, Component]) -> None:
    """TeacherError for any whose files are not there or whose name nobody knows, as far as that costs nothing to see.

    Asked of all before the first is loaded, which may take minutes and gigabytes.
    """
    for component in components.values():
        look = getattr(resolve("teachers", component.kind), "refuse_absent", None)
        if look is not None:
            look(**component.knobs)


def load_all(components: Mapping[str, Component], say: Say) -> Teachers:
    """Load these, once it is known that none of them is missing."""
    refuse_absent(components)
    return {alias: load(component, say) for alias, component in components.items()}


def load(component: Component, say: Say) -> Teacher:
    """Load one; tells what was loaded."""
    say(f"teacher {called(component.knobs.get('model', component.kind))}: loading")
    with heard_by(say):
        network = component.build("teachers")
    fingerprint = fingerprint_of(network, component.kind)
    say(f"teacher {called(fingerprint['model'])}: loaded {', '.join(_facts(fingerprint))}")
    return Teacher(network, fingerprint)


def _facts(told: Mapping[str, Any]) -> Iterator[str]:
    """What a line says of a fingerprint: one of somebody's own may have less than ours."""
    if isinstance(told.get("tensors"), int):
        yield count(told["tensors"], "tensor")
    if "weights_sha256" in told:
        yield f"sha256 {told['weights_sha256'][:16]}"
    else:
        yield "without weights_sha256 in its fingerprint: with other weights it would count as the same teacher"
    yield from (str(told[name]) for name in ("activation", "precision") if name in told)
    if "preprocess" in told:
        yield f"preprocessing {spelled_knobs(told['preprocess'])}"
