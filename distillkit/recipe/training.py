"""The recipe of stage 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from distillkit.recipe.component import Component, Term
from distillkit.recipe.data import Captions, Data
from distillkit.recipe.derived import without_texts
from distillkit.recipe.evaluation import EvalRecipe, Evaluation
from distillkit.recipe.extraction import ADDRESS
from distillkit.recipe.optim import Optim
from distillkit.recipe.schema import MOST, Strict
from distillkit.system.paths import expand


class Checkpoints(Strict):
    """How often the state of a run is saved, so that it can go on, and how many saved states are kept."""

    every_steps: int = Field(500, gt=0, le=MOST, description="steps between two checkpoints")
    keep: int = Field(2, gt=0, le=MOST, description="how many of the latest checkpoints are kept")


class Validation(Strict):
    """An evaluation during training; the best student so far is kept in `best/` of the run folder."""

    eval: Component = Field(description="what is measured: a table with one of the kinds of evals")
    best: str = Field(
        description="the name of the measure that decides; its highest value, or its lowest where less is better"
    )
    every_steps: int = Field(
        500, gt=0, le=MOST, description="steps between two evaluations; there is one after the last step, too"
    )


class Log(Strict):
    """How often a run logs its losses and learning rate, and where besides metrics.jsonl."""

    every_steps: int = Field(10, gt=0, le=MOST, description="steps between two lines of metrics.jsonl")
    gradient_norms: bool = Field(
        False, description="log the norm of each term's gradient, too; costs one more backward pass for each term"
    )
    tensorboard: bool = Field(False, description="also write TensorBoard files, into the run folder")
    wandb: str | None = Field(None, description="also log to this project of Weights & Biases")
    mlflow: str | None = Field(None, description="also log to this experiment of MLflow")
    trackio: str | None = Field(None, description="also log to this project of Trackio")


class RayWorkers(Strict):
    """For `--engine ray`: the processes that train together."""

    address: str | None = Field(None, description=ADDRESS)
    workers: int = Field(1, gt=0, le=4096, description="how many processes")
    cpus: float | None = Field(None, gt=0, description="CPUs of a process; its share of the cluster's, if not given")
    gpus: float | None = Field(None, ge=0, description="GPUs of a process; if not given, 1 where the cluster has any")
    restarts: int = Field(3, ge=0, le=MOST, description="how often all processes are started again when one dies")


class NamedStudent(Component):
    """One of several students; its run folder is `name` in the recipe's."""

    name: str = Field(pattern=r"^\w[\w.-]*$")


class Baseline(Strict):
    """The same student and seed under other losses, trained beside the student as what it is compared with.

    It sees the same images in the same order for as long, unless `images` or `epochs` is set. A student may see images
    without captions, too. Its baseline has `images` with captions, `epochs` that are as many steps, and an `lr` for it.
    """

    losses: list[Term] = Field(min_length=1, description="the baseline's terms, in place of the run's")
    captions: Captions = Field(
        "none", description="captions of its images, in place of the run's texts, as data.captions has them"
    )
    images: str | None = Field(None, description="the baseline's image store; the run's, if not given")
    epochs: float | None = Field(
        None, gt=0, le=MOST, description="its epochs, over its own images; the run's, if not given"
    )
    lr: float | None = Field(None, gt=0, description="its highest learning rate; the run's, if not given")


class TrainRecipe(Strict):
    """Stage 2: train one student from the stores, or several at once on the same batches.

    Of several `[[students]]`, `student` is the first.
    """

    name: str = Field(pattern=r"\S", description="of the run; its folder is runs/NAME unless out is given")
    paper: str | None = Field(None, description="the web address of the paper, shown in lists and reports")
    note: str | None = Field(None, description="text that is shown in the report")
    seed: int = Field(0, ge=0, description="of the student's first weights, the order of images and their crops")
    out: str | None = Field(None, description="the run's folder; runs/NAME, if not given")
    device: str = Field("auto", description='"cpu", "cuda", "cuda:1"; "auto": a GPU if there is one')
    data: Data
    student: Component = Field(description="the network that learns: a table with one of the kinds of students")
    students: list[NamedStudent] = Field(
        default_factory=list,
        description="several students in place of `student`, each with a `name`; they share batches",
    )
    teacher: Component | None = Field(
        None, description='with data.source = "live" only: the teacher to run at each step'
    )
    losses: list[Term] = Field(min_length=1, description="the terms of the objective: tables with kinds of losses")
    optim: Optim
    checkpoints: Checkpoints = Checkpoints()
    validation: Validation | None = None
    log: Log = Log()
    ray: RayWorkers = RayWorkers()
    baseline: Baseline | None = None
    evals: list[Component] = Field(
        default_factory=list, description="what `distillkit evaluate` measures: tables with kinds of evals"
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
            raise ValueError(
                'a live teacher needs both data.source = "live" and a [teacher], as in the extraction recipe; write '
                "both, or none"
            )
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
