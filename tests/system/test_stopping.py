"""Signals that ask a command to stop: those that it was started to ignore do not."""

import subprocess
import sys

import pytest

_SCRIPT = """
import os, signal
from distillkit.system.stopping import on_signal
signal.signal(signal.{name}, signal.{before})
with on_signal(print):
    os.kill(os.getpid(), signal.{name})
    print("goes on")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_a_command_was_started_to_ignore_stays_ignored(name):
    """A script leaves something behind that Ctrl-C is not meant for; anything else ends by it."""
    said = {}
    for before in ("SIG_IGN", "SIG_DFL"):
        script = _SCRIPT.format(name=name, before=before)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        said[before] = done.returncode, done.stdout
    code = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}[name]
    assert said == {"SIG_IGN": (0, "goes on\n"), "SIG_DFL": (code, "stopped; the same command continues\n")}


_FINALIZED = """
import gc, os, signal, sys, time, weakref
from distillkit.system.stopping import on_signal
class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
with on_signal(lambda line: print(line, flush=True)):
    if {weak}:
        held = type("Other", (), {{}})()
        seen = weakref.ref(held, Held.__del__)
    else:
        held = Held()
    del held
    for _ in range(200):
        time.sleep(0.1)
    print("went on")
"""


@pytest.mark.parametrize("weak", [False, True])
def test_a_stop_within_a_finalizer_stops_all_the_same(weak):
    """Python prints errors of these and goes on; each import ends in one."""
    done = subprocess.run(
        [sys.executable, "-c", _FINALIZED.format(weak=weak)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "stopped; the same command continues\n", "")


def test_errors_of_finalizers_are_told_as_ever():
    script = _FINALIZED.replace("os.kill(os.getpid(), signal.SIGTERM)", "1 / 0").replace("sleep(0.1)", "sleep(0)")
    done = subprocess.run(
        [sys.executable, "-c", script.format(weak=False)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "went on\n") and "ZeroDivisionError" in done.stderr


_SWALLOWED = """
import os, signal, time
from distillkit.system.stopping import on_signal
with on_signal(lambda line: print(line, flush=True)):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except:
        {then}
    while True:
        len("a library that goes on")
"""


def test_a_stop_that_a_library_swallows_stops_all_the_same():
    """As one that tries an import and goes on without: the command said that it stopped, went on, and ended well."""
    done = subprocess.run(
        [sys.executable, "-c", _SWALLOWED.format(then="pass")], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "stopped; the same command continues\n", "")


def test_what_ends_in_order_because_of_a_stop_is_not_stopped_again():
    """As a shard that is being written, which takes longer; errors that are handled on the way make no difference."""
    then = """
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            try:
                1 / 0
            except ZeroDivisionError:
                time.sleep(0.01)
        print("kept")
        raise
"""
    done = subprocess.run(
        [sys.executable, "-c", _SWALLOWED.format(then=then)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "stopped; the same command continues\nkept\n", "")


_HELD = """
import contextlib, os, signal, time
from distillkit.system import stopping
def slowly():
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        time.sleep(0.01)
    print("kept")
def asked():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
def rows():
    try:
        yield 1
    finally:
        slowly()
with stopping.on_signal(lambda line: print(line, flush=True)):
    {body}
    while True:
        len("a library that goes on")
"""


@pytest.mark.parametrize(
    "body",
    ["for _ in rows(): asked()", "with contextlib.ExitStack() as stack: stack.callback(slowly); stack.callback(asked)"],
    ids=["generator", "stack"],
)
def test_what_is_closed_while_a_stop_is_on_its_way_is_not_stopped_again(body):
    """The loop alone has this generator, which is closed before anything handles the stop; a stack handles it last."""
    done = subprocess.run(
        [sys.executable, "-c", _HELD.format(body=body)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "stopped; the same command continues\nkept\n", "")


def test_who_keeps_a_stop_and_goes_on_is_stopped_later():
    body = "stopping._LONG = 0.2\n    try: asked()\n    except BaseException as error: kept = error"
    done = subprocess.run(
        [sys.executable, "-c", _HELD.format(body=body)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (143, "")
