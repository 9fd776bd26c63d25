"""Assertions that rest on what the page of the format says."""

from __future__ import annotations

from collections import Counter

asserted: Counter[str] = Counter()  # by sentence, how often it was looked at


def must(sentence: str, holds: bool, what: str = "") -> None:
    """`sentence`: words of FORMAT.md, as they stand there. AssertionError quotes them where they do not hold."""
    asserted[sentence] += 1
    if not holds:
        raise AssertionError(f"{what or 'not so'}; FORMAT.md: {sentence}")
