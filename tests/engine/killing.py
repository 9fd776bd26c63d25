"""Processes that are started to be killed."""

import os
import shutil
import signal
import sys
import time

from distillkit import cli
from tests.engine.whole import checksums


def forked(*arguments):
    """The command line in a child of this process, which has everything imported already: it starts in no time."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.fsync = lambda handle: None
        sys.argv = ["distillkit", *map(str, arguments)]
        cli.main()
    except SystemExit as stopped:
        code = stopped.code or 0
    finally:
        os._exit(code)


def run_and_kill(start, arguments, whole_time, draw, rounds, folder, want):
    """Start, kill -9 at a random instant, again and again; a store that was finished is compared and begun anew."""
    kills = 0
    while kills < rounds:
        child, instant = start(*arguments), draw.random() * whole_time
        deadline = time.monotonic() + instant
        while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
        if done == (0, 0):
            os.kill(child, signal.SIGKILL)
            kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if all((folder / name / "manifest.json").is_file() for name in want):
            assert {name: checksums(folder / name) for name in want} == want
            shutil.rmtree(folder)
