"""Stage 1 killed at any instant: run again, it makes the same store."""

import os
import random
import subprocess
import sys
import time

import pytest
import torch

from tests.engine.killing import forked, run_and_kill
from tests.engine.whole import checksums, files


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_instant_and_run_again_it_is_the_same_store(recipes, run_cli, tmp_path, quick_disk):
    torch.set_num_threads(1)
    started = time.monotonic()
    os.waitpid(forked("extract-teacher", recipes[0], "--set", f'out="{tmp_path}/whole"'), 0)
    whole_time = time.monotonic() - started
    whole = {name: files(tmp_path / "whole" / name) for name in ("images", "texts")}
    want = {name: checksums(tmp_path / "whole" / name) for name in whole}

    arguments, draw = ("extract-teacher", recipes[0]), random.Random(0)
    run_and_kill(forked, arguments, whole_time, draw, 15, tmp_path / "out", want)
    code, _, err = run_cli(*arguments)
    assert code == 0, err
    assert {name: files(tmp_path / "out" / name) for name in whole} == whole


@pytest.mark.slow
def test_the_command_itself_killed_fifty_times(recipes, tmp_path):
    command = [sys.executable, "-c", "from distillkit.cli import main; main()", "extract-teacher", str(recipes[0])]
    started = time.monotonic()
    subprocess.run([*command, "--set", f'out="{tmp_path}/whole"'], check=True, capture_output=True)
    whole_time = time.monotonic() - started
    want = {name: checksums(tmp_path / "whole" / name) for name in ("images", "texts")}

    def start():
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid

    run_and_kill(start, (), whole_time, random.Random(0), 50, tmp_path / "out", want)
    subprocess.run(command, check=True, capture_output=True)
    assert {name: checksums(tmp_path / "out" / name) for name in want} == want
