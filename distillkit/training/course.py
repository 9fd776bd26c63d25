"""One student's way through a run: its folder, log, checkpoints and measurements. Only the first rank writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import TrainError
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.system.machine import machine
from distillkit.system.wording import Usual, count
from distillkit.training import checkpoint, reproducer
from distillkit.training.facts import facts_of, parameters_of
from distillkit.training.finite import NotFinite
from distillkit.training.ingredients import Ingredients
from distillkit.training.learner import Learner
from distillkit.training.progress import Progress, called
from distillkit.training.remembered import Remembered
from distillkit.training.schedule import learning_rate, not_the_highest
from distillkit.training.trackers import Trackers
from distillkit.training.validation import Validator
from distillkit.types import Batch


class Course:
    """`done` steps lie behind it when it begins, as its newest checkpoint says."""

    def __init__(
        self, recipe: TrainRecipe, run: RunFolder, learner: Learner, ingredients: Ingredients, last: int, say: Say
    ):
        self.recipe, self.run, self.learner, self.ingredients = recipe, run, learner, ingredients
        self.last, self.say = last, say
        self.writes = learner.ranks.first
        self.done = checkpoint.restore(run.checkpoints, learner.model, learner.optimizer, learner.scaler)
        self.made, self.owes = self.done, False  # the last step that was made, and whether it is still to be measured
        self._refuse_other_checkpoints()
        if learner.told:
            say(f"{run.path}: {learner.told}")
        self.remembered = Remembered(learner)
        self.writer = checkpoint.Writer(run.checkpoints, recipe.checkpoints.keep)
        # Of a student that is spread over ranks only the first has a whole one to measure.
        self.validator = Validator(recipe, run, None if learner.sharded else learner.ranks, last)
        self.exit = ExitStack()

    def _refuse_other_checkpoints(self) -> None:
        """TrainError unless all ranks stand at the first one's step."""
        first = self.learner.ranks.told(self.done)
        if self.done != first:
            raise TrainError(
                f"{self.run.path}: rank {self.learner.ranks.rank} finds a checkpoint of step {self.done}, the first "
                f"rank one of step {first}; let all machines see one run folder"
            )

    def begin(self, shown: bool, named: bool) -> None:
        """Say what is to come, drop the log of steps that will be made again, and start the bar."""
        self.name = f"{called(self.run)}: " if named else ""
        if not self.writes:
            return
        self.say(Usual(self._introduction()))
        for line in (*not_the_highest(self.recipe.optim), *self.learner.objective.capped()):
            self.say(f"{self.run.path}: {line}")
        made = max((line["step"] for line in self.run.history()), default=0)
        self._tell_of_lost_steps(made)
        self.run.forget_after(self.done)
        self.validator.begin(self.say)
        self.validator.forget_after(self.done)
        data, first, last = self.recipe.data, self.done, self.last
        trackers = Trackers(self.recipe, self.run.path, self.say, first, made)
        progress = Progress(
            self.run,
            first=first,
            last=last,
            batch_size=data.batch_size,
            say=self.say,
            trackers=trackers,
            shown=shown,
            name=self.name,
            device=self.learner.device,
        )
        self.progress = self.exit.enter_context(progress)

    def _tell_of_lost_steps(self, made: int) -> None:
        """Say how many of the `made` steps in the log come after the last checkpoint, as of a run that was killed."""
        if made > self.done:
            first = "the beginning, before the first checkpoint"
            since = f"step {self.done}, the last checkpoint" if self.done else first
            again, every = count(made - self.done, "step"), self.recipe.checkpoints.every_steps
            self.say(f"{self.run.path}: {again} since {since} are made again (checkpoints.every_steps is {every})")

    def __enter__(self) -> Course:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What comes after an error is not what to mend.
        hidden = nullcontext() if error is None else suppress(Exception)
        with hidden:
            self.exit.__exit__(kind, error, trace)
        with hidden:
            self.writer.wait()

    def step(self, batch: Batch, waited: float) -> None:
        """One step, and what follows from it: a line in the log, a checkpoint, a measurement.

        `waited`: seconds that the run has waited for batches so far.
        """
        step, optim = batch.step + 1, self.recipe.optim
        norms = self._norms(batch, step)
        lr = learning_rate(batch.step, self.ingredients.steps_per_epoch, optim)
        try:
            total, terms = self.learner.step(batch, lr)
        except NotFinite as error:
            self._refuse(error, batch)
        self.made, self.owes = step, self.validator.due(step)
        if self._logs(step):
            self._log(step, lr, {"total": total, **terms}, norms, waited)
        if self.writes:
            told = (*self.learner.objective.slight(terms), *self.learner.remarks) if step == 1 else ()
            for line in (*told, *self.remembered.after(step)):
                self.say(self.name + line)
            self.progress.advance()
        # What is spread over ranks takes all of them to be brought together; the first one writes.
        if self.owes:
            self._validate(step)
            self.owes = False
        # Last: from a checkpoint on nothing of its step is done again.
        if step % self.recipe.checkpoints.every_steps == 0 and (self.writes or self.learner.sharded):
            self.write_checkpoint(step)

    def catch_up(self) -> None:
        """Measure at the step that this begins with, if an error ended the run before that was done; ranks together."""
        if self.validator.spec is not None and self.learner.ranks.told(self.validator.owes(self.done)):
            self._validate(self.done)

    def finish(self, command: str | None) -> None:
        """After the last step: the trained student, and what is known of the run."""
        self._refuse_weights(self.last)
        student = self.learner.trained()
        if not self.writes:
            return
        seconds = self.progress.seconds
        self.say(Usual(f"{self.run.path}: trained {count(self.last, 'step')} in {seconds:.0f} s"))
        facts = facts_of(self.learner.student, self.ingredients, self.last, self.recipe.data.batch_size, seconds)
        self.run.finish(student, facts | {"command": command, "machine": machine()})

    def keep(self, step: int) -> None:
        """Write the checkpoint of the step just made, unless it is there. Ranks of a spread student do it together."""
        unwritten = step > self.done and step % self.recipe.checkpoints.every_steps
        if unwritten and (self.writes or self.learner.sharded):
            self.write_checkpoint(step)
        self.writer.wait()

    def write_checkpoint(self, step: int) -> None:
        """Begin to write the state, which is that after `step`."""
        learner = self.learner
        self._refuse_weights(step)
        state = checkpoint.State.of(step, learner.model, learner.optimizer, learner.scaler, self.writes)
        if self.writes:
            self.run.settle()
            self.validator.settle()
            first = self.writer.last is None
            self.writer.write(state)
            if first:  # told after: who listened may have left, and with it goes no checkpoint
                size, keep = checkpoint.size(learner.model, learner.optimizer), self.recipe.checkpoints.keep
                self.say(Usual(f"{self.run.path}: a checkpoint takes {size / 1e6:,.1f} MB; the last {keep} are kept"))

    def _validate(self, step: int) -> None:
        """All ranks measure together; of a sharded student the first alone, and the others wait as long as it takes."""
        student = self.learner.trained()
        if not self.learner.sharded:
            self._measure(student, step)
            return
        with self.learner.ranks.one_first():
            if self.writes:
                self._measure(student.to(self.learner.device), step)
                student.to("cpu")  # where the copy waits for the next time

    def _measure(self, student: Any, step: int) -> None:
        result = self.validator.run(student, step)
        best = self.recipe.validation.best if self.recipe.validation else ""
        self.say(Usual(f"{self.name}step {step}/{self.last}  validation {best} {result[best]:.4f}"))

    def _logs(self, step: int) -> bool:
        return step % self.recipe.log.every_steps == 0 or step == self.last

    def lacks_its_line(self, step: int) -> bool:
        """Whether the log is to have a line of this step and has none: it could not be written."""
        return self._logs(step) and all(line["step"] != step for line in self.run.history())

    def _norms(self, batch: Batch, step: int) -> dict[str, float]:
        if not (self.recipe.log.gradient_norms and self._logs(step)):
            return {}
        return {f"gradient.{name}": norm for name, norm in self.learner.gradient_norms(batch).items()}

    def _log(self, step: int, lr: float, values: dict[str, Tensor], norms: dict[str, float], waited: float) -> None:
        """A line of metrics: means over ranks, which for losses over the whole batch are what every rank has."""
        means = self.learner.ranks.mean(torch.stack([value.detach().float() for value in values.values()])).tolist()
        if self.writes:
            named = dict(zip(values, means, strict=True)) | norms
            self.progress.log(step, (step - 1) / self.ingredients.steps_per_epoch, lr, named, waited)

    def _refuse(self, error: NotFinite, batch: Batch) -> None:
        """TrainError that names the terms, the step and the first keys; all of it is kept for a closer look."""
        model, widths = self.learner.model, self.ingredients.widths()
        kept = reproducer.keep(self.run, batch, model, error.terms, widths, self.learner.ranks.rank)
        raise TrainError(
            f"step {batch.step + 1}: {error}; lower optim.lr, or look at the rows of {', '.join(batch.keys[:4])}, ... "
            f"(batch and weights: {kept})"
        ) from error

    def _refuse_weights(self, step: int) -> None:
        """TrainError where this step has left weights that are nothing to go on from."""
        try:
            self.learner.refuse_weights()
        except NotFinite as error:
            raise TrainError(f"{self.run.path}: step {step}: {error}; lower optim.lr") from error

    def _introduction(self) -> str:
        ranks, millions = self.learner.ranks, parameters_of(self.learner.student) / 1e6
        return (
            f"{self.run.path}: {millions:.2f} M parameters, {count(self.last, 'step')} of "
            f"{count(self.recipe.data.batch_size, 'image')} on {self.learner.device}"
            + (f", {count(ranks.world, 'process', 'processes')}" if ranks.several else "")
            + (" with a part of the weights each" if self.learner.sharded else "")
            + (f", continuing after step {self.done}" if self.done else "")
        )


def remarks(courses: Sequence[Course], batch: Batch) -> list[str]:
    """What the objectives have to tell of the first batch, each line once."""
    return list(dict.fromkeys(line for course in courses for line in course.learner.objective.remarks(batch)))
