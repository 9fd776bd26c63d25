"""What a report tells is read anew from the stores that were measured, so these must be the same ones until its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from distillkit.errors import StoreError
from distillkit.evaluation.asked import Asked
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand


@contextmanager
def none_replaced(asked: Sequence[Asked], teacher: str | None) -> Iterator[None]:
    """StoreError where a store is another one than these evals measured: in place of what would come within of a
    report that has rows of both.
    """
    _refuse_replaced(asked, teacher)
    try:
        yield
    except Exception:  # no stop, which keeps its code
        _refuse_replaced(asked, teacher)
        raise
    _refuse_replaced(asked, teacher)


def _refuse_replaced(asked: Sequence[Asked], teacher: str | None) -> None:
    for name, digest in {pair for one in asked for pair in one.stores.items()}:
        if FeatureStore(expand(name), teacher).digest != digest:
            raise StoreError(
                f"{name}: another store took its place while it was measured (it grew, or was mended); run the same "
                "command again"
            )
