"""A Ray cluster for the length of a command: the one at an address, or a small one of our own, which ends with us.

https://docs.ray.io/en/latest/ray-core/api/doc/ray.init.html
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distillkit.errors import DistillkitError
from distillkit.system.stopping import handlers_kept


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """`ray` is the module. DistillkitError when no cluster answers, or when Ray gives up on what is inside."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it talks of what it mends by itself
    own = {} if address else {"include_dashboard": False, "object_store_memory": 200_000_000}
    try:
        with handlers_kept():
            # Without "local" it would join a cluster that somebody has started on this machine.
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **own)
        yield
    except ConnectionError as error:
        raise DistillkitError(f"ray.address = {address!r}: no Ray cluster answers there") from error
    except ray.exceptions.RayTaskError:
        raise  # a bug, with its traceback
    except ray.exceptions.RayError as error:
        told = textwrap.shorten(str(error), 200, placeholder="...")
        raise DistillkitError(f"Ray gave up ({told}); what is committed is kept, run the same command again") from error
    finally:
        ray.shutdown()
