"""What mining costs at other sizes, from the rows of tests/bench/mining.py: the mining part of docs/scaling.md.

    exact          seconds = q n / e                     e: queries x rows a second of the largest corpus measured
    small index    seconds = b n / m + exact / r         b: seconds to build it for m rows, r: times exact's speed there

q queries, n rows. That r stays is the pessimistic end: with n, lists get longer, but ranking costs what it did.

    python -m tests.bench.scaling
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from distillkit.mining.cost import spell
from distillkit.mining.index import lists, row_bytes

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks/results/cpu/mining.json"
PAGE, PICTURE = ROOT / "docs/scaling.md", ROOT / "docs/mining-cost.svg"
BEGIN, END = "<!-- mining: python -m tests.bench.scaling -->\n", "<!-- end of mining -->\n"

_IMAGES, _TEXTS, _WIDTH = 40_000_000, 28_400_000, 768  # of DIME-FM
_GPU_FLOPS = 50e12  # of the 67 TFLOP/s in float32 of an H200, https://www.nvidia.com/en-us/data-center/h200/
_MILLION = 1e6


@dataclass(frozen=True)
class Measured:
    """One size of corpus: queries a second by exact search and by a small index, and seconds to build that."""

    texts: int
    kind: str
    recall: float
    exact: float
    indexed: float
    build: float


def measured(result: dict) -> list[Measured]:
    """The rows of a result file, a line for each size and recall."""
    build: dict[int, float] = {}
    for row in result["rows"]:
        if found := re.match(r"index of ([\d,]+) texts", row["name"]):
            build[_number(found[1])] = row["ours"]
    lines = []
    for row in result["rows"]:
        if found := re.match(r"mining ([\d,]+) texts by (\w+) at recall", row["name"]):
            texts, recall = _number(found[1]), float(re.search(r"recall ([\d.]+)", row["unit"])[1])
            lines.append(Measured(texts, found[2], recall, row["theirs"], row["ours"], build[texts]))
    return lines


def section(result: dict) -> str:
    """The mining part of docs/scaling.md."""
    lines = measured(result)
    last = max(lines, key=lambda line: (line.texts, line.recall))
    rows = [
        f"| {line.texts:,} | {line.exact:,.0f} | {line.kind} | {line.recall:.3f} | {line.indexed:,.0f} | "
        f"{line.indexed / line.exact:.1f} | {line.build:,.0f} s |"
        for line in lines
    ]
    times, work = last.indexed / last.exact, _IMAGES * _TEXTS
    exact = work / (last.exact * last.texts)
    build = last.build * _TEXTS / last.texts
    small = build + exact / times
    gpu = 2 * _WIDTH * work / _GPU_FLOPS
    held = f"{_TEXTS * (8 + row_bytes(last.kind, _WIDTH)) / 1e9:.1f} GB, and {lists(_TEXTS):,} centroids"
    days, on_gpu = f"{small / 86_400:,.0f} machines", _TEXTS * _WIDTH * 4 / 1e9
    machine = f"{result['machine']['cpu']}, {result['machine']['cores']} cores"
    return f"""## Mining

k = 256 nearest of clustered vectors, 768 wide, on {machine} ({result["date"]}; the load
was {result["load"]:g} when it began):

| texts | exact, queries/s | index | recall@256 | queries/s | times exact | built in |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

![Seconds for a million queries against the number of texts](mining-cost.svg)

From the last line, for the {_IMAGES / 1e6:g} M images and {_TEXTS / 1e6:g} M texts of DIME-FM ({work:.2g} scores):

| way | time | held in memory | how many for one day |
|---|---|---|---|
| exact, here | {spell(exact)} | a block of texts, as max_memory allows | {exact / 86_400:,.0f} machines |
| {last.kind} at recall {last.recall:.3f}, here | {spell(small)}, {spell(build)} to build it | {held} | {days} |
| exact, on an H200 | {spell(gpu)} | {on_gpu:.0f} GB of texts on the device | {max(gpu / 86_400, 0.1):.1f} GPUs |

The H200 was not measured: it is taken at {_GPU_FLOPS / 1e12:g} of the 67 TFLOP/s that its maker states for float32.
Every query is independent: `--shard 2/8` on eight machines takes an eighth of the time, and the ids and scores are
{_IMAGES * 256 * 6 / 1e9:,.0f} GB.
"""


def picture(result: dict) -> str:
    """Seconds for a million queries over the number of texts, both logarithmic."""
    lines = measured(result)
    sizes = sorted({line.texts for line in lines})
    best = {size: max((line for line in lines if line.texts == size), key=lambda line: line.recall) for size in sizes}
    curves = {
        "exact": ("#5653cc", [_MILLION / best[size].exact for size in sizes]),
        "small index": ("#0b7f66", [_MILLION / best[size].indexed for size in sizes]),
        "with building it": ("#b8700f", [_MILLION / best[size].indexed + best[size].build for size in sizes]),
    }
    return _svg(sizes, curves)


def _svg(sizes: list[int], curves: dict[str, tuple[str, list[float]]]) -> str:
    from math import log10

    width, height, left, right, top, bottom = 620, 300, 66, 130, 20, 40
    values = [value for _, column in curves.values() for value in column]
    low, high = log10(min(values)) - 0.1, log10(max(values)) + 0.1

    def across(size: float) -> float:
        return left + (width - left - right) * log10(size / sizes[0]) / log10(sizes[-1] / sizes[0])

    def up(value: float) -> float:
        return height - bottom - (height - bottom - top) * (log10(value) - low) / (high - low)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fbfaf7"/>'
    ]
    for power in range(int(low) - 1, int(high) + 2):
        for value in (10.0**power, 3 * 10.0**power):
            if low <= log10(value) <= high:
                parts.append(f'<path d="M{left} {up(value):.1f}H{width - right}" stroke="#e5e2db"/>')
                parts.append(f'<text x="{left - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{spell(value)}</text>')
    for size in sizes:
        parts.append(f'<text x="{across(size):.1f}" y="{height - 18}" text-anchor="middle">{size:,}</text>')
    labels: list[float] = []
    for name, (colour, column) in curves.items():
        points = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in zip(sizes, column, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        place = up(column[-1]) + 4
        while any(abs(place - other) < 14 for other in labels):
            place -= 2
        labels.append(place)
        parts.append(f'<text x="{width - right + 8}" y="{place:.1f}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{left}" y="13">a million queries, k = 256</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 3}" text-anchor="middle">texts</text></svg>\n')
    return "".join(parts)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def page(text: str, result: dict) -> str:
    """docs/scaling.md with its mining part as the result file has it."""
    if BEGIN not in text:
        return text.rstrip("\n") + f"\n\n{BEGIN}{section(result)}{END}"
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + section(result) + END + rest.partition(END)[2]


def main() -> None:
    result = json.loads(RESULT.read_bytes())
    before = PAGE.read_text() if PAGE.is_file() else "# What it takes at scale\n"
    PAGE.write_text(page(before, result))
    PICTURE.write_text(picture(result))


if __name__ == "__main__":
    main()
