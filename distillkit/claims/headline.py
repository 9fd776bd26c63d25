"""What other pages say of the claims, between their marks.

The front page of a project: a sentence and a table of what each paper claims first, and of all that was decided. Any
page: how many of a paper's claims hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from distillkit.claims.judge import HOLDS, NOT, UNSURE, WAITS, Judged, Pair
from distillkit.claims.results import Results
from distillkit.errors import TrainError
from distillkit.system.atomic import atomic_file
from distillkit.system.wording import count

BEGIN, END = "<!-- claims: made by `distillkit claims --write` -->", "<!-- claims: end -->"
_OF_A_PAPER = re.compile(r"(<!-- claims of (?P<name>\w+) -->).*?(<!-- /claims -->)")
# What is said of one claim, and of several.
_COUNTED = {
    HOLDS: ("holds", "hold"),
    NOT: ("does not hold", "do not hold"),
    UNSURE: ("cannot be told apart", "cannot be told apart"),
    WAITS: ("has not been run yet", "have not been run yet"),
}

_DECIDED = (HOLDS, NOT)
_WHY = """An interval without 0 is not yet a verdict: the paired test must agree, after Holm's correction for the many
tests of a paper. Without it, some of so many claims would hold by chance."""


def sentence(results: Sequence[Results]) -> str:
    """How many claims hold."""
    claims = count(sum(len(found.claims) for found in results), "claim")
    return f"Of {claims} of {count(len(results), 'paper')} {_verdicts(results)}."


def _verdicts(results: Sequence[Results]) -> str:
    counted = Counter(claim.holds for found in results for claim in found.claims)
    said = [f"{counted[word]} {words[counted[word] > 1]}" for word, words in _COUNTED.items() if counted[word]]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def headline(results: Sequence[Results]) -> str:
    """The sentence, the first claim of each paper, and every other one that holds or does not."""
    lines = [
        *(f"{sentence(results)} The first claim of each paper, and every other one that has a verdict:", ""),
        "| paper | claim | here | effect, 95 % interval |",
        "|---|---|---|---|",
    ]
    for found in results:
        first, *others = found.claims
        for claim in (first, *(one for one in others if one.holds in _DECIDED)):
            quick = " (quick look)" if found.quick and claim.pairs else ""
            pair = weakest(claim)
            told = "" if pair is None else f"{signed(pair.value)} `{claim.measure}`, {interval(pair) or 'none'}"
            lines.append(cells([found.title, claim.text, f"{claim.holds}{quick}", told]))
    return "\n".join([*lines, "", _WHY])


def put(path: Path, results: Sequence[Results]) -> Path:
    """What is to stand between the marks of a page; TrainError for a page without them."""
    by_name = {found.name: found for found in results}

    def of_a_paper(found: re.Match[str]) -> str:
        if found["name"] not in by_name:
            raise TrainError(f"{path}: {found[1]}: no such file of claims; there are {', '.join(by_name)}")
        return f"{found[1]}{_verdicts([by_name[found['name']]])}{found[3]}"

    text, marks = _OF_A_PAPER.subn(of_a_paper, path.read_text("utf-8"))
    before, begins, rest = text.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if begins and ends:
        text = f"{before}{BEGIN}\n\n{headline(results)}\n\n{END}{after}"
    elif not marks:
        raise TrainError(f"{path}: no place for a headline; write the lines {BEGIN} and {END} where it shall be")
    with atomic_file(path) as file:
        file.write(text.encode())
    return path


def weakest(claim: Judged) -> Pair | None:
    """The pair that the verdict hangs on: of those with that verdict the one with the least effect."""
    those = [pair for pair in claim.pairs if pair.holds == claim.holds]
    return min(those, key=lambda pair: pair.value if claim.more else -pair.value) if those else None


def cells(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def signed(value: float) -> str:
    return f"{value:+.3f}"


def interval(pair: Pair) -> str:
    return "" if pair.low is None or pair.high is None else f"{pair.low:+.3f} to {pair.high:+.3f}"
