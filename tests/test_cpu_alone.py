"""`make test` tests the CPU, also where there is a GPU; `-m gpu` asks for it."""

import os
import subprocess
import sys

import torch

from tests.conftest import hides_gpus

LATE = """
import os, torch
import distillkit
print(os.environ["CUBLAS_WORKSPACE_CONFIG"])
"""


def test_gpus_are_hidden_but_from_tests_that_ask_for_one():
    for markers in ("not long and not slow and not gpu", "not gpu", "slow", "long and not slow and not gpu", ""):
        assert hides_gpus(markers)
    assert not hides_gpus("gpu") and not hides_gpus("gpu and not slow")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "" and not torch.cuda.is_available()


def test_whoever_imports_us_has_a_cublas_that_can_repeat_itself():
    """It must be told before the first matrix product of the process, so before any recipe is read."""
    environment = {key: value for key, value in os.environ.items() if key != "CUBLAS_WORKSPACE_CONFIG"}
    told = subprocess.run([sys.executable, "-c", LATE], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ":4096:8"
    environment["CUBLAS_WORKSPACE_CONFIG"] = ":0:0"  # whoever says otherwise is heard
    told = subprocess.run([sys.executable, "-c", LATE], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ":0:0"
