"""What of a network a file of weights can keep: its state_dict, of tensors whose names and shapes it is built with.

A run that goes on, and whoever opens a student, builds it anew and loads that. What is made later, or is no tensor, is
lost on the way, or keeps the file from being opened.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from distillkit.errors import RecipeError

Shapes = dict[str, torch.Size | None]  # None: of a lazy module, which has not seen anything yet


def shapes_of(model: nn.Module) -> Shapes:
    """Of all that its state_dict has by now."""
    return {
        name: None if is_lazy(value) else value.shape
        for name, value in model.state_dict(keep_vars=True).items()
        if isinstance(value, Tensor)
    }


def refuse_grown(model: nn.Module, before: Shapes, whose: str) -> None:
    """RecipeError where a forward has given a network tensors, or sizes, that it was not built with."""
    now = shapes_of(model)
    for name, shape in now.items():
        if name not in before:
            raise RecipeError(
                f"{whose}: {name!r} is made in a forward, too late to be trained, and for checkpoints and "
                "weights to be opened; make it in __init__"
            )
        if before[name] not in (None, shape):
            raise RecipeError(
                f"{whose}: {name!r} goes from {_told(before[name])} to {_told(shape)} in a forward, so that no "
                "checkpoint or file of weights could be opened; give it one shape in __init__"
            )
    for name in before.keys() - now.keys():
        raise RecipeError(f"{whose}: {name!r} is gone after a forward, so nothing could open its weights; keep it")


def refuse_unkept(model: nn.Module, whose: str) -> None:
    """RecipeError where a network has state that no file of tensors holds, or weights that no optimiser here moves."""
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise RecipeError(
                f"{whose}: {name!r} is a {type(value).__name__}, as get_extra_state gives it, and files of weights "
                "hold tensors alone; return a tensor, or register a buffer"
            )
        if is_lazy(value):
            raise RecipeError(
                f"{whose}: {name!r} has no shape until a first forward; make it of a size that is known, as widths "
                "tells losses"
            )
        if value.is_complex() and value.requires_grad:
            raise RecipeError(
                f"{whose}: {name!r} is complex, and optimisers here move real numbers; keep real and imaginary parts "
                "as the last axis of a real one, and use torch.view_as_complex"
            )


def _told(shape: torch.Size | None) -> str:
    return " x ".join(map(str, shape or ())) or "a number"
