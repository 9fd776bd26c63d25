"""Shards computed one after the other: each batch is shown to the teachers, each failure goes to the ledger.

Only inputs are made ahead, across the borders of shards: no teacher waits for the first image of the next one.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from distillkit.callable import Say
from distillkit.engine.asking import Answer, Asked
from distillkit.engine.begun import Begun
from distillkit.engine.cost import Cost
from distillkit.engine.job import Job
from distillkit.engine.prefetch import prefetched
from distillkit.engine.shard import Shard
from distillkit.engine.shown import Shown, image_batches, images, text_batches, texts
from distillkit.errors import SourceError, in_the_end
from distillkit.store.format.field import PARAMETERS
from distillkit.store.writing.shards import Failure
from distillkit.system.progress import Progress
from distillkit.system.spans import WAIT, span
from distillkit.system.wording import count

_BEHIND = 2  # batches whose answers are still on their way, or being kept, while a teacher is asked the next


class Plans:
    """The planned rows of shards, each when its turn comes: pieces of a mapped or shared table, nothing is copied."""

    def __init__(self, plan: pa.Table, shards: Iterable[int], span: Callable[[int], tuple[int, int]]):
        self.plan, self.shards, self.span = plan, shards, span

    def items(self) -> Iterator[tuple[int, pa.Table]]:
        for shard in self.shards:
            first, stop = self.span(shard)
            yield shard, self.plan.slice(first, stop - first)

    def values(self) -> Iterator[pa.Table]:
        return (plan for _, plan in self.items())


def computed(
    job: Job,
    plans: Plans | dict[int, pa.Table],
    say: Say,
    tell: Callable[[Shard, str, int], None],
    begun: Begun | None = None,
) -> Generator[Shard]:
    """Shards by number and plan, in turn. `tell` hears of the one in hand, of the pass, and how many rows are through.

    `begun`: where what is computed of a shard is kept, and what was kept is gone on with.
    """
    source = job.source  # it cannot be opened any more when it is lost
    asked = {alias: Asked(alias, teacher.network, say) for alias, teacher in job.teachers.items()}
    with ExitStack() as stack:
        # Entered first, so left last: what they wait for has been cancelled by then.
        making, keeping = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        shown = begun.images_shown if begun else lambda number, rows: 0
        pixels = stack.enter_context(images(job, plans.items(), shown)) if "image" in job.passes else None
        tokens = stack.enter_context(texts(job, plans.values())) if "text" in job.passes else None
        for number, plan in plans.items():
            shard = Shard(job, number, plan)
            if begun:
                begun.resume(shard)
                if shard.rows_reached:
                    say(_where_it_goes_on(begun.path, shard))
            for what in job.passes:
                batches = text_batches(shard, tokens) if what == "text" else image_batches(shard, pixels)
                _ask(shard, what, prefetched(batches, making), asked, keeping, tell, begun)
            _refuse_a_lost_corpus(source, shard.failures)
            shard.cost.halved = [alias for alias, one in asked.items() if one.halved]
            yield shard


@contextmanager
def counted(job: Job, rows: int, say: Say) -> Iterator[Callable[[Shard, str, int], None]]:
    """A `tell` for rows that no engine counts shard by shard: progress over all of them, once for each pass."""
    what, through = " and ".join(f"{one}s" for one in job.passes), Counter[tuple[int, str]]()
    with Progress(f"{job.path}: {what}", rows * len(job.passes), say) as progress:

        def tell(shard: Shard, one: str, done: int) -> None:
            progress.advance(done - through[shard.number, one])
            through[shard.number, one] = done

        yield tell


def _where_it_goes_on(store: Path, shard: Shard) -> str:
    """What is told of a shard that was kept: images come first, so that where all were seen, texts may be left."""
    rows, reached = shard.plan.num_rows, shard.rows_reached
    what = f"from row {reached:,} of its {rows:,}" if reached < rows else "behind the images of its rows"
    return (
        f"{in_the_end(store)}: shard {shard.number + 1} goes on {what}, as {count(reached, 'row')} of it had been kept"
    )


def _ask(
    shard: Shard,
    what: str,
    batches: Iterator[Shown],
    asked: dict[str, Asked],
    keeping: ThreadPoolExecutor,
    tell: Callable[[Shard, str, int], None],
    begun: Begun | None,
) -> None:
    """Show every batch to every teacher that is asked about it; what they said is kept while they look at the next.

    They are asked here, in the thread that began: of its memory alone glibc keeps large pieces for the next batch. It
    is the thread that keeps which waits for a GPU, so that the next batch is on its way there before this one is done.
    Nobody interrupts that thread: whoever stops this one finds in the shard whole batches, and how many.
    """
    known, done = {row for row, _, _ in shard.failures}, 0
    kept: deque[Future[None]] = deque()
    try:
        for batch in _timed(batches, shard.cost):
            said: dict[str, Answer] = {}
            for alias, inputs in batch.inputs.items():
                said[alias] = asked[alias](inputs, shard.job.passes[what][alias])
            if len(kept) == _BEHIND:
                kept.popleft().result()
            if begun and begun.due:
                _all_kept(kept)
                _refuse_a_lost_corpus(shard.job.source, shard.failures)
                begun.keep(shard)
            done += len(batch.rows)
            kept.append(keeping.submit(_keep, shard, what, batch, said, known, done))
            tell(shard, what, done)
        _all_kept(kept)
    except (KeyboardInterrupt, SystemExit):
        if begun and begun.worth_it:
            keeping.submit(_all_kept, kept).result()  # behind all that was handed over, though `kept` may lack the last
            _refuse_a_lost_corpus(shard.job.source, shard.failures)
            begun.keep(shard)
        raise


def _all_kept(kept: deque[Future[None]]) -> None:
    """Wait until what was said is in the shard's arrays."""
    while kept:
        kept.popleft().result()


def _keep(shard: Shard, what: str, batch: Shown, said: dict[str, Answer], known: set[int], done: int) -> None:
    for alias, answer in said.items():
        for name, values in answer.here().items():
            shard.keep(f"{alias}/{name}", batch.rows, values if batch.of is None else values[batch.of], known)
        whose = what if len(shard.job.teachers) == 1 else f"{alias}/{what}"
        shard.cost.forward[whose] = shard.cost.forward.get(whose, 0.0) + answer.seconds
    if batch.parameters is not None and not shard.job.adds:
        shard.arrays[PARAMETERS][batch.rows] = batch.parameters
    shard.reached[what], shard.rows_reached = batch.upto, max(done, shard.rows_reached)


def _timed(batches: Iterator[Shown], cost: Cost) -> Iterator[Shown]:
    """The same batches; the time spent waiting for them is counted."""
    while True:
        started = time.perf_counter()
        with span(WAIT):
            batch = next(batches, None)
        cost.wait += time.perf_counter() - started
        if batch is None:
            return
        yield batch


def _refuse_a_lost_corpus(source: Any, failures: list[Failure]) -> None:
    """SourceError when images failed because all of the corpus is gone: a ledger full of them would be no answer."""
    if isinstance(source.root, Path) and any(stage == "decode" for _, stage, _ in failures) and not _there(source.root):
        raise SourceError(
            f"{source.root}: the corpus is gone (a mount that was lost?); the shard in hand is dropped, what is "
            "committed is kept, bring the corpus back and run the same command again"
        )


def _there(root: Path) -> bool:
    """Whether a corpus still lies at its root: the folder of a lost mount is empty, or cannot be read."""
    try:
        return root.is_file() or any(root.iterdir())
    except OSError:
        return False
