"""docs/results.md: every claim with its verdict, and where that comes from; made of results alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from distillkit.claims.drawing import drawing
from distillkit.claims.judge import HOLDS, NOT, UNSURE, WAITS, Judged, Pair
from distillkit.claims.results import Results
from distillkit.system.atomic import atomic_file
from distillkit.system.wording import count

_HEAD = """# What the papers claim, and what holds here

{sentence} Each arm is trained with every seed and asked the same items. An effect is the difference of two arms on
them, with its paired 95 % interval over items and seeds. "Holds" and "does not hold" stand where test and interval
agree, after Holm's correction over all tests of a paper; everything else is "not separable". Made by
`distillkit claims --write docs/results.md pipelines/claims benchmarks/results/claims`.
"""


def write_page(path: Path, results: Sequence[Results]) -> list[Path]:
    """Write the page and, beside it, a drawing for each claim with curves; returns all of them."""
    written = []
    for found in results:
        for number, claim in enumerate(found.claims):
            if claim.curves:
                place = path.with_name(_drawing_name(path, found, number))
                _write(place, drawing(claim.curves, claim.across, claim.on))
                written.append(place)
    _write(path, page(path, results))
    return [path, *written]


def page(path: Path, results: Sequence[Results]) -> str:
    """The page as Markdown; `path` is where it will lie."""
    counted = Counter(claim.holds for found in results for claim in found.claims)
    total = sum(counted.values())
    said = [f"{counted[word]} {words[counted[word] > 1]}" for word, words in _COUNTED.items() if counted[word]]
    lines = [_HEAD.format(sentence=f"Of {count(total, 'claim')} of {count(len(results), 'paper')} {_listed(said)}.")]
    lines += [
        "| paper | claim | verdict | effect | 95 % interval | seeds | n | on |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(found, claim) for found in results for claim in found.claims),
        "",
    ]
    for found in results:
        lines += _section(path, found)
    return "\n".join(lines).rstrip() + "\n"


# What is said of one claim, and of several.
_COUNTED = {
    HOLDS: ("holds", "hold"),
    NOT: ("does not hold", "do not hold"),
    UNSURE: ("cannot be told apart", "cannot be told apart"),
    WAITS: ("has not been run yet", "have not been run yet"),
}


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _row(found: Results, claim: Judged) -> str:
    quick = " (quick look)" if found.quick else ""
    pair = _weakest(claim)
    cells = [found.title, claim.text, f"**{claim.holds}**{quick}" if pair else claim.holds]
    if pair is None:
        return _cells([*cells, "", "", "", "", f"`{claim.on}`"])
    return _cells([*cells, _signed(pair.value), _interval(pair), str(claim.seeds), f"{claim.items:,}", f"`{claim.on}`"])


def _weakest(claim: Judged) -> Pair | None:
    """The pair that the verdict hangs on: of those with that verdict the one with the least effect."""
    those = [pair for pair in claim.pairs if pair.holds == claim.holds]
    return min(those, key=lambda pair: pair.value) if those else None


def _section(path: Path, found: Results) -> list[str]:
    lines = [f"## {found.title}", "", f"<{found.paper}>, `{found.command}`"]
    if found.runs:
        lines[-1] += (
            f": {count(found.runs, 'run')}, {count(found.minutes, 'minute')} of training, distillkit {found.distillkit}"
        )
    lines.append("")
    for number, claim in enumerate(found.claims):
        if len(claim.pairs) > 1:
            lines += [f"{claim.text}, on `{claim.on}`:", "", "| arm | against | effect | 95 % interval | verdict |"]
            lines += ["|---|---|---|---|---|"]
            lines += [_cells([p.one, p.other, _signed(p.value), _interval(p), p.holds]) for p in claim.pairs]
            lines.append("")
        if claim.curves:
            lines += [f"![{claim.text}: {claim.on} over {claim.across}]({_drawing_name(path, found, number)})", ""]
        reasons = dict.fromkeys([claim.why, *(pair.why for pair in claim.pairs if pair.holds != HOLDS)])
        told = "; ".join(reason for reason in reasons if reason)
        if told:
            lines += [f"* {claim.text}: {claim.holds}, {told}"]
        if claim.remark and claim.holds != HOLDS:
            lines += ["", f"{claim.text}: {claim.holds}. {claim.remark}", ""]
    return [*lines, ""]


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(pair: Pair) -> str:
    return "" if pair.low is None or pair.high is None else f"{pair.low:+.3f} to {pair.high:+.3f}"


def _drawing_name(path: Path, found: Results, number: int) -> str:
    return f"{path.stem}-{found.name}-{number + 1}.svg"


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())
