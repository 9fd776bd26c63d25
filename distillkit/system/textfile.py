"""The lines of a text file, by one rule for all of them.

A line feed ends a line, and the carriage return before it goes with it. Nothing else ends one: `str.splitlines` cuts at
U+2028 and at seven characters more, which keys and captions may hold. A byte order mark is no content.
"""

from __future__ import annotations


def lines_of(content: bytes) -> list[str]:
    """Every line of a file, the empty ones too. UnicodeDecodeError for what is not UTF-8."""
    lines = content.decode("utf-8-sig").split("\n")
    return [without_end(line) for line in (lines if lines[-1] else lines[:-1])]


def without_end(line: str) -> str:
    """A line without what ends it."""
    return line.removesuffix("\n").removesuffix("\r")
