"""The weighted sum of a recipe's losses; every term keeps its name in the log, the errors and the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.losses._heads import LearnedScale
from distillkit.losses._products import Rounded
from distillkit.pixels.mixing import neighbours
from distillkit.recipe import Ramp, Term
from distillkit.types import Batch, Features, Widths

# Teacher features with a row for each image.
_OF_IMAGES = ("image", "caption", "cls", "patches", "logits", "classes", "label")
_SLIGHT = 0.01  # of the total


class Objective(nn.Module):
    """Built from the `[[losses]]` of a recipe. Heads and learned scales of the losses are its parameters.

    A head that a loss names in `shared` is one for all terms with such a head: the first owns it, the others borrow it.
    `mixed`: images will be mixed, so a term must be true of mixed targets, which is what its `takes_mixed` says.
    `rounded`: matrices are multiplied in bfloat16 (losses/_products.py).
    """

    def __init__(self, components: list[Term], widths: Widths, *, mixed: bool = False, rounded: bool = False):
        super().__init__()
        self.rounded = rounded
        self.terms = nn.ModuleDict()
        self.needs: set[str] = set()  # every feature that some term reads
        self.teachers: dict[str, str | None] = {}  # whom a term learns from, where not from the main teacher
        self.ramps: dict[str, dict[str, tuple[Ramp, float]]] = {}
        heads: dict[str, nn.Module] = {}
        for component in components:
            # What weighs nothing costs nothing, and needs nothing.
            if component.knobs.get("weight") == 0 and "weight" not in component.ramp:
                continue
            teacher = widths.teacher if component.teacher is None else widths.others[component.teacher]
            named = (("student", widths.student), ("teacher", teacher))
            one, other = (_Fields(fields, side, component.kind) for side, fields in named)
            asked = Widths(one, other)
            loss = component.build("losses", asked)
            for need in loss.needs:
                side, field = need.split(".")
                _ = getattr(asked, side)[field]
            of = f"{component.teacher or 'teacher'}."
            self.needs |= {
                of + need.removeprefix("teacher.") if need.startswith("teacher.") else need for need in loss.needs
            }
            _share_heads(loss, heads, of)
            name = loss.name or component.kind.rpartition(":")[2]
            if "." in name or not name:
                raise RecipeError(f"losses: a term cannot be called {name!r}; choose a `name` without dots")
            if name in self.terms:
                raise RecipeError(f"losses: two terms are called {name!r}; give one of them another `name`")
            if mixed and not getattr(loss, "takes_mixed", False):
                raise RecipeError(
                    f"losses.{name}: data.augment mixes images, and no teacher has said anything of mixed ones; mixup "
                    'and cutmix go with label_kd, one_hot, contrastive or affinity of texts with directions = "rows"'
                )
            self.terms[name] = loss
            self.teachers[name] = component.teacher
            self.ramps[name] = {knob: (ramp, _number(loss, knob, name)) for knob, ramp in component.ramp.items()}
        if not self.terms:
            raise RecipeError("losses: every term has weight 0; give one of them a weight")

    def at(self, step: int) -> None:
        """Set the knobs that move during training to what they are at `step`."""
        for name, ramps in self.ramps.items():
            for knob, (ramp, value) in ramps.items():
                setattr(self.terms[name], knob, ramp.at(step, value))

    def capped(self) -> list[str]:
        """A line for each term whose learned factor of cosines starts above what it may be."""
        found = {
            name: [one for one in term.modules() if isinstance(one, LearnedScale)] for name, term in self.terms.items()
        }
        return [
            f"{name}: logit_scale = {one.start:g} is above 100, the most that a learned factor may be: it trains at 100"
            for name, several in found.items()
            for one in several
            if one.capped
        ]

    def remarks(self, batch: Batch) -> list[str]:
        """What terms have to tell of the teacher's targets, a line each: suggest-scale has more."""
        able: dict[str, Any] = {name: term for name, term in self.terms.items() if hasattr(term, "remark")}
        said = {name: term.remark(self._seen(name, batch)) for name, term in able.items()}
        return [f"{name}: {line}; see distillkit suggest-scale" for name, line in said.items() if line]

    def slight(self, terms: Mapping[str, Tensor]) -> list[str]:
        """Of the first step, a line for each term that hardly weighs: beside others it teaches next to nothing. One
        whose weight moves, or that is 0 so far, may be meant to.
        """
        able: dict[str, Any] = dict(self.terms.items())
        weights = {name: float(able[name].weight) for name in terms}
        parts = {name: abs(weights[name] * float(value.detach())) for name, value in terms.items()}
        whole = sum(parts.values())
        return [
            f"{name}: {100 * part / whole:.2g}% of the total loss at step 1; to let it teach more, raise its weight "
            f"([[losses]], {weights[name]:g} now)"
            for name, part in parts.items()
            if 0 < part < _SLIGHT * whole and "weight" not in self.ramps[name]
        ]

    def forward(self, batch: Batch, student: Features) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total, and every unweighted term by name. Computed in float32 even under autocast.

        Of mixed images, a term is that of their own targets and that of their neighbours', by their shares: that of
        mixed targets, but for a constant where targets are distributions.
        """
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False), Rounded(self.rounded):
            terms = self._values(batch, student)
            if batch.own_share < 1:
                others = self._values(_told_of_neighbours(batch), student)
                share = batch.own_share
                terms = {name: share * value + (1 - share) * others[name] for name, value in terms.items()}
        total = torch.stack([self.terms[name].weight * value for name, value in terms.items()]).sum()
        return total, terms

    def _values(self, batch: Batch, student: Features) -> dict[str, Any]:
        return {name: _scalar(name, loss(self._seen(name, batch), student)) for name, loss in self.terms.items()}

    def _seen(self, name: str, batch: Batch) -> Batch:
        """The batch as a term sees it: its teacher is the one it learns from."""
        teacher = self.teachers[name]
        return batch if teacher is None else replace(batch, teacher=batch.others[teacher])


def _scalar(name: str, value: Any) -> Tensor:
    """What a term of anybody's gave, which must be one real number that gradients may come through."""
    if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
        return value
    given = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise RecipeError(f"losses.{name}: its forward gives {given}; let it return a scalar tensor, such as x.mean()")


def _told_of_neighbours(batch: Batch) -> Batch:
    """The same images, with what is known of each one's neighbour."""

    def told(said: Features) -> Features:
        rows = {name: getattr(said, name) for name in _OF_IMAGES}
        return replace(said, **{name: neighbours(value) for name, value in rows.items() if value is not None})

    return replace(
        batch,
        match=None if batch.match is None else neighbours(batch.match),
        teacher=told(batch.teacher),
        others={name: told(said) for name, said in batch.others.items()},
    )


def _number(loss: nn.Module, knob: str, name: str) -> float:
    value = getattr(loss, knob, None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"losses.{name}: ramp of {knob!r}, which is no number that can change (it is {value!r})")
    return value


class _Fields(dict[str, int]):
    """The widths of one side. To ask for a field that is not there is a RecipeError that names the loss."""

    def __init__(self, fields: Mapping[str, int], side: str, kind: str):
        super().__init__(fields)
        self.side, self.kind = side, kind

    def __missing__(self, field: str) -> NoReturn:
        have = ", ".join(sorted(self)) or "nothing"
        hint = "choose another student"
        if field in ("cls", "patches"):
            hint = "set student.tokens = true, where it is a vision transformer, or choose another student"
        if self.side == "teacher":
            hint = "extract that field, or set data.texts / data.captions"
            if field == "scale":  # nothing that could be extracted: the network was trained without one
                knob = "teacher_scale" if self.kind == "interactive" else "logit_scale"
                hint = f"it has no logit scale of its own: set {knob} to a number, see distillkit suggest-scale STORE"
        if field == "label":
            hint = "set data.labels = true"
        raise RecipeError(f"losses.{self.kind} needs {self.side}.{field}, the {self.side} gives {have}; {hint}")


def _share_heads(loss: nn.Module, heads: dict[str, nn.Module], teacher: str) -> None:
    """Borrowed heads are no submodules of the borrower: parameters and checkpoints hold each head once."""
    for role in getattr(loss, "shared", ()):
        own = getattr(loss, role)
        head = heads.setdefault(f"{teacher} {role} {own}", own)
        if head is not own:
            delattr(loss, role)
            object.__setattr__(loss, role, head)
