"""A disk that is nearly full, by a limit of the system: no file of this process may become larger."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_file_above(most: int) -> Iterator[None]:
    """A write beyond it fails, as on a full disk: of Python's, a library's or a child's. Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
