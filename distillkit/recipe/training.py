"""The recipe of stage 2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from distillkit.recipe.component import Component, Term
from distillkit.recipe.data import Captions, Data
from distillkit.recipe.derived import without_texts
from distillkit.recipe.evaluation import EvalRecipe, Evaluation
from distillkit.recipe.schema import MOST, Part, Strict
from distillkit.system.paths import expand


class Optim(Strict):
    """Optimiser and learning rate: linear warm-up, then `schedule`. Defaults: DIME-FM's training code.

    multistep: times `gamma` at each of `milestones` (epochs). onecycle: Smith and Topin, https://arxiv.org/abs/1708.07120,
    from lr/25 up to lr at 30 % and down to lr/250,000, without warm-up. `every = "epoch"` moves the rate once an epoch.
    """

    kind: Literal["adamw", "sgd"] = Field("adamw", description="the optimiser")
    schedule: Literal["cosine", "multistep", "onecycle", "constant"] = Field(
        "cosine", description="how the learning rate falls after the warm-up"
    )
    every: Literal["step", "epoch"] = "step"
    milestones: list[Annotated[float, Field(ge=0)]] = Field(default_factory=list)
    gamma: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    layer_decay: float = Field(1.0, gt=0, le=1, description="lr of each block further from the output, times this")
    epochs: float = Field(gt=0, le=MOST, description="passes over the images")
    lr: float = Field(8e-4, gt=0, description="the highest learning rate")
    min_lr: float = Field(4e-5, ge=0, description="where the learning rate ends, of a cosine")
    warmup_lr: float = Field(4e-6, ge=0, description="where the warm-up begins")
    warmup_epochs: float = Field(4.0, ge=0, le=MOST, description="how long the learning rate rises")
    weight_decay: float = Field(0.05, ge=0, description="of weights, not of biases, norms, embeddings and extra tokens")
    betas: tuple[Part, Part] = Field((0.9, 0.999), strict=False, description="of adamw")
    eps: float = Field(1e-8, gt=0, description="of adamw")
    clip_grad_norm: float | None = Field(None, gt=0, description="gradients longer than this are shortened to it")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description='what the student computes in; "auto" is bf16 on a GPU that has it, else fp32'
    )
    loss_products: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="numbers that losses multiply matrices of; sums, scores and softmaxes are float32 either way",
    )
    accumulate: int = Field(1, gt=0, le=MOST, description="parts of a batch that pass through the student one by one")
    ema: float | None = Field(None, gt=0, lt=1, description="keep the moving average of the weights, with this decay")
    compile: bool | Literal["student", "step"] = Field(
        False, description='torch.compile the student (true is "student"), or the step with losses and clipping'
    )
    recompute: bool = Field(False, description="gradient checkpointing: activations are made twice, not kept")
    shard: bool = Field(False, description="of several processes each keeps a part of the student (FSDP2)")
    fused: bool = Field(True, description="one kernel for the optimiser's update; without, last bits differ")
    deterministic: bool = Field(False, description="refuse kernels whose results vary from run to run (GPUs)")

    @field_validator("compile")
    @classmethod
    def _one_name(cls, value: bool | str) -> bool | str:
        """What is one thing has one name in the identity of a run."""
        return True if value == "student" else value


class Checkpoints(Strict):
    """When the state of a run is kept, and how many of those states."""

    every_steps: int = Field(500, gt=0, le=MOST, description="steps between two of them")
    keep: int = Field(2, gt=0, le=MOST, description="how many of the last ones stay")


class Validation(Strict):
    """An evaluation while training goes on; the student that did best is kept in `best/` of the run folder."""

    eval: Component = Field(description="what is measured, a kind of evals")
    best: str = Field(description="the measure that decides: the highest, or the lowest where less is better")
    every_steps: int = Field(
        500, gt=0, le=MOST, description="steps between two evaluations; the last step has one, too"
    )


class Log(Strict):
    """How often, and where besides metrics.jsonl. `gradient_norms`: of each term, which costs a backward for each."""

    every_steps: int = Field(10, gt=0, le=MOST, description="steps between two lines of metrics.jsonl")
    gradient_norms: bool = False
    tensorboard: bool = Field(False, description="also for TensorBoard, in the run folder")
    wandb: str | None = Field(None, description="project")
    mlflow: str | None = Field(None, description="experiment")
    trackio: str | None = Field(None, description="project")


class RayWorkers(Strict):
    """For `--engine ray`: `workers` processes, all begun again, up to `restarts` times, when one of them dies.

    `address`: of a running cluster ("auto": the one of this machine); without one, a small one of our own is started.
    `cpus`, `gpus`: what a process takes; by default a GPU where the cluster has any, else its share of the CPUs.
    """

    address: str | None = None
    workers: int = Field(1, gt=0, le=4096, description="processes")
    cpus: float | None = Field(None, gt=0, description="of a process; its share, if not said")
    gpus: float | None = Field(None, ge=0, description="of a process; one where the cluster has any, if not said")
    restarts: int = Field(3, ge=0, le=MOST, description="times that all begin again when one dies")


class NamedStudent(Component):
    """One of several students; its run folder is `name` in the recipe's."""

    name: str = Field(pattern=r"^\w[\w.-]*$")


class Baseline(Strict):
    """The same student and seed under other losses, trained beside the student: on the same images in the same order
    and for as long, where nothing else is said.

    A student may see images without captions, too. Its baseline has `images` with captions, `epochs` that are as many
    steps, and the `lr` that suits it.
    """

    losses: list[Term] = Field(min_length=1, description="its terms, in place of the run's")
    captions: Captions = Field("none", description="of its images, in place of the run's texts")
    images: str | None = Field(None, description="its image store, if not the run's images")
    epochs: float | None = Field(None, gt=0, le=MOST, description="passes over its images, if not as many as the run")
    lr: float | None = Field(None, gt=0, description="its highest learning rate, if not the run's")


class TrainRecipe(Strict):
    """Stage 2: one student against the stores, or several at once over the same batches (`[[students]]`).

    `teacher` is only for `data.source = "live"`. Of several students, `student` is the first.
    """

    name: str = Field(pattern=r"\S", description="of the run; its folder is runs/NAME")
    paper: str | None = Field(None, description="the address of the paper, shown in lists and reports")
    note: str | None = Field(None, description="shown in the report")
    seed: int = Field(0, ge=0, description="of the student's first weights, the order and the crops")
    out: str | None = Field(None, description="the run's folder, if not runs/NAME")
    device: str = Field("auto", description='"auto" is a GPU where there is one; else "cpu", "cuda", "cuda:1"')
    data: Data
    student: Component = Field(description="the network that learns, a kind of students")
    students: list[NamedStudent] = Field(
        default_factory=list, description="several students over the same batches, each with a `name`"
    )
    teacher: Component | None = None
    losses: list[Term] = Field(min_length=1, description="the terms of the objective, kinds of losses")
    optim: Optim
    checkpoints: Checkpoints = Checkpoints()
    validation: Validation | None = None
    log: Log = Log()
    ray: RayWorkers = RayWorkers()
    baseline: Baseline | None = None
    evals: list[Component] = Field(
        default_factory=list, description="what `distillkit evaluate` measures, kinds of evals"
    )
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="before")
    @classmethod
    def _first_student(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not content.get("students"):
            return content
        if "student" in content:
            raise ValueError("write one [student], or [[students]] with a `name` each")
        students = content["students"]
        if not isinstance(students, list) or not isinstance(students[0], dict):
            return content | {"student": {"kind": ""}}  # what is wrong is told of `students` itself
        first = {key: value for key, value in students[0].items() if key != "name"}
        return content | {"student": first}

    @model_validator(mode="after")
    def _components(self) -> Self:
        self.student.check("students", "student")
        names = [student.name for student in self.students]
        for number, student in enumerate(self.students):
            student.check("students", f"students[{number}]")
            if student.name in names[:number]:
                raise ValueError(f"two students are called {student.name!r}; their run folders would be the same")
        if self.teacher is not None:
            self.teacher.check("teachers", "teacher")
        if (self.data.source == "live") != (self.teacher is not None):
            raise ValueError('a live teacher is data.source = "live" and a [teacher], as in the extraction recipe')
        if self.validation is not None:
            self.validation.eval.check("evals", "validation.eval")
        for number, term in enumerate((*self.losses, *(self.baseline.losses if self.baseline else ()))):
            if term.teacher is not None and term.teacher not in self.data.also:
                known = ", ".join(self.data.also) or "none"
                raise ValueError(f"losses[{number}]: no teacher {term.teacher!r} in data.also; it has: {known}")
        baseline = self.baseline.losses if self.baseline else []
        for place, room, components in (
            ("losses", "losses", self.losses),
            ("baseline.losses", "losses", baseline),
            ("evals", "evals", self.evals),
        ):
            for number, component in enumerate(components):
                component.check(room, f"{place}[{number}]")
        return self

    @property
    def folder(self) -> Path:
        return Path(expand(self.out) if self.out else f"runs/{self.name}")

    def measured_by(self, other: EvalRecipe) -> TrainRecipe:
        """The same run under other evals; what their recipe leaves out is this one's."""
        data = self.data.model_copy(update={"roots": self.data.roots | other.roots})
        changed = {"data": data, "evals": other.evals}
        changed |= {} if other.device is None else {"device": other.device}
        changed |= {} if other.evaluation is None else {"evaluation": other.evaluation}
        return self.model_copy(update=changed)

    def alone(self) -> list[TrainRecipe]:
        """One recipe for each student; of several, each in a folder of its own."""
        if not self.students:
            return [self]
        return [
            self.model_copy(
                update={
                    "name": f"{self.name} {student.name}",
                    "student": Component(kind=student.kind, **student.knobs),
                    "students": [],
                    "out": str(self.folder / student.name),
                }
            )
            for student in self.students
        ]

    def of_baseline(self) -> TrainRecipe | None:
        """The baseline as a recipe of its own, in the folder `baseline` of the run; RecipeError if it can be none."""
        if self.baseline is None:
            return None
        given = self.baseline
        own: dict[str, Any] = {"captions": given.captions}
        if given.images:
            own |= {"images": given.images, "mix": [], "root": self.data.moved.get(given.images)}
        data = without_texts(self.data, own, "baseline: with data as the run has it but for texts")
        optim = self.optim.model_copy(
            update={"epochs": given.epochs or self.optim.epochs, "lr": given.lr or self.optim.lr}
        )
        changed = {"losses": given.losses, "data": data, "optim": optim, "baseline": None}
        return self.model_copy(update=changed | {"out": str(self.folder / "baseline")})
