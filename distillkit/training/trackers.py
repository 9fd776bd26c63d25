"""Where a run's numbers go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow, Trackio; a knob each.

RUN/trackers.json has the ids that these gave the run: a training that goes on is one curve there, as it is here.
"""

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
from distillkit.system.record import read_record, write_record
from distillkit.system.wording import one_line

Line = dict[str, Any]
Begin = Callable[[Any, str | None], "Tracker"]  # in which project, as which run of it
FILE = "trackers.json"
_TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")
_KEPT = "metrics.jsonl has all of them"


@dataclass(frozen=True)
class Tracker:
    """One run of one package. `close`: with what ended the training, None at its end. `id`: what the package knows the
    run by; `has`: the last step that it has already, where it goes on with one; `anew`: why it does not, if it should.
    """

    name: str
    log: Callable[[Line], object]
    close: Callable[[BaseException | None], object]
    id: str | None = None
    has: int = 0
    anew: str | None = None


def refuse_missing(log: Log) -> None:
    """MissingExtra for a tracker that a recipe names and that is not installed."""
    for package in _TRACKERS:
        if getattr(log, package):
            _need(package)


class Trackers:
    """Those that the recipe names; each gets every logged line. Students that are trained together have a run each.

    `done`: the step that a run goes on from; what was logged of later ones, up to `made`, is made again, and sent to no
    tracker a second time. TrainError for a tracker that cannot begin with a run that has no steps yet. Of one that goes
    on it is told, as of a tracker that fails later, such as one whose server went, and costs no training.
    """

    def __init__(self, recipe: TrainRecipe, folder: Path, say: Say, done: int = 0, made: int = 0):
        self.folder, self.say, self.done, self.made = folder, say, done, made
        name, facts = str(folder), recipe.model_dump(mode="json")
        begin: dict[str, Begin] = {
            "tensorboard": lambda _, known: _tensorboard(folder, done),
            # Without it a second run of this process is the first one.
            "wandb": lambda project, known: _wandb(project, name, facts, known, reinit="create_new"),
            "trackio": lambda project, known: _trackio(project, name, facts, known, made),
            "mlflow": lambda experiment, known: _mlflow(experiment, name, facts, known),
        }
        self.open: list[Tracker] = []
        self.kept = self._read()
        for one in _TRACKERS:
            if asked := getattr(recipe.log, one):
                self._begin(one, begin[one], asked)

    def _read(self) -> dict[str, dict[str, str]]:
        """The project and the id of each tracker's run."""
        path = self.folder / FILE
        try:
            kept = read_record(path, lambda why: ValueError(f"damaged ({why})")) if path.is_file() else {}
            return {name: {"project": one["project"], "id": one["id"]} for name, one in kept.items()}
        except (OSError, ValueError, TypeError) as error:
            self.say(f"{path}: {one_line(error)}; trackers have new runs from here on")
            return {}

    def _begin(self, name: str, begin: Begin, asked: Any) -> None:
        kept = self.kept.get(name, {})
        # Whose steps and log were deleted is begun anew; there it would send no line up to the last one of before.
        goes_on = self.done or self.made
        known = kept["id"] if goes_on and kept.get("project") == asked else None
        try:
            tracker = begin(asked, known)
        except MissingExtra:
            raise
        except Exception as error:  # each package has its own errors
            why = f"{self.folder}: {name} cannot begin ({public(one_line(error))})"
            if self.done:
                self.say(f"{why} and gets no lines; {_KEPT}")
                return
            self.close(error)  # else one that has begun shows a run that goes on for ever
            raise TrainError(f"{why}; mend that, or leave log.{name} out") from error
        if tracker.anew is not None:
            self.say(
                f"{self.folder}: {name} does not go on with its run {known} ({public(tracker.anew)}); this is a new one"
            )
        self.open.append(tracker)
        if tracker.id is not None:
            self.kept[name] = {"project": asked, "id": tracker.id}
            write_record(self.folder / FILE, self.kept)

    def log(self, line: Line) -> None:
        for tracker in tuple(self.open):
            if line["step"] > tracker.has:
                self._tried(tracker, partial(tracker.log, line))

    def close(self, error: BaseException | None = None) -> None:
        """`error`: what ended the training before its end."""
        for tracker in tuple(self.open):
            self._tried(tracker, partial(tracker.close, error))

    def _tried(self, tracker: Tracker, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  (each package has its own errors)
            self.open.remove(tracker)
            self.say(
                f"{self.folder}: {tracker.name} failed ({public(one_line(error))}) and gets no more lines; {_KEPT}"
            )


def _tensorboard(folder: Path, done: int) -> Tracker:
    """https://docs.pytorch.org/docs/stable/tensorboard.html"""
    place = str(folder / "tensorboard")
    writer = import_module("torch.utils.tensorboard").SummaryWriter(place, purge_step=done + 1)

    def log(line: Line) -> None:
        for key, value in _numbers(line).items():
            writer.add_scalar(key, value, line["step"])

    return Tracker("tensorboard", log, lambda error: writer.close())


def _wandb(project: str, name: str, facts: Line, known: str | None, **more: str) -> Tracker:
    """https://docs.wandb.ai/ref/python"""
    begin = partial(_need("wandb").init, project=project, name=name, config=facts, **more)
    run, anew = _gone_on(begin, None if known is None else {"id": known, "resume": "allow"})
    if known is not None and not (anew or run.resumed or run.offline or run.disabled):
        anew = "the server does not know it"
    log = partial(_log_to_run, run)
    kept = None if run.disabled else run.id  # WANDB_MODE=disabled: nobody else will know that one
    # It takes no line of a step before this one.
    has = run.starting_step - 1
    return Tracker("wandb", log, lambda error: run.finish(exit_code=0 if error is None else 1), kept, has, anew)


def _trackio(project: str, name: str, facts: Line, known: str | None, made: int) -> Tracker:
    """https://github.com/gradio-app/trackio"""
    begin = partial(_need("trackio").init, project=project, config=facts)
    again = None if known is None else {"name": known, "resume": "must"}
    run, anew = _gone_on(partial(begin, name=name), again)
    has = made if known is not None and anew is None else 0
    return Tracker("trackio", partial(_log_to_run, run), lambda error: run.finish(), run.name, has, anew)


def _gone_on(begin: Callable[..., Any], again: Line | None) -> tuple[Any, str | None]:
    """A run, `again` that of before; where that cannot be, as it was deleted there, a new one, and why."""
    if again is None:
        return begin(), None
    try:
        return begin(**again), None
    except Exception as error:  # noqa: BLE001  (each package has its own errors)
        return begin(), one_line(error)


def _log_to_run(run: Any, line: Line) -> None:
    run.log(_numbers(line), step=line["step"])


def _mlflow(experiment: str, name: str, facts: Line, known: str | None) -> Tracker:
    """https://mlflow.org/docs/latest/api_reference/python_api/mlflow.html"""
    mlflow = _need("mlflow")
    client, place = mlflow.MlflowClient(), mlflow.set_experiment(experiment)
    anew = None if known is None else _why_not(client, known)
    if known is not None and anew is None:
        run = known
        client.update_run(run, status="RUNNING")
    else:
        # Of active runs there is but one; who made a run, by what and from which commit, is told of those alone.
        tags = mlflow.tracking.context.registry.resolve_tags()
        run = client.create_run(place.experiment_id, tags=tags, run_name=name).info.run_id
        client.log_dict(run, facts, "recipe.json")
    # It would keep both lines of a step.
    has = max((one.step for one in client.get_metric_history(run, "epoch")), default=0) if run == known else 0

    def log(line: Line) -> None:
        mlflow.log_metrics(_numbers(line), step=line["step"], run_id=run)

    def close(error: BaseException | None) -> None:
        stopped = isinstance(error, (SystemExit, KeyboardInterrupt))
        client.set_terminated(run, "FINISHED" if error is None else "KILLED" if stopped else "FAILED")

    return Tracker("mlflow", log, close, run, has, anew)


def _why_not(client: Any, run: str) -> str | None:
    """Why MLflow cannot go on with a run: nobody there knows it, or it was deleted."""
    try:
        deleted = client.get_run(run).info.lifecycle_stage == "deleted"
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return one_line(error)
    return "it was deleted" if deleted else None


def _numbers(line: Line) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step"}


def _need(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(package, package) from error
