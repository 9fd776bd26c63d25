"""The job, top to bottom: read a file of claims, bring its arms to their end, judge, keep the results.

distillkit claims pipelines/claims/dimefm.toml
distillkit claims --write docs/results.md --headline README.md pipelines/claims benchmarks/results/claims
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distillkit.callable import Say, silent
from distillkit.claims.file import read_claims
from distillkit.claims.headline import put
from distillkit.claims.judge import judge
from distillkit.claims.page import write_page
from distillkit.claims.results import Results, not_run, read_results, remarked, write_results
from distillkit.claims.run import run_all
from distillkit.claims.timing import plan
from distillkit.claims.trials import Experiment
from distillkit.errors import RecipeError, TrainError
from distillkit.system.paths import here
from distillkit.system.wording import as_word


def claims(
    file: str | Path,
    runs: str | Path = "runs/claims",
    out: str | Path = "benchmarks/results/claims",
    say: Say = silent,
    command: str | None = None,
    *,
    quick: bool = False,
    overwrite: bool = False,
) -> Path:
    """Train, measure and judge all that the file claims; returns the path of the results.

    `quick`: a look in minutes, whose results stay beside the runs. `overwrite`: arms whose recipe has changed are
    trained anew, and their old runs kept beside. `command` is what the results tell.
    """
    file, runs = here(file), here(runs)
    out = runs if quick else here(out)
    experiment = Experiment(read_claims(file), runs, quick)
    run_all(experiment, say, overwrite=overwrite)
    found = judge(experiment)
    for claim in found:
        say(f"{claim.holds:13}  {claim.text}" + (f" ({claim.why})" if claim.why else ""))
    return write_results(out, experiment, found, command or f"distillkit claims {as_word(file)}")


def planned(file: str | Path, runs: str | Path = "runs/claims", *, quick: bool = False) -> list[str]:
    """What there is to do and how long it takes, a line each."""
    return plan(Experiment(read_claims(here(file)), here(runs), quick))


def write(places: Sequence[str | Path], page: str | Path, headlines: Sequence[str | Path] = ()) -> list[Path]:
    """The page of results, from results and files of claims: those without results are told as not run yet.

    `headlines`: pages of which the parts between their marks are made anew, see headline.py.
    """
    folders = [here(place) for place in places]
    files = [file for place in folders for file in (sorted(place.glob("*.toml")) if place.is_dir() else [place])]
    known = [file for place in folders for file in (sorted(place.glob("*.json")) if place.is_dir() else [])]
    known += [file for file in files if file.suffix == ".json"]
    claimed = {file: read_claims(file) for file in files if file.suffix == ".toml"}
    found: dict[str, Results] = {
        one.name: not_run(one, f"distillkit claims {as_word(file.as_posix())}") for file, one in claimed.items()
    }
    found |= _of_each(known)
    for file, one in claimed.items():
        found[one.name] = remarked(found[one.name], one, file)
    if not found:
        raise RecipeError(f"{', '.join(map(str, folders))}: neither files of claims nor results of them")
    results = list(found.values())
    return [*write_page(here(page), results), *(put(here(one), results) for one in headlines)]


def _of_each(files: Sequence[Path]) -> dict[str, Results]:
    """By name the results in these files: a quick look only where there is nothing else. TrainError for two of one."""
    found, where = dict[str, Results](), dict[str, Path]()
    for file in dict.fromkeys(files):
        one = read_results(file)
        if one.name in found and one.quick == found[one.name].quick:
            raise TrainError(f"{file}: results of {one.name!r}, as {where[one.name]} is; name one of the two")
        if one.name not in found or not one.quick:
            found[one.name], where[one.name] = one, file
    return found
