"""What the arms of a file of claims answered, read from the folders of their runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from distillkit.claims.trials import Experiment
from distillkit.errors import TrainError
from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.measured import measured
from distillkit.system.wording import as_word


class Rows:
    """Answers of arms, read once."""

    def __init__(self, experiment: Experiment):
        self._experiment = experiment
        self._measured = lru_cache(maxsize=None)(measured)
        self._asked: dict[tuple[str, ...], tuple[Path, Any]] = {}

    def of(self, arm: str, eval_: str, name: str) -> tuple[list[Answers], Measure]:
        """Of every seed, and the measure; TrainError where the eval has none of that name that is a mean of rows."""
        found: list[Answers] = []
        measure = None
        for seed in self._experiment.seeds:
            folder = self._experiment.folder(arm, seed)
            rows = [one for (asked, _), one in self._measured(folder).rows.items() if asked == eval_]
            means = [(one.answers, m) for one in rows for m in one.answers.measures if m.how == "mean"]
            hit = next(((one, m) for one, m in means if m.name == name), None)
            if hit is None:
                known = ", ".join(m.name for _, m in means) or "none"
                raise TrainError(f"{folder}: {eval_!r} has no measure {name!r} that is a mean of rows; it has: {known}")
            self._refuse_other_questions(folder, arm, eval_, rows[0].made_of)
            found.append(hit[0])
            measure = hit[1]
        assert measure is not None
        return found, measure

    def _refuse_other_questions(self, folder: Path, arm: str, eval_: str, made_of: dict[str, Any]) -> None:
        """TrainError where an eval's masks, lists or class names, or a store, were others for one run than for another,
        or its knobs for one seed of an arm than for another: arms may have evals of their own.
        """
        asked = {(eval_, "with other files"): made_of.get("files"), (eval_, arm, "otherwise"): made_of.get("eval")}
        asked |= {(eval_, "in another precision"): made_of.get("precision")}
        asked |= {(name, f"when {name} was another"): one for name, one in made_of.get("stores", {}).items()}
        for what, one in asked.items():
            first, known = self._asked.setdefault(what, (folder, one))
            if one != known:
                told = f"{folder}: {eval_!r} was asked {what[-1]} than in {first}"
                raise TrainError(f"{told}; ask both anew: distillkit evaluate {as_word(first)} {as_word(folder)}")
