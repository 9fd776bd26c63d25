"""Two processes that do something at the same moment, round after round."""

import multiprocessing as mp
import threading
from collections.abc import Callable
from typing import Any

_SPAWN = mp.get_context("spawn")  # a forked one has threads of PyTorch and FAISS that do not run
_PATIENCE = 240  # seconds for one round


class Pair:
    """`act(which, round, *arguments)` of two processes, begun together; what each answers, or the error it ends in."""

    def __init__(self, act: Callable[..., Any], rounds: int, *arguments: Any):
        self._barrier = _SPAWN.Barrier(3)
        self._said = [_SPAWN.SimpleQueue() for _ in range(2)]
        self._processes = [
            _SPAWN.Process(target=_goes, args=(act, which, rounds, self._barrier, self._said[which], arguments))
            for which in range(2)
        ]
        for process in self._processes:
            process.start()

    def round(self) -> list[Any]:
        """The next one: what both answer."""
        self._barrier.wait(_PATIENCE)
        found: list[Any] = [None, None]

        def hear(which: int) -> None:
            found[which] = self._said[which].get()

        threads = [threading.Thread(target=hear, args=(which,), daemon=True) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        return found

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _goes(
    act: Callable[..., Any], which: int, rounds: int, barrier: Any, said: Any, arguments: tuple[Any, ...]
) -> None:
    for number in range(rounds):
        barrier.wait()
        try:
            said.put(act(which, number, *arguments))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side is told
            said.put(f"{type(error).__name__}: {error}")
