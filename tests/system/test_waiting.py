"""How threads wait is set once, before torch loads its OpenMP, unless the user has chosen."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("chosen", "waits"),
    [({}, ("PASSIVE", "1000")), ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),
     ({"GOMP_SPINCOUNT": "7"}, ("PASSIVE", "7"))],
)  # fmt: skip
def test_threads_wait_briefly_unless_told_otherwise(chosen, waits):
    look = "import os, sys; from distillkit.system.waiting import wait_briefly as w; w(); "
    look += "assert 'torch' not in sys.modules; "
    look += "print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    rest = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    told = subprocess.run([sys.executable, "-c", look], env=rest | chosen, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(one) for one in waits]
