"""What a drafted recipe measures: as much as its stores are enough for."""

from __future__ import annotations

from typing import Any

from distillkit.drafting.material import Material

Knobs = dict[str, Any]
Remarked = tuple[str, Knobs]


def evals(material: Material, *, joint: bool = True) -> list[Remarked]:
    """What the stores are enough to measure, the headline first; `joint`: of a student in the teacher's joint space."""
    store, found = material.measured or material.images, list[Remarked]()
    if joint and material.classes:
        names = {"classes": material.class_names} if material.class_names else {}
        found.append(("the right class", {"kind": "zero_shot", "store": store, "prompts": material.classes, **names}))
    if joint and material.captions_of(store):
        found.append(("captions find their images, images their captions", {"kind": "retrieval", "store": store}))
    if material.measured and all(map(material.labelled, (material.images, store))):
        found.append(("the class of the nearest images", {"kind": "knn", "train": material.images, "store": store}))
    if {"image", "cls"} & material.fields_of(store):
        found.append(("how like the teacher", {"kind": "agreement", "store": store}))
    return found
