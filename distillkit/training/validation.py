"""An evaluation while training goes on, from the teacher's cached features; the student that did best is kept.

validation.jsonl          the numbers, a line each time
best/student.safetensors  the weights that did best
best/best.json            at which step, how well, and on what (a digest); the checksum of the weights: written last
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from distillkit.callable import silent
from distillkit.errors import RecipeError, TrainError
from distillkit.evals._encode import stores_of
from distillkit.evaluation.embed import Pace, embedded
from distillkit.evaluation.encode import Blank, Student
from distillkit.evaluation.files import Contents
from distillkit.evaluation.numbers import DETAILS, numbers
from distillkit.originals import Originals, moved
from distillkit.recipe import TrainRecipe, Validation
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import parsed_json, write_json
from distillkit.system.best import FOLDER, MEASURED_ON, RECORD
from distillkit.system.fitting import fitting
from distillkit.system.lines import append_line, keep_lines, read_lines, settle
from distillkit.system.paths import expand
from distillkit.system.weights import write_weights
from distillkit.training.ranks import Ranks

_SMALLER, _FEWER = "lower evaluation.batch_size", "a smaller store in validation.eval"


class Validator:
    """What the recipe's `[validation]` asks for; nothing where it asks for nothing.

    `ranks`: who look at a share of the images each, so that none waits for another; the first one writes. `last`: the
    step that the run ends with, which is measured whatever its number is. `say` hears why the best so far counts no
    more.
    """

    def __init__(
        self,
        recipe: TrainRecipe,
        run: RunFolder,
        ranks: Ranks | None = None,
        last: int = 0,
        say: Callable[[str], None] = silent,
    ):
        self.last, self.say = last, say
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
            self._refuse_other_names(numbers(self.measure.run(Blank(lambda: student, self.roots), self.open_store)))

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
                result = numbers(self.measure.run(looks, self.open_store))
        finally:
            student.train(was_training)
            torch.set_rng_state(random)
        self._refuse_other_names(result)
        if self.ranks.first:
            self._keep(result, student, step)
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

    def _keep(self, result: dict[str, float], student: Any, step: int) -> None:
        assert self.spec is not None
        append_line(self.log, {"step": step, **result})
        measured_on = self._measured_on()
        if result[self.spec.best] > self._so_far(step, measured_on):
            weights = {name: value.detach().cpu().contiguous() for name, value in student.state_dict().items()}
            told = write_weights(self.best, save(weights))
            told |= {MEASURED_ON: measured_on}
            write_json(self.best / RECORD, {"step": step, self.spec.best: result[self.spec.best]} | told)

    def _measured_on(self) -> str:
        """A digest of the stores and files that the eval reads, wherever they lie."""
        stores = [self.open_store(name).digest for name in stores_of(self.measure)]
        return digest({"stores": stores, "files": Contents().of(self.measure, self.open_store)})

    def _refuse_other_names(self, result: dict[str, float]) -> None:
        assert self.spec is not None
        if self.spec.best not in result:
            known = ", ".join(name for name in result if not name.endswith(DETAILS))
            raise RecipeError(f"validation.best: this eval gives no {self.spec.best!r}; it gives: {known}")

    def _so_far(self, step: int, measured_on: str) -> float:
        """The best number of the steps before this one; of other stores, files or numbers none is to be compared with.
        A record of an older version does not tell what it was measured on, and counts.
        """
        path = self.best / RECORD
        record = parsed_json(path.read_bytes()) if path.is_file() else {"step": step}
        assert self.spec is not None
        if record["step"] >= step:
            return float("-inf")
        if record.get(MEASURED_ON, measured_on) == measured_on and self.spec.best in record:
            return float(record[self.spec.best])
        self.say(f"{self.best}: of step {record['step']}, measured otherwise than now; the best is chosen anew")
        return float("-inf")
