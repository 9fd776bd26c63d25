"""How long all of it will take: from the runs that are finished, and from a probe before any is."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from distillkit.claims.work import Scene, Work, all_work
from distillkit.errors import DistillkitError
from distillkit.runfolder import RunFolder
from distillkit.system.wording import count
from distillkit.training.forecast import pace
from distillkit.training.pixel_costs import clock


class Timing:
    """What is left of `works`, by what the finished ones took; of an arm without any by the mean of all others."""

    def __init__(self, works: Sequence[Work]):
        self._works, self._took = list(works), dict[str, list[float]]()

    def took(self, work: Work, seconds: float) -> None:
        """Note what one took here, from its beginning to its evaluation."""
        self._took.setdefault(work.arm.name, []).append(seconds)

    def left(self) -> str:
        """In words, such as "12 of 39 runs left, about 14 min": those of other processes count as well."""
        left = [work for work in self._works if not RunFolder(work.recipe.folder).finished]
        if not left:
            return "all runs are there"
        known = {name: mean(found) for name, found in self._took.items()}
        guess = mean(known.values())
        seconds = sum(known.get(work.arm.name, guess) for work in left)
        return f"{len(left)} of {count(len(self._works), 'run')} left, about {clock(seconds)}"


def plan(scene: Scene) -> list[str]:
    """Every arm with its steps and what they would take, and the sum over seeds; nothing is trained.

    Of an arm whose stores, or the run that it goes on from, are not there yet, the reason is told instead.
    """
    lines = [f"{scene.file.title}: {count(len(scene.file.claims), 'claim')}, seeds {scene.seeds}"]
    total, unknown = 0.0, 0
    for step in scene.file.quick.before if scene.quick else scene.file.before:
        lines.append(f"  before   distillkit {step.run}")
    width = max(len(arm.name) for arm in scene.file.arms)
    for work in all_work(scene):
        if work.seed != scene.seeds[0]:
            continue
        done = sum(RunFolder(scene.folder(work.arm.name, seed)).finished for seed in scene.seeds)
        try:
            steps, seconds = pace(work.recipe)
            told = f"{count(steps, 'step')}, {clock(steps * seconds)} at {1000 * seconds:.0f} ms"
            total += steps * seconds * (len(scene.seeds) - done)
        except DistillkitError as error:
            told, unknown = f"cannot be probed yet: {error}", unknown + 1
        lines.append(f"  {work.arm.name:{width}}  {done} of {count(len(scene.seeds), 'seed')} trained; {told}")
    more = f", and {count(unknown, 'arm')} that cannot be probed yet" if unknown else ""
    return [*lines, f"  training that is left: {clock(total)}{more}; evaluations come on top"]
