"""The shards of one store on this machine: one is written while the next is computed, each committed in its turn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from distillkit.callable import Say
from distillkit.engine.begun import LEAST, Begun
from distillkit.engine.computing import Plans, computed
from distillkit.engine.cost import Progress
from distillkit.engine.job import Job
from distillkit.engine.loading import Teachers, load_all
from distillkit.engine.ranges import measured
from distillkit.engine.shard import Shard
from distillkit.errors import StoreError, in_the_end
from distillkit.recipe import Component
from distillkit.store.format.log import note_shard
from distillkit.store.format.steps import Steps
from distillkit.store.reading.unfinished import Unfinished, unfinished
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.record import digest
from distillkit.system.spans import span
from distillkit.system.wording import count


class LocalEngine:
    """Loads teachers and runs shards in this process."""

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    def teachers(self, components: Mapping[str, Component], say: Say) -> Teachers:
        return load_all(components, say)

    def measured(self, job: Job, plan: pa.Table, say: Say) -> dict[str, Steps]:
        return measured(job, plan, say)

    def run(self, job: Job, writer: StoreWriter, shards: Iterable[int], say: Say, made: dict[str, Any]) -> None:
        """Compute and commit these shards. Memory holds at most two: one being written, one being computed."""
        wanted = getattr(shards, "wanted", shards)
        rows = sum(len(range(*writer.span(one))) for one in wanted)
        progress = Progress(in_the_end(writer.path), rows, writer.shards, say, tuple(job.passes))
        plans = Plans(writer.plan, shards, writer.span)
        begun = Begun(job, writer.path, digest(writer.identity))
        with _Committing(writer, progress, made, begun) as committing:

            def tell(shard: Shard, what: str, rows: int) -> None:
                committing.refuse_to_go_on()
                committing.through = rows
                progress.within(shard.number, rows, len(shard.failures), shard.cost, what, shard.plan.num_rows)

            with closing(computed(job, plans, say, tell, begun)) as results:
                for shard in results:
                    committing.put(shard)


class _Committing:
    """A thread that writes shards. On leaving, whatever the reason, the one in its hand is written to its end."""

    def __init__(self, writer: StoreWriter, progress: Progress, made: dict[str, Any], begun: Begun):
        self.writer, self.progress, self.made, self.begun = writer, progress, made, begun
        self.thread = ThreadPoolExecutor(1)
        self.last: Future[None] | None = None
        self.through = 0  # rows of the shard in hand that teachers have seen

    def __enter__(self) -> _Committing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thread.shutdown()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._tell_what_is_kept()
        if error is None and self.last is not None:
            self.last.result()

    def _tell_what_is_kept(self) -> None:
        begun = unfinished(self.writer.path)
        if begun:
            begun = replace(begun, path=Path(in_the_end(begun.path)))
            self.progress.say(begun.lines[0] + self._why_nothing(begun))

    def _why_nothing(self, there: Unfinished) -> str:
        """Why nothing is kept, where nothing is: so early, nothing was lost."""
        if there.committed or there.begun:
            return ""
        if not self.through:
            return f"; no batch of {self.begun.job.corpus.batch_size:,} was finished yet"
        return f"; {count(self.through, 'row')} in hand took less than {LEAST:g} s, which is not kept"

    def refuse_to_go_on(self) -> None:
        """Raise what went wrong with the last shard, if it is known by now."""
        if self.last is not None and self.last.done():
            self.last.result()

    def put(self, shard: Shard) -> None:
        """Hand over a shard, once the one before it is written."""
        started = time.perf_counter()
        if self.last is not None:
            self.last.result()
        shard.cost.wait += time.perf_counter() - started
        line = shard.cost.line(shard.number, shard.plan.num_rows, len(shard.failures))
        self.last = self.thread.submit(self._commit, shard, line)

    def _commit(self, shard: Shard, line: dict[str, Any]) -> None:
        self._refuse_a_lost_store()
        try:
            note_shard(self.writer.path, line | self.made)
            with span("write", shard.plan.num_rows):
                self.writer.commit(shard.number, shard.arrays, shard.failures, shard.clipped, shard.stamps)
            self.begun.committed()
        except OSError:
            self._refuse_a_lost_store()
            raise
        self.progress.finished(line)

    def _refuse_a_lost_store(self) -> None:
        """Before its folder is made anew, on the disk below the mount."""
        if not (self.writer.path / "plan.json").is_file():
            raise StoreError(
                f"{in_the_end(self.writer.path)}: the store is gone (a mount that was lost, or a folder that was "
                "moved?); bring it back and run the same command again: what was committed is kept"
            )
