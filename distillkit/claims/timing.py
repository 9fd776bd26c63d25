"""How long all of it will take: from the runs that are finished, and from a probe before any is."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from distillkit.claims.trials import Experiment, Trial, all_trials
from distillkit.errors import DistillkitError
from distillkit.runfolder import RunFolder
from distillkit.system.wording import count
from distillkit.training.forecast import pace
from distillkit.training.pixel_costs import clock


class Timing:
    """What is left of `trials`, by what the finished ones took; of an arm without any by the mean of all others."""

    def __init__(self, trials: Sequence[Trial]):
        self._trials, self._took = list(trials), dict[str, list[float]]()

    def took(self, trial: Trial, seconds: float) -> None:
        """Note what one took here, from its beginning to its evaluation."""
        self._took.setdefault(trial.arm.name, []).append(seconds)

    def left(self) -> str:
        """In words, such as "12 of 39 runs left, about 14 min": those of other processes count as well."""
        left = [trial for trial in self._trials if not RunFolder(trial.recipe.folder).finished]
        if not left:
            return "all runs are there"
        known = {name: mean(found) for name, found in self._took.items()}
        guess = mean(known.values())
        seconds = sum(known.get(trial.arm.name, guess) for trial in left)
        return f"{len(left)} of {count(len(self._trials), 'run')} left, about {clock(seconds)}"


def plan(experiment: Experiment) -> list[str]:
    """Every arm with its steps and what they would take, and the sum over seeds; nothing is trained.

    Of an arm whose stores, or the run that it goes on from, are not there yet, the reason is told instead.
    """
    lines = [f"{experiment.file.title}: {count(len(experiment.file.claims), 'claim')}, seeds {experiment.seeds}"]
    total, unknown = 0.0, 0
    for step in experiment.file.quick.before if experiment.quick else experiment.file.before:
        lines.append(f"  before   distillkit {step.run}")
    width = max(len(arm.name) for arm in experiment.file.arms)
    for trial in all_trials(experiment):
        if trial.seed != experiment.seeds[0]:
            continue
        done = sum(RunFolder(experiment.folder(trial.arm.name, seed)).finished for seed in experiment.seeds)
        try:
            steps, seconds = pace(trial.recipe)
            told = f"{count(steps, 'step')}, {clock(steps * seconds)} at {1000 * seconds:.0f} ms"
            total += steps * seconds * (len(experiment.seeds) - done)
        except DistillkitError as error:
            told, unknown = f"cannot be probed yet: {error}", unknown + 1
        lines.append(f"  {trial.arm.name:{width}}  {done} of {count(len(experiment.seeds), 'seed')} trained; {told}")
    more = f", and {count(unknown, 'arm')} that cannot be probed yet" if unknown else ""
    return [*lines, f"  training that is left: {clock(total)}{more}; evaluations come on top"]
