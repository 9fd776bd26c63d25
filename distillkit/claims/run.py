"""Train and evaluate all arms of a file of claims, beside any number of other processes that do the same.

What is finished is not done again: train and evaluate see to that. A lock for each arm and seed keeps processes apart,
and ends with the process that holds it, so a killed one leaves its part to the others.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from distillkit.callable import Say
from distillkit.claims.file import Step
from distillkit.claims.timing import Timing
from distillkit.claims.trials import Experiment, Trial, all_trials
from distillkit.errors import OtherRun, TrainError
from distillkit.evaluate import evaluate
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import make_folder
from distillkit.system.locks import locked
from distillkit.system.paths import expand
from distillkit.system.turns import lock_of
from distillkit.system.wording import Usual
from distillkit.system.workers import unheard
from distillkit.train import train
from distillkit.training.pixel_costs import clock

_PAUSE = 2.0  # seconds, before it is looked again what others have done


def run_all(experiment: Experiment, say: Say, *, overwrite: bool = False) -> None:
    """Bring every arm to its end; comes back when all are trained and evaluated, by whomever. `overwrite`: also those
    in whose place a run of another recipe lies, which is kept beside.
    """
    trials = all_trials(experiment)
    make_folder(experiment.runs / experiment.name)
    with locked(experiment.runs / experiment.name / ".before.lock"):
        for step in experiment.file.quick.before if experiment.quick else experiment.file.before:
            take(step, say)
    timing, left, told = Timing(trials), list(trials), set[str]()
    while left:
        done = [trial for trial in left if _ended(trial, timing, Remarks(trial, say, told), overwrite)]
        left = [trial for trial in left if trial not in done]
        if left and not done:
            time.sleep(_PAUSE)


def take(step: Step, say: Say) -> None:
    """Run a command that arms need, unless what it makes is there. TrainError where it fails."""
    if step.makes is not None and Path(expand(step.makes)).exists():
        return
    say(f"distillkit {step.run}")
    command = [sys.executable, "-m", "distillkit", *shlex.split(step.run)]
    process: subprocess.Popen[str] | None = None
    try:
        with unheard():  # what comes meanwhile is heard when this is left, unless another thread took it
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="backslashreplace"
            )
        told = process.communicate()[1]
    except BaseException:
        if process:
            process.terminate()  # once, whoever got a signal: it keeps what it has
            process.communicate()
        raise
    if process.returncode:
        last = next((line for line in reversed(told.splitlines()) if line.strip()), "no word of why")
        raise TrainError(f"distillkit {step.run}: ended with {process.returncode}: {last}")


class Remarks:
    """What the run of one arm and seed tells, without what every run tells on its way: it is named, and told once. Of
    lines in which this run is not named, such as those on the stores of several, the first run's is told (`told`).
    """

    def __init__(self, trial: Trial, say: Say, told: set[str]):
        self.name, self.folder, self.say, self._told = trial.recipe.name, str(trial.recipe.folder), say, told

    def __call__(self, line: str) -> None:
        if not isinstance(line, Usual) and line not in self._told:
            self._told.add(line)
            self.say(f"{self.name}: {line.removeprefix(f'{self.folder}: ')}")


def _ended(trial: Trial, timing: Timing, remarks: Remarks, overwrite: bool) -> bool:
    """Whether this arm is at its end now. False where another process is at it, or at what it needs."""
    if not all(RunFolder(place).finished for place in trial.needs):
        return False
    folder = trial.recipe.folder
    with locked(lock_of(folder, "claims"), wait=False) as ours:
        if not ours:
            return False
        began, before = time.monotonic(), RunFolder(folder).finished
        _train(trial, remarks, overwrite)
        evaluate(folder, remarks)
        if not before:
            timing.took(trial, time.monotonic() - began)
            remarks.say(f"{trial.recipe.name}: {clock(time.monotonic() - began)}; {timing.left()}")
    return True


def _train(trial: Trial, remarks: Remarks, overwrite: bool) -> None:
    try:
        train(trial.recipe, remarks)
    except OtherRun:
        if not overwrite:
            raise
        train(trial.recipe, remarks, overwrite=True)
