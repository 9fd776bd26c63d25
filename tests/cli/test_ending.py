"""How commands end, and what they are begun with."""

import os
import pty
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

CLOSED = """
import os, sys
from distillkit import cli
try:
    cli.main()
except SystemExit:
    pass
with open("ours", "wb"):
    sys.stdout.flush()
    os.write(1, b"a library in C")
    os.write(2, b"a library in C")
    print("progress", file=sys.stderr, flush=True)
"""


def test_closed_streams_are_no_file_that_is_opened_later(tmp_path):
    """The system gives the lowest free number, and 2 is where everybody's errors go."""
    line = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", CLOSED, "--version"]
    assert subprocess.run(line, cwd=tmp_path).returncode == 0
    assert (tmp_path / "ours").read_bytes() == b""


def test_progress_is_no_output_where_nobody_hears_it(tmp_path):
    """Python prints to stdout what is to go to a stderr that is closed, where a script reads results."""
    line = ["sh", "-c", '"$@" 2>&-', "sh", sys.executable, "-c", CLOSED, "--version"]
    told = subprocess.run(line, cwd=tmp_path, stdout=subprocess.PIPE).stdout
    assert told.startswith(b"distillkit ") and told.endswith(b"\na library in C")


TALKS = """
import sys, time
from distillkit.cli.console import say
from distillkit.cli.ending import in_one_line, outlive_the_terminal
from distillkit.system.stopping import on_signal
outlive_the_terminal()
with on_signal(say), in_one_line():
    while True:
        say("a step and its loss " * 10)
"""


def rest_of(terminal):
    """What is said to it until nobody holds its other end, and closes it."""
    heard = b""
    with os.fdopen(terminal, "rb", buffering=0) as ours, suppress(OSError):  # EIO, where nobody does any more
        while more := ours.read(4096):
            heard += more
    return heard


def test_ctrl_c_ends_a_command_whose_terminal_is_halted():
    """Ctrl-S halts it: a line waits to be written, and the handler of the signal has one to say, too."""
    ours, its = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", TALKS], stderr=its)
    os.close(its)
    heard = os.read(ours, 100)
    asleep = 0
    while asleep < 5:  # until it waits for the terminal alone
        time.sleep(0.1)
        state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0
    child.send_signal(signal.SIGINT)
    heard += rest_of(ours)
    assert child.wait(60) == 130
    assert heard.rstrip().endswith(b"stopped; the same command continues"), heard[-500:]


SAYS_MUCH = """
import os, sys
from distillkit.cli.ending import outlive_the_terminal
outlive_the_terminal()
os.set_blocking(2, False)
sys.stderr.write("a loss and its step " * 5000 + "end")
sys.stderr.flush()
"""


def test_a_line_is_whole_on_a_terminal_that_takes_it_in_parts():
    """One that does not wait, as other programs may leave it, takes what it has room for."""
    ours, its = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", SAYS_MUCH], stderr=its)
    os.close(its)
    heard = rest_of(ours)
    assert child.wait(60) == 0
    assert len(heard) == 100_003 and heard.endswith(b"end")


MEANWHILE = """
import os, signal, sys
from distillkit.__main__ import main
class Finder:
    def find_spec(name, path, target=None):
        if name == "typer" and {importing}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
def at_the_end():
    os.kill(os.getpid(), signal.SIGINT)
import atexit
atexit.register(at_the_end)
sys.argv = ["distillkit", "--version"]
main()
"""


@pytest.mark.parametrize("importing", [True, False])
def test_ctrl_c_before_the_first_line_or_after_the_last_has_no_traceback(importing):
    """Imports take a while from a slow disk, and what torch registered takes one when the process ends."""
    done = subprocess.run(
        [sys.executable, "-c", MEANWHILE.format(importing=importing)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout.startswith("distillkit ") != importing


def test_ctrl_c_stays_ignored_by_what_a_script_leaves_behind():
    """A shell has it ignored by what it starts with `&`."""
    line = ["sh", "-c", "trap '' INT; \"$@\"", "sh", sys.executable, "-c", MEANWHILE.format(importing=True)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("distillkit ")


def test_the_console_script_is_the_process_of_a_command():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"distillkit": "distillkit.__main__:main"}
