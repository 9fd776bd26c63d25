"""docs/results.md: every claim with its verdict, and where that comes from; made of results alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distillkit.claims.drawing import drawing
from distillkit.claims.headline import cells, interval, sentence, signed, weakest
from distillkit.claims.judge import HOLDS, Judged, Pair
from distillkit.claims.results import Results
from distillkit.system.atomic import atomic_file
from distillkit.system.wording import count

_HEAD = """# What the papers claim, and what holds here

{sentence}

Each arm is trained with every seed and asked the same items. An effect is the difference of two arms on
them, with its paired 95 % interval over items and seeds (of an
order, over items alone). "Holds" and "does not hold" stand where test and interval
agree, after Holm's correction over all tests of a paper; everything else is "not separable". Made by
`distillkit claims --write docs/results.md --headline README.md --headline docs/choosing.md
pipelines/claims benchmarks/results/claims`.
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
    lines = [_HEAD.format(sentence=sentence(results))]
    lines += [
        "| paper | claim | verdict | effect | 95 % interval | seeds | n | on |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(found, claim) for found in results for claim in found.claims),
        "",
    ]
    for found in results:
        lines += _section(path, found)
    return "\n".join(lines).rstrip() + "\n"


def _row(found: Results, claim: Judged) -> str:
    quick = " (quick look)" if found.quick else ""
    pair = weakest(claim)
    row = [found.title, claim.text, f"**{claim.holds}**{quick}" if pair else claim.holds]
    if pair is None:
        return cells([*row, "", "", "", "", f"`{claim.on}`"])
    return cells([*row, signed(pair.value), interval(pair), str(claim.seeds), f"{claim.items:,}", f"`{claim.on}`"])


def _section(path: Path, found: Results) -> list[str]:
    lines = [f"## {found.title}", "", f"<{found.paper}>, `{found.command}`"]
    if found.runs:
        lines[-1] += (
            f": {count(found.runs, 'run')}, {count(found.minutes, 'minute')} of training, distillkit {found.distillkit}"
        )
        if found.seeds < found.asked:
            lines[-1] += f". Of {found.seeds} of the {count(found.asked, 'seed')} that the file asks for"
    lines.append("")
    for number, claim in enumerate(found.claims):
        if len(claim.pairs) > 1:
            lines += [f"{claim.text}, on `{claim.on}`:", ""]
            lines += [
                "| arm | against | effect | 95 % interval | seed by seed | verdict |",
                "|---|---|---|---|---|---|",
            ]
            lines += [cells([p.one, p.other, signed(p.value), interval(p), _each(p), p.holds]) for p in claim.pairs]
            lines.append("")
        if claim.curves:
            lines += [f"![{claim.text}: {claim.on} over {claim.across}]({_drawing_name(path, found, number)})", ""]
        reasons = dict.fromkeys([claim.why, *(pair.why for pair in claim.pairs if pair.holds != HOLDS)])
        why = "; ".join(filter(None, reasons))
        told = [f"{claim.holds}, {why}" if why else claim.holds]
        if len(claim.pairs) == 1 and claim.pairs[0].seeds:
            told.append(f"Seed by seed {_each(claim.pairs[0])}")
        if claim.remark and claim.holds != HOLDS:
            told.append(claim.remark.removesuffix("."))
        if len(told) > 1 or told[0] != claim.holds:
            lines += [f"{claim.text}: {'. '.join(told)}.", ""]
    return [*lines, ""]


def _each(pair: Pair) -> str:
    return ", ".join(map(signed, pair.seeds))


def _drawing_name(path: Path, found: Results, number: int) -> str:
    return f"{path.stem}-{found.name}-{number + 1}.svg"


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())
