"""Memory that does not suffice, a GPU's or this machine's, or threads: a line that says whose, and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distillkit.errors import DistillkitError

ON_THE_CPU = 'device = "cpu"'
# What oneDNN says on a CPU where its scratch memory cannot be had; where that has no limit it may mean something else.
NO_PRIMITIVE = "could not create a primitive"
# As Python, Arrow and ONNX Runtime say it.
_NO_THREAD = ("can't start new thread", "Failed to launch worker thread", "pthread_create failed")
MORE_THREADS = "raise `ulimit -u`, or the limit of processes (pids) that this container has"


def short_of_threads(error: BaseException) -> bool:
    """Whether an error says that the system lets this user, or this container, begin no further thread."""
    return any(told in str(error) for told in _NO_THREAD)


def short_of_memory(error: BaseException, smaller: str, elsewhere: str = ON_THE_CPU) -> str:
    """`smaller`: what to do about it. `elsewhere`: what to set, so that a full GPU is not needed."""
    # No torch is imported for this: who has no memory left cannot.
    told = f" ({str(error).splitlines()[0]:.160})" if str(error) else ""
    if isinstance(error, MemoryError) or any(one in str(error) for one in ("can't allocate memory", NO_PRIMITIVE)):
        return f"this machine has not the memory for it{told}; {smaller}"
    return (
        f"the GPU has not the memory for it{told}; {smaller}, or set {elsewhere} (nvidia-smi tells what else is on it)"
    )


@contextmanager
def fitting(
    what: str, smaller: str, elsewhere: str = ON_THE_CPU, error: type[DistillkitError] = DistillkitError
) -> Iterator[None]:
    """An `error` that begins with `what`, where memory does not suffice for what is inside; see `short_of_memory`."""
    try:
        yield
    except (RuntimeError, MemoryError) as full:
        from distillkit.system.device import out_of_memory

        if not out_of_memory(full):
            raise
        raise error(f"{what}: {short_of_memory(full, smaller, elsewhere)}") from full
