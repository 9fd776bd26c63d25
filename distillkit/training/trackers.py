"""Where a run's numbers go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow, Trackio; a knob each."""

from __future__ import annotations

from collections.abc import Callable
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
    """Those that the recipe names; each gets every logged line."""

    def __init__(self, recipe: TrainRecipe, folder: Path):
        self.log_to: list[Callable[[Line], None]] = []
        self.to_close: list[Callable[[], object]] = []
        name, facts = str(folder), recipe.model_dump(mode="json")
        if recipe.log.tensorboard:
            self._tensorboard(folder)
        if recipe.log.wandb:
            self._wandb_like("wandb", recipe.log.wandb, name, facts)
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

    def _tensorboard(self, folder: Path) -> None:
        """https://docs.pytorch.org/docs/stable/tensorboard.html"""
        writer = import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))

        def log(line: Line) -> None:
            for key, value in _numbers(line).items():
                writer.add_scalar(key, value, line["step"])

        self._add(log, writer.close)

    def _wandb_like(self, package: str, project: str, name: str, facts: Line) -> None:
        """https://docs.wandb.ai/ref/python; Trackio has the same calls, https://github.com/gradio-app/trackio"""
        module = _need(package)
        run = module.init(project=project, name=name, config=facts)
        self._add(lambda line: run.log(_numbers(line), step=line["step"]), run.finish)

    def _mlflow(self, experiment: str, name: str, facts: Line) -> None:
        """https://mlflow.org/docs/latest/api_reference/python_api/mlflow.html"""
        mlflow = _need("mlflow")
        mlflow.set_experiment(experiment)
        mlflow.start_run(run_name=name)
        mlflow.log_dict(facts, "recipe.json")
        self._add(lambda line: mlflow.log_metrics(_numbers(line), step=line["step"]), mlflow.end_run)

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
