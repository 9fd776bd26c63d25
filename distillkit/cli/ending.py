"""How a command ends: what its user can mend is one line, a traceback is our bug."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distillkit.cli.console import say
from distillkit.errors import DistillkitError, in_full, refused
from distillkit.system.fitting import MORE_THREADS, short_of_memory, short_of_threads

# Set to anything, it lets the traceback of a refused file be seen.
TRACEBACK = "DISTILLKIT_TRACEBACK"


def keep_standard_streams() -> None:
    """What was closed (`2>&-`) leads to nowhere: else the next file that is opened, of a store perhaps, has its
    number, and what a library in C or a child process says is written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, mode, closefd=False))


class _Terminal(io.FileIO):
    """One that may be closed while a command goes on: what is said to it then is lost, what is done is not."""

    def write(self, words: Any) -> int:
        """All of the words: a signal may come when a terminal has taken some, and what writes here asks no more."""
        left = memoryview(words).cast("B")
        try:
            while left:
                taken = super().write(left)
                if taken is None:  # what shares the terminal may have made it one that nobody waits for
                    select.select([], [self], [])
                left = left[taken or 0 :]
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return len(words)


def outlive_the_terminal() -> None:
    """Lines and progress bars for a terminal that was closed, as by a broken connection, are no error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            stream.flush()
            raw = _Terminal(stream.fileno(), "w", closefd=False)
            # stderr has no buffer: a signal may come while a line waits for a terminal that is halted, and its handler
            # could say nothing through a buffer that is being written.
            buffer = raw if name == "stderr" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, line_buffering=True))


def speak_any_text() -> None:
    """What a terminal or a pipe has no characters for is written as \\u2028 and the like, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def in_one_line() -> Iterator[None]:
    """Exit code 1 and a line for a DistillkitError, for what the system refuses, and for want of memory.

    What the system refuses is known by its number (errno), wherever it happens: a folder that cannot be written, a file
    where a folder belongs, a disk that is full. So is a word that was typed and is no UTF-8, by its bytes. All else is
    a bug and keeps its traceback.
    """
    try:
        try:
            yield
        finally:
            _flush()
    except DistillkitError as error:
        _end(in_full(error))
    except BrokenPipeError:
        _nobody_listens()
    except OSError as error:
        if error.errno is None or os.environ.get(TRACEBACK):
            raise
        _end(f"{in_full(error, refused(error))} ({TRACEBACK}=1 shows who asked)")
    except UnicodeEncodeError as error:
        if os.environ.get(TRACEBACK) or not _no_text(error):
            raise
        _end(f"{_no_text(error)}: no text in UTF-8, which is all that records can hold; rename it, or type another")
    except (MemoryError, RuntimeError) as error:
        if short_of_threads(error) and not os.environ.get(TRACEBACK):
            _end(in_full(error, f"no thread can be started; {MORE_THREADS}, and run the same command again"))
        if os.environ.get(TRACEBACK) or not _wants_memory(error):
            raise
        _end(in_full(error, short_of_memory(error, "lower what makes batches, rows or shards that large")))


def _no_text(error: UnicodeEncodeError) -> str:
    """The word of this command line with bytes that no record can hold; empty where none has."""
    wrong = error.object[error.start : error.end]
    typed = (word for word in sys.argv[1:] if "\udc80" <= wrong[:1] <= "\udcff" and wrong in word)
    return os.fsencode(next(typed, "")).decode("utf-8", "backslashreplace")


def _wants_memory(error: Exception) -> bool:
    """Python's own class, or one of the names that torch and a GPU's libraries have for it."""
    if isinstance(error, MemoryError):
        return True
    from distillkit.system.device import out_of_memory

    return out_of_memory(error)


def _flush() -> None:
    """Here, where a full disk behind stdout can still be told."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise type(error)(error.errno, error.strerror, "stdout") from error


def _end(told: str) -> None:
    with suppress(BrokenPipeError):
        say("error: " + " ".join(told.split("\n")))
    _forget_unwritten()
    sys.exit(1)


def _nobody_listens() -> None:
    """Whoever read our output has left (`| head`); nothing is wrong with that."""
    _forget_unwritten()
    sys.exit(1)


def _forget_unwritten() -> None:
    """Let Python not try again at its end what could not be written, which it would tell at length."""
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        if stream is not sys.__dict__[f"__{name}__"] or stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
