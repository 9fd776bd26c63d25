"""Where a run's numbers go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow, Trackio; a knob each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit.errors import MissingExtra
from distillkit.recipe import TrainRecipe
from distillkit.recipe.training import Log

Line = dict[str, Any]


def refuse_missing(log: Log) -> None:
    """MissingExtra for a tracker that a recipe names and that is not installed."""
    for package in ("tensorboard", "wandb", "trackio", "mlflow"):
        if getattr(log, package):
            _need(package)


class Trackers:
    """Those that the recipe names; each gets every logged line. Students that are trained together have a run each.

    `done`: the step that a run goes on from; what was logged of later ones is made again.
    """

    def __init__(self, recipe: TrainRecipe, folder: Path, done: int = 0):
        self.log_to: list[Callable[[Line], None]] = []
        self.to_close: list[Callable[[], object]] = []
        name, facts = str(folder), recipe.model_dump(mode="json")
        if recipe.log.tensorboard:
            self._tensorboard(folder, done)
        if recipe.log.wandb:
            # Without it a second run of this process is the first one.
            self._wandb_like("wandb", recipe.log.wandb, name, facts, reinit="create_new")
        if recipe.log.trackio:
            self._wandb_like("trackio", recipe.log.trackio, name, facts)
        if recipe.log.mlflow:
            self._mlflow(recipe.log.mlflow, name, facts)

    def log(self, line: Line) -> None:
        for log in self.log_to:
            log(line)

    def close(self) -> None:
        for close in self.to_close:
            close()

    def _tensorboard(self, folder: Path, done: int) -> None:
        """https://docs.pytorch.org/docs/stable/tensorboard.html"""
        place = str(folder / "tensorboard")
        writer = import_module("torch.utils.tensorboard").SummaryWriter(place, purge_step=done + 1)

        def log(line: Line) -> None:
            for key, value in _numbers(line).items():
                writer.add_scalar(key, value, line["step"])

        self._add(log, writer.close)

    def _wandb_like(self, package: str, project: str, name: str, facts: Line, **more: str) -> None:
        """https://docs.wandb.ai/ref/python; Trackio has the same calls, https://github.com/gradio-app/trackio"""
        module = _need(package)
        run = module.init(project=project, name=name, config=facts, **more)
        self._add(lambda line: run.log(_numbers(line), step=line["step"]), run.finish)

    def _mlflow(self, experiment: str, name: str, facts: Line) -> None:
        """https://mlflow.org/docs/latest/api_reference/python_api/mlflow.html"""
        mlflow = _need("mlflow")
        client, place = mlflow.MlflowClient(), mlflow.set_experiment(experiment)
        run = client.create_run(place.experiment_id, run_name=name).info.run_id  # of active ones there is but one
        client.log_dict(run, facts, "recipe.json")
        log = partial(mlflow.log_metrics, run_id=run)
        self._add(lambda line: log(_numbers(line), step=line["step"]), partial(client.set_terminated, run))

    def _add(self, log: Callable[[Line], None], close: Callable[[], object]) -> None:
        self.log_to.append(log)
        self.to_close.append(close)


def _numbers(line: Line) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step"}


def _need(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(package, package) from error
