"""Bytes from outside, changed at random: by bits, cuts, repeats, and pieces that parsers stumble over."""

from __future__ import annotations

import random

_PIECES = (
    b"\0",
    b"\xff" * 8,
    b'"',
    b"{",
    b"[" * 64,
    b"null",
    b"-1",
    b"1e999",
    b"9" * 20,
    b"\n",
    b"../",
    b"/",
)


def mutated(data: bytes, seed: int, last: int = 0) -> bytes:
    """One to four changes; the same seed makes the same bytes. With `last` most of them are made there."""
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        if last and chance.randrange(4):
            place = max(0, len(changed) - chance.randrange(last + 1))
        kind = chance.randrange(6)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[place : place + chance.choice([1, 8, 64, 4096])]
        elif kind == 2:
            changed[place:place] = chance.choice(_PIECES)
        elif kind == 3:
            changed[place:place] = changed[place : place + chance.choice([1, 8, 64])]
        elif kind == 4:
            del changed[place:]
        elif place < len(changed):
            piece = chance.choice(_PIECES)
            changed[place : place + len(piece)] = piece
    return bytes(changed)
