"""Train and evaluate all arms of a file of claims, beside any number of other processes that do the same.

What is finished is not done again: train and evaluate see to that. A lock for each arm and seed keeps processes apart,
and ends with the process that holds it, so a killed one leaves its part to the others.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from distillkit.callable import Say
from distillkit.claims.file import Step
from distillkit.claims.timing import Timing
from distillkit.claims.work import Scene, Work, all_work
from distillkit.errors import OtherRun, TrainError
from distillkit.evaluate import evaluate
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import make_folder
from distillkit.system.locks import locked
from distillkit.system.paths import expand
from distillkit.system.stopping import asked
from distillkit.train import train
from distillkit.training.pixel_costs import clock

_PAUSE = 2.0  # seconds, before it is looked again what others have done


def run_all(scene: Scene, say: Say, *, overwrite: bool = False) -> None:
    """Bring every arm to its end; comes back when all are trained and evaluated, by whomever. `overwrite`: also those
    in whose place a run of another recipe lies, which is kept beside.
    """
    works = all_work(scene)
    make_folder(scene.runs / scene.name)
    with locked(scene.runs / scene.name / ".before.lock"):
        for step in scene.file.quick.before if scene.quick else scene.file.before:
            take(step, say)
    timing, left = Timing(works), list(works)
    while left:
        done = [work for work in left if _did(work, timing, say, overwrite)]
        left = [work for work in left if work not in done]
        if left and not done:
            time.sleep(_PAUSE)


def take(step: Step, say: Say) -> None:
    """Run a command that arms need, unless what it makes is there. TrainError where it fails."""
    if step.makes is not None and Path(expand(step.makes)).exists():
        return
    say(f"distillkit {step.run}")
    command = [sys.executable, "-m", "distillkit", *shlex.split(step.run)]
    found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        last = next((line for line in reversed(found.stderr.splitlines()) if line.strip()), "no word of why")
        raise TrainError(f"distillkit {step.run}: ended with {found.returncode}: {last}")


def _did(work: Work, timing: Timing, say: Say, overwrite: bool) -> bool:
    """Whether this arm is at its end now. False where another process is at it, or at what it needs."""
    if not all(RunFolder(place).finished for place in work.needs):
        return False
    folder = work.recipe.folder
    with locked(folder.with_name(f".{folder.name}.claims.lock"), wait=False) as ours:
        if not ours:
            return False
        began, before = time.monotonic(), RunFolder(folder).finished
        _train(work, say, overwrite)
        evaluate(folder, _nothing)
        if not before:
            timing.took(work, time.monotonic() - began)
            say(f"{work.recipe.name}: {clock(time.monotonic() - began)}; {timing.left()}")
    return True


def _train(work: Work, say: Say, overwrite: bool) -> None:
    said: deque[str] = deque(maxlen=1)
    try:
        try:
            train(work.recipe, said.append)
        except OtherRun:
            if not overwrite:
                raise
            train(work.recipe, said.append, overwrite=True)
    except SystemExit:
        if asked() is not None:  # a signal waited for the end of a step: the last line tells which one is kept
            say(f"{work.recipe.name}: {said[-1]}")
        raise


def _nothing(line: str) -> None:
    """What single runs tell is in their folders."""
