"""Words that go with numbers, in what is told and in errors."""

from __future__ import annotations


def count(number: int, thing: str, several: str | None = None) -> str:
    """ "1 shard", "2 shards", "65,536 rows"; `several` where an s does not make the plural."""
    return f"{number:,} {thing if number == 1 else several or f'{thing}s'}"


def pace(rate: float, thing: str = "rows") -> str:
    """What is slow is not at rest: "0.3 rows/s", "310 rows/s"."""
    return f"{rate:,.0f} {thing}/s" if rate >= 9.95 else f"{rate:.2g} {thing}/s"
