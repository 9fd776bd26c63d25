"""pipelines/claims/NAME.toml: which students a paper's claims need, how they are measured, and the claims."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from distillkit.errors import RecipeError
from distillkit.recipe import Component
from distillkit.recipe.schema import Strict, validate
from distillkit.system.record import digest
from distillkit.system.wording import count


class Step(Strict):
    """What has to be there before any arm: a command of distillkit's, without its name.

    `makes`: what lies there when it is done, for commands that cannot tell this themselves.
    """

    run: str
    makes: str | None = None


class Arm(Strict):
    """A student: a recipe and `--set` lines, trained once for each seed. `about`: who it is, in a sentence.

    `baseline`: the recipe's baseline, as a student of its own. `replace`: beginnings of strings of the recipe, and of
    the evals, by what stands there instead, as other stores. `{run:NAME}` in a line is the run of another arm with the
    same seed, which is trained before.
    """

    name: str = Field(pattern=r"^\w[\w.+-]*$")
    about: str = ""
    recipe: str
    lines: list[str] = Field(default_factory=list, alias="set")
    baseline: bool = False
    replace: dict[str, str] = Field(default_factory=dict)


class Curve(Strict):
    """Arms in the order of `x`, drawn as one curve of a claim's measure. A claim may have several."""

    name: str
    arms: list[str] = Field(min_length=2)
    x: list[float]

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.x) != len(self.arms):
            raise ValueError(f"{count(len(self.arms), 'arm')} stand over {count(len(self.x), 'value')} of x")
        return self


class Claim(Strict):
    """`better`: pairs of arms, the first of each better than the second `on` "eval.measure" by more than `by`; with a
    `by` below 0 that is "no worse than". All pairs must hold. `order`: arms by what the paper measured, as a rank
    correlation above 0 over what each is better than the arm `than`. `waits`: what is lacking before it can be run.
    `remark`: why it may not hold, written when the verdict was known; the page has it where the claim does not hold.
    """

    text: str
    on: str
    better: list[Annotated[tuple[str, str], Field(strict=False)]] = Field(default_factory=list)
    by: float = 0.0
    order: dict[str, float] = Field(default_factory=dict)
    than: str | None = None
    curves: list[Curve] = Field(default_factory=list)
    across: str = Field("", description="what the curves' x is")
    waits: str | None = None
    remark: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.waits is None and bool(self.better) == bool(self.order):
            raise ValueError("a claim has either `better`, pairs of arms, or `order` with `than`; write one of them")
        if self.order and (self.than is None or len(self.order) < 3):
            raise ValueError("`order` needs three arms or more, and `than`, an arm that all of them are better than")
        if "." not in self.on:
            raise ValueError(f'on = "{self.on}" is no "eval.measure"')
        return self

    @property
    def eval(self) -> str:
        return self.on.partition(".")[0]

    @property
    def measure(self) -> str:
        return self.on.partition(".")[2]

    @property
    def arms(self) -> list[str]:
        """Every arm that it speaks of."""
        spoken = [*(name for pair in self.better for name in pair), *self.order, *([self.than] if self.than else [])]
        return list(dict.fromkeys([*spoken, *(name for curve in self.curves for name in curve.arms)]))


class Quick(Strict):
    """The same in minutes, which shows that it runs and not what holds.

    `most`: numbers of every recipe are cut to these, by their place as in `--set`. `replace`: as an arm's, in all
    recipes and evals. `before`: the steps instead of the others.
    """

    seeds: list[int] = Field(default=[0], min_length=1)
    most: dict[str, float] = Field(default_factory=dict)
    replace: dict[str, str] = Field(default_factory=dict)
    before: list[Step] = Field(default_factory=list)


class Scale(Strict):
    """The paper's own size: which recipe, extraction and corpora, how many `images` and `texts` the teacher sees, and
    what one costs it in 10^9 multiply-accumulates.
    """

    recipe: str
    extraction: str
    corpora: list[str] = Field(min_length=1)
    images: int = Field(gt=0)
    texts: int = Field(ge=0)
    teacher_image_gmacs: float = Field(gt=0)
    teacher_text_gmacs: float = Field(ge=0)


class ClaimsFile(Strict):
    """One paper's claims. `lines` hold for every arm."""

    name: str = Field(pattern=r"^\w[\w-]*$")
    title: str
    paper: str
    seeds: list[int] = Field(min_length=1)
    lines: list[str] = Field(default_factory=list, alias="set")
    before: list[Step] = Field(default_factory=list)
    evals: list[Component] = Field(min_length=1)
    arms: list[Arm] = Field(min_length=2)
    claims: list[Claim] = Field(min_length=1)
    quick: Quick = Quick()
    scale: Scale | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [arm.name for arm in self.arms]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two arms are called {twice!r}")
        for place, seeds in (("seeds", self.seeds), ("quick.seeds", self.quick.seeds)):
            again = next((seed for seed in seeds if seeds.count(seed) > 1), None)
            if again is not None:
                raise ValueError(f"{place}: {again} is listed twice; name each seed once")
        for number, component in enumerate(self.evals):
            component.check("evals", f"evals[{number}]")
        evals = [str(component.knobs.get("name", component.kind)) for component in self.evals]
        for number, claim in enumerate(self.claims):
            for name in claim.arms:
                if name not in names:
                    raise ValueError(f"claims[{number}]: no arm {name!r}; there are: {', '.join(names)}")
            if claim.waits is None and claim.eval not in evals:
                raise ValueError(f"claims[{number}]: no eval {claim.eval!r}; there are: {', '.join(evals)}")
        return self

    @property
    def asks(self) -> str:
        """A digest of all that verdicts hang on: not of words about it, of seeds, nor of other sizes."""
        words: Any = {"claims": {"__all__": {"remark"}}, "arms": {"__all__": {"about"}}}
        words |= dict.fromkeys(("title", "paper", "seeds", "quick", "scale"), True)
        return digest(self.model_dump(mode="json", exclude=words, exclude_defaults=True))

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


def read_claims(path: Path) -> ClaimsFile:
    """RecipeError, in one line, for what is no such file."""
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be read ({error.strerror}); name a file as pipelines/claims/dimefm.toml"
        ) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, digits or brackets without an end
        raise RecipeError(f"{path}: not TOML: {error}; mend that place of the file") from error
    if "claims" not in content:
        raise RecipeError(f"{path}: has no [[claims]]; files of claims lie in pipelines/claims/")
    return validate(ClaimsFile, content, str(path))
