"""One student's way through a run: its folder, log, checkpoints and measurements. Only the first rank writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

import torch
from torch import Tensor

from distillkit.errors import TrainError
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.training import checkpoint, reproducer
from distillkit.training.batches import Batches
from distillkit.training.learner import Learner, NotFinite
from distillkit.training.progress import Progress
from distillkit.training.schedule import learning_rate
from distillkit.training.trackers import Trackers
from distillkit.training.validation import Validator
from distillkit.types import Batch, Widths

Say = Callable[[str], None]


class Course:
    """`done` steps lie behind it when it begins, as its newest checkpoint says."""

    def __init__(self, recipe: TrainRecipe, run: RunFolder, learner: Learner, batches: Batches, last: int, say: Say):
        self.recipe, self.run, self.learner, self.batches, self.last, self.say = (
            recipe,
            run,
            learner,
            batches,
            last,
            say,
        )
        self.writes = learner.ranks.first
        self.done = checkpoint.restore(run.checkpoints, learner.model, learner.optimizer, learner.scaler)
        self._refuse_other_checkpoints()
        if learner.told:
            say(f"{run.path}: {learner.told}")
        self.writer = checkpoint.Writer(run.checkpoints, recipe.checkpoints.keep)
        self.validator = Validator(recipe, run)
        self.exit = ExitStack()

    def _refuse_other_checkpoints(self) -> None:
        """TrainError unless all ranks stand at the first one's step."""
        first = self.learner.ranks.told(self.done)
        if self.done != first:
            raise TrainError(
                f"{self.run.path}: rank {self.learner.ranks.rank} finds a checkpoint of step {self.done}, the first "
                f"rank one of step {first}; let all machines see one run folder"
            )

    def begin(self, shown: bool) -> None:
        """Drop the log of steps that will be made again, and start the bar."""
        if not self.writes:
            return
        self.run.forget_after(self.done)
        self.validator.forget_after(self.done)
        data, first, last = self.recipe.data, self.done, self.last
        trackers = Trackers(self.recipe, self.run.path)
        progress = Progress(
            self.run, first=first, last=last, batch_size=data.batch_size, say=self.say, trackers=trackers, shown=shown
        )
        self.progress = self.exit.enter_context(progress)

    def __enter__(self) -> Course:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exit.close()
        self.writer.wait()

    def step(self, batch: Batch) -> None:
        """One step, and what follows from it: a line in the log, a checkpoint, a measurement."""
        step, optim = batch.step + 1, self.recipe.optim
        norms = self._norms(batch, step)
        lr = learning_rate(batch.step, self.batches.steps_per_epoch, optim)
        try:
            total, terms = self.learner.step(batch, lr)
        except NotFinite as error:
            self._refuse(error, batch)
        if self._logs(step):
            self._log(step, lr, {"total": total, **terms}, norms)
        if self.writes:
            self.progress.advance()
        # What is spread over ranks takes all of them to be brought together; the first one writes.
        if step % self.recipe.checkpoints.every_steps == 0 and (self.writes or self.learner.sharded):
            self._checkpoint(step)
        if self.validator.due(step) and (self.writes or self.learner.sharded):
            self._validate(step)

    def _checkpoint(self, step: int) -> None:
        learner = self.learner
        state = checkpoint.State.of(step, learner.model, learner.optimizer, learner.scaler, self.writes)
        if self.writes:
            if self.writer.last is None:
                size, keep = checkpoint.size(learner.model, learner.optimizer), self.recipe.checkpoints.keep
                self.say(f"{self.run.path}: a checkpoint takes {size / 1e6:,.1f} MB, of which {keep} are kept")
            self.writer.write(state)

    def _validate(self, step: int) -> None:
        student = self.learner.trained()
        if self.writes:
            result = self.validator.run(student.to(self.learner.device), step)
            best = self.recipe.validation.best if self.recipe.validation else ""
            self.say(f"step {step}/{self.last}  {best} {result[best]:.4f}")
            if self.learner.sharded:
                student.to("cpu")  # where the copy waits for the next time

    def _logs(self, step: int) -> bool:
        return step % self.recipe.log.every_steps == 0 or step == self.last

    def _norms(self, batch: Batch, step: int) -> dict[str, float]:
        if not (self.recipe.log.gradient_norms and self._logs(step)):
            return {}
        return {f"gradient.{name}": norm for name, norm in self.learner.gradient_norms(batch).items()}

    def _log(self, step: int, lr: float, values: dict[str, Tensor], norms: dict[str, float]) -> None:
        """A line of metrics: means over ranks, which for losses over the whole batch are what every rank has."""
        means = self.learner.ranks.mean(torch.stack([value.detach().float() for value in values.values()])).tolist()
        if self.writes:
            named = dict(zip(values, means, strict=True)) | norms
            self.progress.log(step, (step - 1) / self.batches.steps_per_epoch, lr, named, self.batches.wait_seconds)

    def _refuse(self, error: NotFinite, batch: Batch) -> None:
        """TrainError that names the terms, the step and the first keys; all of it is kept for a closer look."""
        widths = Widths({}, self.batches.teacher_widths, self.batches.other_widths)
        kept = reproducer.keep(self.run, batch, self.learner.model, error.terms, widths, self.learner.ranks.rank)
        raise TrainError(
            f"step {batch.step + 1}: {error}; lower optim.lr, or look at the rows of {', '.join(batch.keys[:4])}, ... "
            f"(batch and weights: {kept})"
        ) from error
