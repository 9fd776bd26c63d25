"""What the pretend GPU notes: where the host waited for it, and how copies came to it."""

from __future__ import annotations

import sys
import threading
from collections import Counter, defaultdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

_HERE, _PACKAGE = str(Path(__file__).parent), f"{Path(__file__).parents[2] / 'distillkit'}/"
_OTHERS = ("site-packages", "/lib/python", "<frozen", "<string>")


class Race(RuntimeError):
    """Pinned memory was written while the device might still copy out of it."""


class Ledger:
    """`waits`, `pageable` and `begun` count by "what @ file:line"; the place is the innermost one of the package.

    `waits_here`: those of the thread that asks. `begun`: questions for which CUDA begins where it has not yet.
    """

    def __init__(self) -> None:
        self._waits: defaultdict[int, Counter[str]] = defaultdict(Counter)  # by thread
        self._lock = threading.RLock()
        self.pageable: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.copies = 0  # to the device, of any kind
        self._pinned: dict[int, Tensor] = {}  # by storage; kept alive, so that no address comes again
        self._coming: list[tuple[Tensor, Tensor]] = []  # where to, and what
        self._flying: list[tuple[Tensor, Tensor, str]] = []  # source, what it held, and where the copy began

    def clear(self) -> None:
        """Begin to count anew, once what is under way has arrived."""
        self.land()
        self._waits.clear()
        self.pageable.clear()

    @property
    def waits(self) -> Counter[str]:
        with self._lock:
            return sum(self._waits.values(), Counter())

    @property
    def waits_here(self) -> Counter[str]:
        return self._waits[threading.get_ident()].copy()

    def wait(self, what: str) -> None:
        """The host waits for the device; whatever was being copied has arrived after that."""
        with self._lock:
            self._waits[threading.get_ident()][f"{what} @ {where()}"] += 1
        self.land()

    def copied(self, source: Tensor, non_blocking: bool) -> None:
        """A CPU tensor goes to the device."""
        self.copies += 1
        if not source.numel():
            return
        if non_blocking and self.is_pinned(source):
            with no_dispatch(), self._lock:
                self._flying.append((source, source.clone(), where()))
        elif non_blocking or source.ndim:
            self.pageable[f"{list(source.shape)} @ {where()}"] += 1
            if not non_blocking:
                self.wait("a blocking copy")
        else:
            self.wait("a number copied")

    def fetched(self, into: Tensor, source: Tensor) -> None:
        """The device's numbers go to pinned memory, where there are others until somebody waits."""
        with self._lock:
            self._coming.append((into, source.clone()))
        into.view(-1).view(torch.uint8).fill_(0xFF) if into.is_contiguous() else into.zero_()

    def land(self) -> None:
        """All copies are over. Raises Race if a source was written meanwhile."""
        with self._lock:
            flying, self._flying = self._flying, []
            coming, self._coming = self._coming, []
        with no_dispatch():
            for into, source in coming:
                into.copy_(source)
            for source, held, place in flying:
                if not torch.equal(source, held):
                    raise Race(f"pinned memory was overwritten under the copy that began at {place}")

    def begin(self, what: str) -> None:
        """Somebody asks for what is known once CUDA has begun."""
        with self._lock:
            self.begun[f"{what} @ {where()}"] += 1

    @property
    def has_begun(self) -> bool:
        return bool(self.begun or self.copies or self.pins or self.waits)

    @property
    def pins(self) -> int:
        """How often memory was pinned, for which CUDA begins where it has not yet."""
        return len(self._pinned)

    def pin(self, tensor: Tensor) -> Tensor:
        self._pinned[_storage(tensor)] = tensor
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        return _storage(tensor) in self._pinned


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def where() -> str:
    """The innermost line of the package that is being run, or else of whoever calls, as a test does."""
    frame, other = sys._getframe(1), None
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return f"{file.removeprefix(_PACKAGE)}:{frame.f_lineno}"
        if other is None and not file.startswith(_HERE) and not any(one in file for one in _OTHERS):
            other = f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return other or "?"
