"""One sentence and one table for the front page of a project: what a paper claims first, and whether it holds here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from distillkit.claims.judge import HOLDS, NOT, UNSURE, WAITS, Judged, Pair
from distillkit.claims.results import Results
from distillkit.errors import TrainError
from distillkit.system.atomic import atomic_file
from distillkit.system.wording import count

BEGIN, END = "<!-- claims: made by `distillkit claims --write` -->", "<!-- claims: end -->"
# What is said of one claim, and of several.
_COUNTED = {
    HOLDS: ("holds", "hold"),
    NOT: ("does not hold", "do not hold"),
    UNSURE: ("cannot be told apart", "cannot be told apart"),
    WAITS: ("has not been run yet", "have not been run yet"),
}


def sentence(results: Sequence[Results]) -> str:
    """How many claims hold."""
    counted = Counter(claim.holds for found in results for claim in found.claims)
    said = [f"{counted[word]} {words[counted[word] > 1]}" for word, words in _COUNTED.items() if counted[word]]
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Of {count(sum(counted.values()), 'claim')} of {count(len(results), 'paper')} {listed}."


def headline(results: Sequence[Results]) -> str:
    """The sentence, and the first claim of each paper."""
    lines = [
        *(sentence(results), ""),
        "| paper | its first claim | here | effect, 95 % interval |",
        "|---|---|---|---|",
    ]
    for found in results:
        claim = found.claims[0]
        quick = " (quick look)" if found.quick and claim.pairs else ""
        pair = weakest(claim)
        told = "" if pair is None else f"{signed(pair.value)} `{claim.measure}`, {interval(pair) or 'none'}"
        lines.append(cells([found.title, claim.text, f"{claim.holds}{quick}", told]))
    return "\n".join(lines)


def put(path: Path, results: Sequence[Results]) -> Path:
    """The headline between the marks of a page; TrainError for a page without them."""
    before, begins, rest = path.read_text().partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (begins and ends):
        raise TrainError(f"{path}: no place for a headline; write the lines {BEGIN} and {END} where it shall be")
    with atomic_file(path) as file:
        file.write(f"{before}{BEGIN}\n\n{headline(results)}\n\n{END}{after}".encode())
    return path


def weakest(claim: Judged) -> Pair | None:
    """The pair that the verdict hangs on: of those with that verdict the one with the least effect."""
    those = [pair for pair in claim.pairs if pair.holds == claim.holds]
    return min(those, key=lambda pair: pair.value) if those else None


def cells(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def signed(value: float) -> str:
    return f"{value:+.3f}"


def interval(pair: Pair) -> str:
    return "" if pair.low is None or pair.high is None else f"{pair.low:+.3f} to {pair.high:+.3f}"
