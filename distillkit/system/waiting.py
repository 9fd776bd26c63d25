"""How threads of OpenMP wait for each other. Read when torch loads its own, so set before torch is imported."""

from __future__ import annotations

import os


def wait_briefly() -> None:
    """Spin for some ten microseconds, then give up the core; nothing where the user has chosen how to wait.

    Threads that spin longer take the core of another process: the demo's student beside another one trained up to six
    times slower. Threads that never spin must be woken for every small operation: alone, a step of it took 98 ms where
    68 to 80 do (61 by spinning for long). Spinning briefly costs it a tenth beside another one.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # of GCC's OpenMP, which torch brings on Linux
