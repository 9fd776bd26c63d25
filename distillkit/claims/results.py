"""NAME.json: the verdicts of a file of claims, small enough to be committed; the page of results is made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distillkit.claims.file import Claim, ClaimsFile
from distillkit.claims.judge import WAITS, Judged, Pair, Point
from distillkit.claims.trials import Experiment
from distillkit.errors import TrainError
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import make_folder, write_json
from distillkit.system.locks import locked
from distillkit.system.versions import versions


@dataclass(frozen=True)
class Results:
    """`command` makes them again. `minutes`: of all `runs` together, training alone. `asked`: seeds that the file of
    claims has by now. `asks`: the file's digest when they were judged, which older results do not tell.
    """

    name: str
    title: str
    paper: str
    command: str
    quick: bool
    claims: tuple[Judged, ...]
    seeds: int = 0
    runs: int = 0
    minutes: float = 0.0
    distillkit: str = ""
    asked: int = 0
    asks: str = ""


def write_results(folder: Path, experiment: Experiment, claims: Sequence[Judged], command: str) -> Path:
    """Write FOLDER/NAME.json; returns its path."""
    facts = [
        RunFolder(experiment.folder(arm.name, seed)).facts()
        for arm in experiment.file.arms
        for seed in experiment.seeds
    ]
    found = Results(
        experiment.file.name,
        experiment.file.title,
        experiment.file.paper,
        command,
        experiment.quick,
        tuple(claims),
        len(experiment.seeds),
        len(facts),
        round(sum(float(one.get("seconds", 0.0)) for one in facts) / 60, 1),
        versions()["distillkit"],
        asks=experiment.file.asks,
    )
    make_folder(folder)
    path = folder / f"{experiment.name}.json"
    with locked(
        experiment.runs / f".{experiment.name}.results.lock"
    ):  # processes that share the arms end at the same moment
        write_json(path, _rounded(asdict(found)))
    return path


def read_results(path: Path) -> Results:
    """TrainError for what is no such file."""
    try:
        record = json.loads(path.read_bytes())
        return Results(**record | {"claims": tuple(map(_judged, record["claims"]))})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainError(f"{path}: no results of distillkit claims ({error!r:.80})") from error


def not_run(file: ClaimsFile, command: str) -> Results:
    """What stands in the place of results that are not there yet."""
    waiting = [Judged(one.text, one.on, one.by, WAITS, (), 0, 0, why=one.waits or "") for one in file.claims]
    return Results(file.name, file.title, file.paper, command, False, tuple(waiting))


def remarked(results: Results, file: ClaimsFile, path: Path) -> Results:
    """With the file's remarks and number of seeds. TrainError where its claims are others by now than were judged."""
    alike = len(results.claims) == len(file.claims) and all(map(_of_one, results.claims, file.claims))
    if not alike or results.asks not in ("", file.asks):
        what = "its claims" if not alike else "its arms, evals or claims"
        raise TrainError(f"{path}: {what} are not those that were judged; run `{results.command}` again")
    pairs = zip(results.claims, file.claims, strict=True)
    claims = tuple(replace(judged, remark=claim.remark) for judged, claim in pairs)
    return replace(results, claims=claims, asked=len(file.seeds))


def _of_one(judged: Judged, claim: Claim) -> bool:
    """Whether that is the verdict on this claim: the same words, arms and curves."""
    if (judged.text, judged.on, judged.by) != (claim.text, claim.on, claim.by):
        return False
    if judged.holds == WAITS:
        return claim.waits is not None or not judged.why
    pairs = [(", ".join(claim.order), claim.than)] if claim.order else claim.better
    curves = [(curve.name, tuple(curve.x)) for curve in claim.curves]
    told = [(name, tuple(point.x for point in points)) for name, points in judged.curves]
    return [(pair.one, pair.other) for pair in judged.pairs] == pairs and told == curves


def _judged(record: dict[str, Any]) -> Judged:
    pairs = tuple(Pair(**pair | {"seeds": tuple(pair.get("seeds", ()))}) for pair in record["pairs"])
    curves = tuple((name, tuple(Point(**point) for point in points)) for name, points in record["curves"])
    return Judged(**record | {"pairs": pairs, "curves": curves})


def _rounded(content: Any) -> Any:
    """Five digits: more would be of one machine only."""
    if isinstance(content, float):
        return float(f"{content:.5g}")
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, (list, tuple)) else content
