"""What is measured, with what, and where images lie by now: the recipe of `distillkit evaluate --eval FILE.toml`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from distillkit.recipe.component import Component
from distillkit.recipe.schema import Strict


class Evaluation(Strict):
    """How networks are run when they are measured."""

    batch_size: int = Field(128, gt=0, description="images in a batch")
    workers: int | None = Field(None, gt=0, description="threads that decode images; those of [data], if not given")
    autocast: bool = Field(False, description="compute in half precision; results differ in about the third digit")


class EvalRecipe(Strict):
    """Evals on any stores, in place of those of the run's recipe. What is not given is as in that recipe."""

    name: str | None = Field(None, description="of this evaluation")
    note: str | None = Field(None, description="text that is shown in the report")
    device: str | None = Field(None, description='"cpu", "cuda", "cuda:1"; "auto": a GPU if there is one')
    roots: dict[str, str] = Field(
        default_factory=dict, description="where the images of a store lie now, if they were moved: { STORE = FOLDER }"
    )
    evaluation: Evaluation | None = Field(
        None, description="how networks are run; as the run's recipe says, if not given"
    )
    evals: list[Component] = Field(min_length=1, description="what is measured: tables with kinds of evals")

    @model_validator(mode="after")
    def _components(self) -> Self:
        for number, component in enumerate(self.evals):
            component.check("evals", f"evals[{number}]")
        return self
