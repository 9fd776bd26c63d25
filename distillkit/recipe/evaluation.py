"""What is measured, with what, and where images lie by now: the recipe of `distillkit evaluate --eval FILE.toml`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from distillkit.recipe.component import Component
from distillkit.recipe.schema import Strict


class Evaluation(Strict):
    """How students are run when they are measured. `autocast`: half precision; the third digit of numbers differs."""

    batch_size: int = Field(128, gt=0, description="images at once")
    workers: int | None = Field(None, gt=0, description="threads that decode; None: those of [data]")
    autocast: bool = False


class EvalRecipe(Strict):
    """Evals on any stores. What is left out is the run's: `device`, `roots` (where images lie by now, by store)."""

    name: str | None = Field(None, description="of the evaluation")
    note: str | None = Field(None, description="shown in the report")
    device: str | None = None
    roots: dict[str, str] = Field(default_factory=dict)
    evaluation: Evaluation | None = None
    evals: list[Component] = Field(min_length=1, description="what is measured, kinds of evals")

    @model_validator(mode="after")
    def _components(self) -> Self:
        for number, component in enumerate(self.evals):
            component.check("evals", f"evals[{number}]")
        return self
