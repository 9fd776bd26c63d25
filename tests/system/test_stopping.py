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
