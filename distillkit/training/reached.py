"""What a step's losses reach: a term that cannot move the student, and weights that no term moves, are told once.

Of one's own losses and students: a value that went through `.item()` or numpy, a head whose answer nobody asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.system.wording import several
from distillkit.types import Features

_CURE = "keep what it computes of the student in torch, without .item(), .detach() or numpy"
_SHOWN = 4  # parts of a student that are named


def features_of(student: Any, said: Any) -> Features:
    """What a student's forward gave. RecipeError where it is no Features, or not as wide as the student says."""
    where = f"students: {type(student).__name__}.forward gives"
    if not isinstance(said, Features):
        raise RecipeError(f"{where} {type(said).__name__}; let it return distillkit.types.Features")
    for name, width in student.widths.items():
        value = getattr(said, name, None)
        if isinstance(value, Tensor) and value.ndim and value.shape[-1] != width:
            raise RecipeError(
                f"{where} {name!r} as {list(value.shape)}, where its `widths` say [..., {width}]; mend its forward, or "
                "its widths"
            )
    return said


def moving(total: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
    """The total again. RecipeError where it can move nothing: no term comes of anything that is trained."""
    if not total.requires_grad:
        names = ", ".join(terms)
        raise RecipeError(f"losses.{names}: has no gradient, so there is nothing to train by; {_CURE}")
    return total


def unmoved_by(terms: Mapping[str, Tensor], seen: Features) -> list[str]:
    """A line for each term that is not made of what the student said, by autograd's own graph: nothing is computed."""
    said = {node for value in _tensors(seen) if (node := _node(value)) is not None}
    return [
        f"{name}: does not reach the student, which learns nothing from it; {_CURE}"
        for name, value in terms.items()
        if said and not _leads_to(_node(value), said)
    ]


def unreached(whose: str, model: nn.Module) -> list[str]:
    """After a backward pass, a line on weights that are to be trained and that no term reached; none where all were."""
    # A single number, such as a scale, and the token of masked batches wait in students for losses that ask for them.
    trained = {
        name: one
        for name, one in model.named_parameters()
        if one.requires_grad and one.ndim and not name.endswith("mask_token")
    }
    without = {name: one.numel() for name, one in trained.items() if one.grad is None}
    if not without:
        return []
    parts = _parts(without, [name for name in trained if name not in without])
    named = ", ".join(parts[:_SHOWN]) + (f" and {len(parts) - _SHOWN} more" if parts[_SHOWN:] else "")
    numbers = several(sum(without.values()), "learned number(s)")
    return [f"{whose}: no term reaches {numbers} ({named}) at step 1: what no term reaches stays as it began"]


def _parts(without: Mapping[str, int], reached: list[str]) -> list[str]:
    """Names of the largest parts that hold only weights that nothing reaches, in order."""
    alive = {name[:end] for name in reached for end, letter in enumerate(name) if letter == "."}
    found = []
    for name in without:
        ends = [end for end, letter in enumerate(name) if letter == "."]
        found.append(next((name[:end] for end in ends if name[:end] not in alive), name))
    return list(dict.fromkeys(found))


def _tensors(seen: Features) -> list[Tensor]:
    values = [getattr(seen, name) for name in Features.__dataclass_fields__]
    return [value for value in values if isinstance(value, Tensor)]


def _node(value: Tensor) -> Any:
    """Where a tensor stands in the graph; of a leaf, where its gradient is gathered."""
    return torch.autograd.graph.get_gradient_edge(value).node if value.requires_grad else None


def _leads_to(start: Any, ends: set[Any]) -> bool:
    waiting, seen = [start], set()  # of the nodes: one that nobody holds may leave its id to another
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node in ends:
            return True
        seen.add(node)
        waiting += [one for one, _ in node.next_functions]
    return False
