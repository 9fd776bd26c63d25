"""An evaluation while training goes on, from the teacher's cached features; the student that did best is kept.

validation.jsonl          the numbers, a line each time
best/student.safetensors  the weights that did best
best/best.json            at which step, how well, by which eval, and the checksum of the weights: written last

Another eval, or the same one of a store that is another by now, gives numbers that say nothing of these: what a run
that goes on with it has measured so far is set aside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import RecipeError, TrainError
from distillkit.evals._answers import Answers
from distillkit.evals._encode import stores_of
from distillkit.evaluation.answered import answered
from distillkit.evaluation.embed import Pace, embedded
from distillkit.evaluation.encode import Blank, Student
from distillkit.evaluation.files import Contents
from distillkit.evaluation.numbers import DETAILS, numbers
from distillkit.originals import Originals, moved
from distillkit.recipe import TrainRecipe, Validation
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import set_aside
from distillkit.system.best import BY, FOLDER, RECORD
from distillkit.system.fitting import fitting
from distillkit.system.lines import append_line, keep_lines, read_lines, settle
from distillkit.system.paths import expand
from distillkit.system.record import digest, read_record, write_record
from distillkit.system.weights import bytes_of, write_weights
from distillkit.training.ranks import Ranks

_SMALLER, _FEWER = "lower evaluation.batch_size", "a smaller store in validation.eval"


class Validator:
    """What the recipe's `[validation]` asks for; nothing where it asks for nothing.

    `ranks`: who look at a share of the images each, so that none waits for another; the first one writes. `last`: the
    step that the run ends with, which is measured whatever its number is.
    """

    def __init__(self, recipe: TrainRecipe, run: RunFolder, ranks: Ranks | None = None, last: int = 0):
        self.last = last
        self.spec: Validation | None = recipe.validation
        self.ranks = ranks or Ranks()
        self.log, self.best = run.path / "validation.jsonl", run.path / FOLDER
        if self.spec is not None:
            self.measure, self.roots = self.spec.eval.build("evals"), moved(recipe.data)
            self.open_store = lru_cache(lambda name: FeatureStore(expand(name), recipe.data.teacher))
            asked = recipe.evaluation
            self.pace = Pace(threads=asked.workers or recipe.data.threads, batch=asked.batch_size)

    def try_out(self, student: Any) -> None:
        """RecipeError or StoreError now for what `run` would refuse of this student; it is not asked anything."""
        if self.spec is not None:
            self._better(
                answered(self.measure.name, self.measure.run(Blank(lambda: student, self.roots), self.open_store))
            )

    def begin(self, say: Say) -> None:
        """Set aside what another eval said of the steps so far, and the weights that it chose."""
        record = self._record()
        if self.spec is None or record is None or (record.get(BY, self._by) == self._by and self.spec.best in record):
            return
        places = [place for place in (self.log, self.best) if place.exists()]  # last what tells that it is to be done
        kept = " and ".join(set_aside(place, digest(record)[:8]).name for place in places)
        say(
            f"{self.best.parent}: validation.eval is another now than at step {record['step']}, which did best; its "
            f"numbers and weights are kept as {kept}, and the best is chosen anew from here"
        )

    @cached_property
    def _by(self) -> dict[str, Any]:
        """What numbers hang on, beside the student."""
        assert self.spec is not None
        stores = {name: self.open_store(name).digest for name in stores_of(self.measure)}
        files = Contents().of(self.measure, self.open_store)
        return {"eval": self.spec.eval.model_dump(mode="json"), "stores": stores, "files": files}

    def forget_after(self, step: int) -> None:
        """Drop what will be measured again."""
        keep_lines(self.log, lambda line: line["step"] <= step)

    def settle(self) -> None:
        """Make durable what was measured so far."""
        settle(self.log)

    def due(self, step: int) -> bool:
        return self.spec is not None and (step % self.spec.every_steps == 0 or step == self.last)

    def owes(self, step: int) -> bool:
        """Whether a run that stands at this step lacks its measurement, which an error may have ended."""
        return step > 0 and self.due(step) and all(line["step"] != step for line in read_lines(self.log))

    def run(self, student: Any, step: int) -> dict[str, float]:
        """Measure the student as it is; its mode and the random state stay as they were. All ranks call it together."""
        assert self.spec is not None
        was_training, random = student.training, torch.get_rng_state()
        student.eval()
        self.ranks.alike(student.buffers())
        try:
            looks = Student(lambda: student, self.roots, self._pace_of(student), embed=self._embedded)
            with fitting(f"validation after step {step}", _SMALLER, _FEWER, TrainError):
                answers = answered(self.measure.name, self.measure.run(looks, self.open_store))
        finally:
            student.train(was_training)
            torch.set_rng_state(random)
        result, better = numbers(answers), self._better(answers)
        if self.ranks.first:
            self._keep(result, better, student, step)
        return result

    def _pace_of(self, student: Any) -> Pace:
        """Probes are learned where the student is; on the CPU where all must be deterministic, as some of their losses
        are not on a GPU, and what they find chooses the best weights.
        """
        exact = torch.are_deterministic_algorithms_enabled()
        return self.pace if exact else replace(self.pace, device=next(student.parameters()).device)

    def _embedded(self, student: Any, files: Originals, rows: np.ndarray, pace: Pace) -> Tensor:
        """This rank's share of the images, then what all of them said. Few images every rank looks at itself."""
        if len(rows) < self.ranks.world:
            return embedded(student, files, rows, pace)
        mine = embedded(student, files, rows[self.ranks.span(len(rows))], pace)
        return self.ranks.gathered(mine, len(rows), next(student.parameters()).device)

    def _keep(self, result: dict[str, float], better: float, student: Any, step: int) -> None:
        assert self.spec is not None
        append_line(self.log, {"step": step, **result})
        if better * result[self.spec.best] > better * self._so_far(step, worst=-better * math.inf):
            told = write_weights(self.best, bytes_of(student))
            best = {self.spec.best: result[self.spec.best]}
            write_record(self.best / RECORD, {"step": step, BY: self._by} | best | told)

    def _better(self, answers: dict[str, float] | Sequence[Answers]) -> float:
        """1 where more of the number that decides is better, else -1; more is of a plain number. RecipeError where
        these answers have no such measure.
        """
        assert self.spec is not None
        if isinstance(answers, dict):
            known = {name: 1.0 for name in answers if not name.endswith(DETAILS)}
        else:
            known = {one.name: 1.0 if one.more else -1.0 for table in answers for one in table.measures}
        if self.spec.best not in known:
            raise RecipeError(f"validation.best: this eval gives no {self.spec.best!r}; it gives: {', '.join(known)}")
        return known[self.spec.best]

    def _so_far(self, step: int, worst: float) -> float:
        """The best number of the steps before this one."""
        record = self._record()
        assert self.spec is not None
        return worst if record is None or record["step"] >= step else float(record[self.spec.best])

    def _record(self) -> dict[str, Any] | None:
        path = self.best / RECORD
        return read_record(path, partial(_damaged, path)) if path.is_file() else None


def _damaged(path: Path, why: str) -> TrainError:
    return TrainError(f"{path}: damaged ({why}); move {path.parent} away, and the best is chosen of the steps to come")
