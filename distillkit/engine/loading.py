"""The networks of a recipe's teachers, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping

from distillkit.callable import Say
from distillkit.engine.job import Teacher
from distillkit.recipe import Component
from distillkit.recipe.registry import resolve
from distillkit.recipe.spelled import spelled_knobs
from distillkit.system.progress import heard_by
from distillkit.system.wording import count
from distillkit.system.wording import network as called

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
    fingerprint = network.fingerprint()
    say(
        f"teacher {called(fingerprint['model'])}: loaded {count(fingerprint['tensors'], 'tensor')}, "
        f"sha256 {fingerprint['weights_sha256'][:16]}, {fingerprint['activation']}, {fingerprint['precision']}, "
        f"preprocessing {spelled_knobs(fingerprint['preprocess'])}"
    )
    return Teacher(network, fingerprint)
