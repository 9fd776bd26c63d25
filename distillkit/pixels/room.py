"""Memory for decoded images: small ones side by side, large ones when there is room for them.

    with room():                      # one image: from its decoding until nobody needs it any more
        image = decode(file)
        ...

An image of 170 megapixels takes 1.4 GB while it is decoded, and as many threads as there are cores decode. What they
take together stays below a limit, by default a quarter of the memory that is free; one that is larger than that is
decoded alone. It changes when an image is decoded, and none of its pixels. What large ones leave behind goes back to
the system, before it is more than the limit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from distillkit.system.budget import Budget
from distillkit.system.memory import available_memory, return_freed

_SHARE = 4
_UNKNOWN = 1 << 30  # where the system does not say how much is free
# Bytes of a pixel at the worst moment. Pillow has RGB in four; another four are what it is converted or turned to.
_PLAIN, _OTHERS = 8, 20
_PLAIN_MODES = ("RGB", "L", "1", "YCbCr", "CMYK")
# An image of such a part of the limit is large: what it leaves behind is worth the time to give it back.
_LARGE = 16


def _default() -> int:
    free = available_memory()
    return free // _SHARE if free else _UNKNOWN


_room = Budget(_default)
_here = threading.local()
_counting, _left_behind = threading.Lock(), 0


def limit_to(size: int | None, alone: Any = None) -> None:
    """From now on so many bytes at once; None: a quarter of what is free when the first image comes."""
    global _room, _left_behind
    _room, _left_behind = Budget(_default if size is None else lambda: size, alone), 0


def limit() -> int:
    """Bytes that decoded images may take together."""
    return _room.limit


@contextmanager
def room() -> Iterator[None]:
    """What is decoded by this thread within is in memory until the end."""
    outer = getattr(_here, "held", None)
    if outer is not None:
        yield
        return
    with ExitStack() as held:
        _here.held, _here.some = held, False
        try:
            yield
        finally:
            _here.held = None


@contextmanager
def taken(width: int, height: int, mode: str) -> Iterator[None]:
    """Within, and until the `room` around it ends, there is memory for the pixels of such an image."""
    size = width * height * (_PLAIN if mode in _PLAIN_MODES else _OTHERS)
    held: ExitStack | None = getattr(_here, "held", None)
    if held is None:
        with _room.holding(size):
            _mind_the_rest(size)
            yield
        return
    if _here.some:  # who has some and waited for more could wait for one who waits for it
        _room.add(size)
        held.callback(_room.give, size)
    else:
        held.enter_context(_room.holding(size))
        _here.some = True
    _mind_the_rest(size)
    yield


def _mind_the_rest(size: int) -> None:
    """Large images before this one may have left memory behind; before it is more than the limit it goes back."""
    global _left_behind
    if size * _LARGE <= _room.limit:
        return
    with _counting:
        _left_behind += size
        if _left_behind > _room.limit:
            return_freed()
            _left_behind = size
