"""Stage 1 stopped by Ctrl-C: what is being written is finished, what is computed is dropped, nothing waits."""

import re
import signal
import subprocess
import sys
import time

import pytest

from distillkit.system.temporary import TEMPORARY

STOPPING = """
import os, signal, sys, threading, time
from distillkit import cli
from distillkit.teachers import _preprocess
from distillkit.store.writing.writer import StoreWriter
from distillkit.teachers.openclip import Openclip
commit, decode, forward, calls = StoreWriter.commit, _preprocess.decode, Openclip.forward, []
def slowly(path, **limits):
    print("decoding", file=open({log!r}, "a"), flush=True)
    time.sleep({decode})
    return decode(path, **limits)
def slow_commit(self, *shard):
    print("committing", file=open({log!r}, "a"), flush=True)
    time.sleep({commit})
    commit(self, *shard)
def and_stop(self, **inputs):
    calls.append(1)
    if len(calls) == {call}:
        if {again}:
            threading.Timer({again}, os.kill, (os.getpid(), signal.SIGINT)).start()
        os.kill(os.getpid(), signal.SIGINT)
    return forward(self, **inputs)
_preprocess.decode, StoreWriter.commit, Openclip.forward = slowly, slow_commit, and_stop
sys.argv = ["distillkit", "extract-teacher", {recipe!r}, "--set", "corpora.0.batch_size=2",
            "--set", 'corpora.0.fields=["image"]']
cli.main()
"""


@pytest.fixture
def stopped(recipes, tmp_path):
    """An extraction that is sent Ctrl-C at its forward number `call`: (exit code, stderr, what it logged, seconds)."""

    def run(call, decode=0.0, commit=0.0, again=0.0):
        log = tmp_path / "log"
        code = STOPPING.format(
            log=str(log), recipe=str(recipes[0]), decode=decode, commit=commit, call=call, again=again
        )
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr and done.stdout == ""
        return done.returncode, done.stderr, log.read_text().splitlines(), time.monotonic() - started

    return run


@pytest.mark.long
def test_ctrl_c_finishes_the_shard_that_is_being_written_and_the_next_run_goes_on(stopped, recipes, run_cli, stores):
    """Ctrl-C during the first forward of the second shard, while the first one is still on its way to the disk."""
    code, err, log, _ = stopped(33, commit=1.0)
    assert code == 130 and "stopped; the same command continues" in err.splitlines()
    told = "images: not complete, 64 of 70 rows committed, 1 of 2 shards; a shard is 64 rows"
    assert err.splitlines()[-1].endswith(told)
    assert log.count("committing") == 1 and (stores / "images/commits/00000.json").is_file()
    assert not list(stores.rglob(f"*{TEMPORARY}"))
    arguments = ("--set", "corpora.0.batch_size=2", "--set", 'corpora.0.fields=["image"]')
    code, _, err = run_cli("extract-teacher", recipes[0], *arguments)
    assert code == 0 and "70 rows in 2 shards, 1 already committed" in err
    assert (stores / "images/manifest.json").is_file()


def test_ctrl_c_drops_the_shard_that_is_being_computed_and_what_is_queued(stopped, stores):
    """At the second forward: two batches of two were shown, one waits, four images are under way; 60 never are."""
    code, _, log, _ = stopped(2, decode=0.1)
    assert code == 130 and log.count("decoding") <= 12
    assert not list((stores / "images").glob("commits/*")) and not list(stores.rglob(f"*{TEMPORARY}"))


def test_ctrl_c_before_the_first_batch_says_that_there_was_nothing_to_keep(stopped):
    code, err, _, _ = stopped(1)
    told = "images: not complete, 0 of 70 rows committed, 0 of 2 shards; a shard is 64 rows; no batch of 2 was finished"
    assert code == 130 and err.splitlines()[-1].endswith(f"{told} yet")


def test_ctrl_c_after_some_quick_batches_says_why_they_are_not_kept(stopped):
    code, err, _, _ = stopped(20)
    # On a machine that is very busy they take longer, and are kept.
    told = (
        r"a shard is 64 rows; (\d+ rows in hand took less than 10 s, which is not kept|"
        r"of a shard that is not whole yet \d+ rows are kept)$"
    )
    assert code == 130 and re.search(told, err.splitlines()[-1])


def test_a_second_ctrl_c_stops_at_once(stopped, stores):
    code, _, log, seconds = stopped(33, commit=40.0, again=0.5)
    assert code == -signal.SIGINT and log.count("committing") == 1 and seconds < 30
