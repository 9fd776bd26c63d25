"""Signals that ask a command to stop: Ctrl-C, SIGTERM, a terminal that goes. Whoever is within a step may end it first.

The command installs `on_signal`; a run of steps asks `asked()` after each, within `after_steps()`. A second signal of
the same kind ends the process at once, as it would without us. A process that signals do not reach, such as a worker
elsewhere, is `told`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What is kept, and whether anything is, whoever was stopped tells in a line of its own.
STOPPED = "stopped; the same command continues"
_SOON = 0.05  # seconds, by when what has swallowed a stop has mostly ended
_LONG = 60.0  # seconds, within which what ends by it mostly has
_patient = False
_asked: int | None = None


def asked() -> int | None:
    """The signal that asks to stop, if one came."""
    return _asked


def told(number: int) -> None:
    """This process is asked to stop by a signal that another one got."""
    global _asked
    _asked = number


@contextmanager
def after_steps() -> Iterator[None]:
    """Within it a signal only asks."""
    global _patient
    _patient = True
    try:
        yield
    finally:
        _patient = False


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Whatever a library does within it about the signals, afterwards they are handled as before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def code(number: int) -> int:
    """The exit code of a command that a signal stopped, as shells tell it."""
    return 128 + number


def leave_at_once() -> None:
    """Ctrl-C ends this process as SIGTERM does, where nobody hears it: Python's own way is an error and its traceback,
    wherever an import is, or what ends with the process.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, nor of whoever called us
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def on_signal(say: Callable[[str], None]) -> Iterator[None]:
    """Within it Ctrl-C, SIGTERM and SIGHUP leave in order, by SystemExit with 130, 143 and 129.

    A signal that whoever started us has us ignore stays ignored: `nohup` or a script does so for what it leaves behind.
    """
    global _asked
    _asked, own = None, os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        global _asked
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own:  # a process that was forked from ours ends as others do
            os.kill(os.getpid(), number)
        elif _patient:
            _asked = number
        else:
            say(STOPPED)
            raise insist(number)

    with _insisting() as insist:
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, stop) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Stop(SystemExit):
    """What a signal raises, wherever the main thread is."""


@contextmanager
def _insisting() -> Iterator[Callable[[int], _Stop]]:
    """Gives what makes the _Stop of a signal, to be raised at once.

    Another is raised a moment later where that came to code whose errors go nowhere: a finalizer's, what clears up
    after an import, a library that tries an import and goes on without. Else the command would go on as well. None is
    while something ends in order because of the first, however long that takes. While that is kept, but not what is
    handled now, it is mostly on its way: what a frame lets go of, as a generator, is closed before. Who kept it and
    goes on has a minute.
    """
    tell, alarm = sys.unraisablehook, signal.getsignal(signal.SIGALRM)
    stopped: list[tuple[int, float, weakref.ref[_Stop]]] = []

    def insist(number: int) -> _Stop:
        stop = _Stop(code(number))
        stopped.append((number, time.monotonic() + _LONG, weakref.ref(stop)))
        signal.signal(signal.SIGALRM, again)
        signal.siginterrupt(signal.SIGALRM, False)  # what a library reads or writes meanwhile is not disturbed
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return stop

    def again(alarm: int, frame: FrameType | None) -> None:
        number, until, _ = stopped[-1]
        if _patient:
            told(number)
        elif _leaving(sys.exc_info()[1]) or (time.monotonic() < until and any(stop() for *_, stop in stopped)):
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        else:
            raise insist(number)

    def raised(what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, _Stop):  # of which Python would print a traceback
            tell(what)

    sys.unraisablehook = raised
    try:
        yield insist
    finally:
        sys.unraisablehook = tell
        if stopped:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if alarm is None else alarm)


def _leaving(error: BaseException | None) -> bool:
    """Whether what is handled now is a _Stop, or came while one was."""
    seen = set[int]()
    while error is not None and id(error) not in seen and not isinstance(error, _Stop):
        seen.add(id(error))
        error = error.__context__
    return isinstance(error, _Stop)
