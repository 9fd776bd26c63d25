"""What the arms of a file of claims answered, read from the folders of their runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from distillkit.claims.work import Scene
from distillkit.errors import TrainError
from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.measured import measured
from distillkit.system.wording import as_word


class Rows:
    """Answers of arms, read once."""

    def __init__(self, scene: Scene):
        self._scene = scene
        self._measured = lru_cache(maxsize=None)(measured)
        self._files: dict[str, tuple[Path, Any]] = {}

    def of(self, arm: str, eval_: str, name: str) -> tuple[list[Answers], Measure]:
        """Of every seed, and the measure; TrainError where the eval has none of that name that is a mean of rows."""
        found: list[Answers] = []
        measure = None
        for seed in self._scene.seeds:
            folder = self._scene.folder(arm, seed)
            rows = [one for (asked, _), one in self._measured(folder).rows.items() if asked == eval_]
            means = [(one.answers, m) for one in rows for m in one.answers.measures if m.how == "mean"]
            hit = next(((one, m) for one, m in means if m.name == name), None)
            if hit is None:
                known = ", ".join(m.name for _, m in means) or "none"
                raise TrainError(f"{folder}: {eval_!r} has no measure {name!r} that is a mean of rows; it has: {known}")
            self._refuse_other_files(folder, eval_, rows[0].made_of.get("files"))
            found.append(hit[0])
            measure = hit[1]
        assert measure is not None
        return found, measure

    def _refuse_other_files(self, folder: Path, eval_: str, files: Any) -> None:
        """TrainError where masks, lists or class names of an eval were others for one run than for another."""
        first, known = self._files.setdefault(eval_, (folder, files))
        if files != known:
            told = f"{folder}: {eval_!r} was asked with other files than in {first}"
            raise TrainError(f"{told}; ask both anew: distillkit evaluate {as_word(first)} {as_word(folder)}")
