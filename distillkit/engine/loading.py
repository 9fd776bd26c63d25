"""The networks of a recipe's teachers, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable

from distillkit.engine.job import Teacher
from distillkit.recipe import Component

Say = Callable[[str], None]
Teachers = dict[str, Teacher]  # by the name under which their fields are stored


def load(component: Component, say: Say) -> Teacher:
    """Load one; tells what was loaded."""
    say(f"teacher {component.knobs.get('model', component.kind)}: loading")
    network = component.build("teachers")
    fingerprint = network.fingerprint()
    say(
        f"teacher {fingerprint['model']}: loaded {fingerprint['tensors']}/{fingerprint['tensors']} tensors, "
        f"sha256 {fingerprint['weights_sha256'][:16]}, {fingerprint['activation']}, {fingerprint['precision']}, "
        f"preprocessing {fingerprint['preprocess']}"
    )
    return Teacher(network, fingerprint)
