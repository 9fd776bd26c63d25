"""Where a run's numbers go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow, Trackio; a knob each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.errors import MissingExtra, TrainError
from distillkit.hidden import public
from distillkit.recipe import TrainRecipe
from distillkit.recipe.training import Log
from distillkit.system.wording import one_line

Line = dict[str, Any]
_TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")


@dataclass(frozen=True)
class Tracker:
    """One run of one package. `close`: with what ended the training, None at its end."""

    name: str
    log: Callable[[Line], object]
    close: Callable[[BaseException | None], object]


def refuse_missing(log: Log) -> None:
    """MissingExtra for a tracker that a recipe names and that is not installed."""
    for package in _TRACKERS:
        if getattr(log, package):
            _need(package)


class Trackers:
    """Those that the recipe names; each gets every logged line. Students that are trained together have a run each.

    `done`: the step that a run goes on from; what was logged of later ones is made again. TrainError for a tracker that
    cannot begin. One that fails later, such as one whose server went, costs no training: it is told, and left out.
    """

    def __init__(self, recipe: TrainRecipe, folder: Path, say: Say, done: int = 0):
        self.folder, self.say = folder, say
        name, facts = str(folder), recipe.model_dump(mode="json")
        begin: dict[str, Callable[[Any], Tracker]] = {
            "tensorboard": lambda _: _tensorboard(folder, done),
            # Without it a second run of this process is the first one.
            "wandb": lambda project: _wandb(project, name, facts, reinit="create_new"),
            "trackio": lambda project: _trackio(project, name, facts),
            "mlflow": lambda experiment: _mlflow(experiment, name, facts),
        }
        self.open: list[Tracker] = []
        for one in _TRACKERS:
            if asked := getattr(recipe.log, one):
                self.open.append(self._begun(one, begin[one], asked))

    def log(self, line: Line) -> None:
        for tracker in tuple(self.open):
            self._tried(tracker, partial(tracker.log, line))

    def close(self, error: BaseException | None = None) -> None:
        """`error`: what ended the training before its end."""
        for tracker in tuple(self.open):
            self._tried(tracker, partial(tracker.close, error))

    def _begun(self, name: str, begin: Callable[[Any], Tracker], asked: Any) -> Tracker:
        try:
            return begin(asked)
        except MissingExtra:
            raise
        except Exception as error:  # each package has its own errors
            self.close(error)  # else one that has begun shows a run that goes on for ever
            told = f"{self.folder}: {name} cannot begin ({public(one_line(error))}); mend that, or leave log.{name} out"
            raise TrainError(told) from error

    def _tried(self, tracker: Tracker, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  (each package has its own errors)
            self.open.remove(tracker)
            self.say(
                f"{self.folder}: {tracker.name} failed ({public(one_line(error))}) and gets no more lines; "
                "metrics.jsonl has all of them"
            )


def _tensorboard(folder: Path, done: int) -> Tracker:
    """https://docs.pytorch.org/docs/stable/tensorboard.html"""
    place = str(folder / "tensorboard")
    writer = import_module("torch.utils.tensorboard").SummaryWriter(place, purge_step=done + 1)

    def log(line: Line) -> None:
        for key, value in _numbers(line).items():
            writer.add_scalar(key, value, line["step"])

    return Tracker("tensorboard", log, lambda error: writer.close())


def _wandb(project: str, name: str, facts: Line, **more: str) -> Tracker:
    """https://docs.wandb.ai/ref/python"""
    run = _need("wandb").init(project=project, name=name, config=facts, **more)
    log = partial(_log_to_run, run)
    return Tracker("wandb", log, lambda error: run.finish(exit_code=0 if error is None else 1))


def _trackio(project: str, name: str, facts: Line) -> Tracker:
    """https://github.com/gradio-app/trackio"""
    run = _need("trackio").init(project=project, name=name, config=facts)
    return Tracker("trackio", partial(_log_to_run, run), lambda error: run.finish())


def _log_to_run(run: Any, line: Line) -> None:
    run.log(_numbers(line), step=line["step"])


def _mlflow(experiment: str, name: str, facts: Line) -> Tracker:
    """https://mlflow.org/docs/latest/api_reference/python_api/mlflow.html"""
    mlflow = _need("mlflow")
    client, place = mlflow.MlflowClient(), mlflow.set_experiment(experiment)
    # Of active runs there is but one; who made a run, by what and from which commit, is told of those alone.
    tags = mlflow.tracking.context.registry.resolve_tags()
    run = client.create_run(place.experiment_id, tags=tags, run_name=name).info.run_id
    client.log_dict(run, facts, "recipe.json")

    def log(line: Line) -> None:
        mlflow.log_metrics(_numbers(line), step=line["step"], run_id=run)

    def close(error: BaseException | None) -> None:
        stopped = isinstance(error, (SystemExit, KeyboardInterrupt))
        client.set_terminated(run, "FINISHED" if error is None else "KILLED" if stopped else "FAILED")

    return Tracker("mlflow", log, close)


def _numbers(line: Line) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step"}


def _need(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(package, package) from error
