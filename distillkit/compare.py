"""Which run is better, by how much, and how sure that is: paired tests on the rows that evaluations kept.

    distillkit compare runs/dime_fm/baseline runs/dime_fm
    distillkit compare runs/base@0 runs/base@1 runs/new@0 runs/new@1 --table latex

The first run is what the others are compared with. Runs that differ by their seed alone are one recipe. Nothing is
asked of any network here: distillkit evaluate comes first. Out come compare.md and compare.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distillkit.callable import Say, make_callable, silent
from distillkit.errors import TrainError
from distillkit.evaluation.arms import arms_of, teacher_arm
from distillkit.evaluation.compared import compared
from distillkit.evaluation.comparison import Comparison
from distillkit.evaluation.measured import measured
from distillkit.report.atlas import write_atlas
from distillkit.report.comparison import verdicts, write_comparison
from distillkit.report.interactive import DOTS
from distillkit.system.paths import here

ATLAS = 5000  # images of which the maps take a minute or two


def compare(
    paths: Sequence[str | Path],
    say: Say = silent,
    *,
    baseline: str | Path | None = None,
    teacher: bool = False,
    out: str | Path | None = None,
    dots: int = DOTS,
) -> Path:
    """Compare evaluated runs; returns the path of compare.html, in `out` or else in the folder of the last run.

    `dots`: how many images its maps show at most; 0 for no maps.
    """
    found = comparison(paths, baseline=baseline, teacher=teacher)
    for line in (*verdicts(found), *found.notes):
        say(line)
    return write_comparison(here(out or paths[-1]), found, dots, say)


def comparison(paths: Sequence[str | Path], *, baseline: str | Path | None = None, teacher: bool = False) -> Comparison:
    """The same as values. TrainError for fewer than two recipes, and for runs that cannot stand on one table."""
    places = list(dict.fromkeys(here(path) for path in (*([] if baseline is None else [baseline]), *paths)))
    arms = arms_of([measured(place) for place in places], None if baseline is None else here(baseline))
    if len(arms) < 2 and not teacher:
        raise TrainError(
            f"{arms[0].name}: there is nothing to compare this recipe with; name another run, or add --teacher"
        )
    return compared(arms, teacher_arm(arms[0]) if teacher else None)


def atlas(path: str | Path, say: Say = silent, *, out: str | Path | None = None, most: int = ATLAS) -> Path:
    """One evaluated run beside its teacher as a Parquet for Embedding Atlas, `most` images of it. Returns its path, by
    default atlas.parquet in the run's folder.
    """
    return write_atlas(here(out or here(path) / "atlas.parquet"), comparison([path], teacher=True), most, say)


make_callable(__name__)
