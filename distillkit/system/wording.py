"""Words that go with numbers, in what is told and in errors."""

from __future__ import annotations

import shlex
from numbers import Integral


class Usual(str):
    """A line that every run tells on its way, which is of no interest to who is told of many at once; others are."""


def count(number: float, thing: str, several: str | None = None) -> str:
    """ "1 shard", "2 shards", "65,536 rows", "0.5 epochs"; `several` where an s does not make the plural."""
    shown = f"{number:,}" if isinstance(number, Integral) else f"{number:g}"
    return f"{shown} {thing if number == 1 else several or f'{thing}s'}"


def several(number: int, phrase: str) -> str:
    """What is counted under a longer name: "1 link in circles", "2 links in circles" of "link(s) in circles"."""
    return f"{number:,} {phrase.replace('(s)', '' if number == 1 else 's')}"


def rows_and_failed(rows: int, failed: int, unasked: int = 0, view: object = None) -> str:
    """ "1,927 rows, 2 of them failed"; of mining also how many are not of the `view` that it asked about, which are no
    failed ones."""
    told = f"{count(rows, 'row')}, {f'{failed:,} of them' if failed else 'none'} failed"
    if not unasked:
        return told
    return f"{told}, {unasked:,} not asked (not of the view {'that was' if view is None else view})"


def size(number: float) -> str:
    """Bytes as people say them, in powers of ten: "812 B", "1.94 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def pace(rate: float, thing: str = "rows") -> str:
    """What is slow is not at rest: "0.3 rows/s", "1 row/s", "310 rows/s"; `thing`: several of it, as "queries"."""
    shown = f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.2g}"
    one = f"{thing[:-3]}y" if thing.endswith("ies") else thing.removesuffix("s")
    return f"{shown} {one if shown == '1' else thing}/s"


def wait(seconds: float) -> str:
    """ "18 s", "12 min", "3.5 h": as exactly as anybody can know."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def as_word(value: object) -> str:
    """A path, or whatever else goes into a command that is told, as one word of it: quoted where it has blanks."""
    return shlex.quote(str(value))


def one_line(error: BaseException) -> str:
    """The first line of what an error says that is not empty, or its name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def network(model: str) -> str:
    """As people are told of it: "ViT-B-32//data/mine.pt" is "ViT-B-32 (mine.pt)", "ViT-L-14/openai" is itself."""
    name, _, weights = model.partition("/")
    file = weights.rpartition("/")[2]
    return f"{name} ({file})" if file != weights and ":" not in name else model
