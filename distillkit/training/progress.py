"""What a run shows while it goes: a bar on a terminal, plain lines elsewhere, and metrics.jsonl always."""

from __future__ import annotations

import resource
import sys
import time
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from distillkit.callable import Say
from distillkit.runfolder import RunFolder
from distillkit.system.wording import Usual, pace, wait
from distillkit.training.trackers import Trackers

_LINES = 10  # how many plain lines a whole run prints where there is no terminal


class Progress:
    """Loss terms, images/s, the share of time spent waiting for data, and memory. `shown`: whether it has the bar.

    `name`: of one of several that go on together, before each line.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        first: int,
        last: int,
        batch_size: int,
        say: Say,
        trackers: Trackers,
        device: torch.device,
        shown: bool = True,
        name: str = "",
    ):
        self.trackers, self.device, self.shown, self.name = trackers, device, shown, name
        self.run, self.first, self.last, self.batch_size, self.say = run, first, last, batch_size, say
        self.started = self.before = time.perf_counter()
        self.waited, self.step_before = 0.0, first
        self.earlier = next((line["seconds"] for line in reversed(run.history()) if line["step"] <= first), 0.0)
        count, text = TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[text]}")
        columns = (count, BarColumn(), TimeRemainingColumn(), text)
        self.bar = Bar(
            *columns, console=Console(stderr=True), disable=not (shown and sys.stderr.isatty()), transient=True
        )
        self.task = self.bar.add_task("train", total=last, completed=first, text="")

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.trackers.close(error)

    @property
    def seconds(self) -> float:
        """Seconds this process has been training, plus those of the runs it continues."""
        return self.earlier + time.perf_counter() - self.started

    def advance(self) -> None:
        self.bar.advance(self.task)

    def log(self, step: int, epoch: float, lr: float, values: dict[str, float], waited: float) -> None:
        """One line of metrics; rates are over the steps since the line before."""
        now = time.perf_counter()
        seconds, steps = now - self.before, step - self.step_before
        line = {
            "step": step,
            "epoch": round(epoch, 4),
            "lr": lr,
            **values,
            "images_per_second": round(steps * self.batch_size / seconds, 1),
            "wait_share": round((waited - self.waited) / seconds, 4),
            "seconds": round(self.seconds, 2),
            "memory_gb": round(memory(self.device) / 1e9, 3),
        }
        self.run.log(line)
        self.trackers.log(line)
        self.before, self.step_before, self.waited = now, step, waited
        terms = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        costs = f"{100 * line['wait_share']:.0f}% waiting for data  {line['memory_gb']:.1f} GB memory"
        text = f"{terms}  lr {lr:.2g}  {pace(line['images_per_second'], 'images')}  {costs}"
        self.bar.update(self.task, text=self.name + text)
        if self.bar.disable and step * _LINES // self.last > (step - steps) * _LINES // self.last:
            left = (now - self.started) / max(step - self.first, 1) * (self.last - step)
            ends = f"  {wait(left)} left" if step < self.last else ""
            self.say(Usual(f"{self.name}step {step}/{self.last}  {text}{ends}"))


def called(run: RunFolder) -> str:
    """ "small", and of a baseline whose it is: "small/baseline"."""
    return f"{run.path.parent.name}/{run.path.name}" if run.path.name == "baseline" else run.path.name


def memory(device: torch.device) -> float:
    """The most bytes that the run held so far: on its GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
