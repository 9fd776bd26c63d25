"""How commands end, and what they are begun with."""

import subprocess
import sys

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
