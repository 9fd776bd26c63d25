"""The weighted sum of a recipe's losses; every term keeps its name in the log, the errors and the checkpoint."""

from __future__ import annotations

from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError, TrainError
from distillkit.recipe import Component
from distillkit.types import Batch, Features, Widths


class Objective(nn.Module):
    """Built from the `[[losses]]` of a recipe. Heads and learned scales of the losses are its parameters."""

    def __init__(self, components: list[Component], widths: Widths):
        super().__init__()
        self.terms = nn.ModuleDict()
        for component in components:
            loss = component.build("losses", widths)
            _check_needs(loss, component, widths)
            name = loss.name or component.kind
            if name in self.terms:
                raise RecipeError(f"losses: two terms are called {name!r}; give one of them another `name`")
            self.terms[name] = loss

    def forward(self, batch: Batch, student: Features) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total, and every unweighted term by name. Computed in float32 even under autocast."""
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            terms = {name: loss(batch, student) for name, loss in self.terms.items()}
        total = torch.stack([self.terms[name].weight * value for name, value in terms.items()]).sum()
        return total, terms


def refuse_nan(terms: dict[str, Tensor], step: int, keys: tuple[str, ...]) -> NoReturn:
    """TrainError that names the terms that are not finite, the step, and the first keys of its batch."""
    bad = [f"{name} = {value.item()}" for name, value in terms.items() if not torch.isfinite(value)]
    raise TrainError(f"step {step}: {', '.join(bad)}; lower optim.lr, or look at the rows of {', '.join(keys[:4])}, ...")


def _check_needs(loss: nn.Module, component: Component, widths: Widths) -> None:
    for need in loss.needs:
        side, field = need.split(".")
        if field not in getattr(widths, side):
            have = ", ".join(sorted(getattr(widths, side))) or "nothing"
            hint = "extract that field, or set data.texts / data.captions" if side == "teacher" else "choose another student"
            raise RecipeError(f"losses.{component.kind} needs {need}, the {side} gives {have}; {hint}")
