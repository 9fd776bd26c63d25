"""Mining, top to bottom: which rows of one store are nearest to each row of another, kept beside the rows that asked.

    distillkit mine-neighbours pipelines/mine/ood.toml

Rerunning continues after the last committed shard; what is finished is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.callable import Say, make_callable, silent
from distillkit.errors import StoreError
from distillkit.mining import choice, duplicates
from distillkit.mining.approximate import Approximate, Effort
from distillkit.mining.exact import Exact
from distillkit.mining.found import Found, Tick, scaled
from distillkit.mining.job import UNASKED, Job
from distillkit.mining.memory import watched
from distillkit.mining.process import mine_apart
from distillkit.mining.progress import Progress
from distillkit.mining.recall import reach
from distillkit.mining.vectors import Vectors
from distillkit.mining.which_faiss import faiss
from distillkit.recipe import MineRecipe, differences, load
from distillkit.store.format.log import MINED, mined_of, note_shard, unasked
from distillkit.store.format.plan import SCHEMA
from distillkit.store.writing.claims import Claims, Lease, Part
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.fitting import fitting
from distillkit.system.machine import machine
from distillkit.system.temporary import tidy_below
from distillkit.system.versions import versions
from distillkit.system.wording import count as counted
from distillkit.system.wording import rows_and_failed


@dataclass(frozen=True)
class Settled:
    """How a job is done: by which search over which rows, how many queries at a time, and the facts of the addition."""

    search: duplicates.Search
    corpus: Vectors
    at_once: int
    facts: dict[str, Any]


def mine(
    recipe: MineRecipe | str | Path,
    say: Say = silent,
    command: str | None = None,
    part: Part | None = None,
    *,
    overrides: Sequence[str] = (),
    engine: str = "local",
) -> Path:
    """Mine in a process of its own, or by the workers of the recipe's [ray]; returns the folder of the addition.

    `recipe` may be a file, with `overrides` such as "k=64". `command` is kept beside the measured costs. `part`: one of
    several runs that share the work; whoever commits the last shard completes the addition. `engine`: "local" or "ray".
    """
    if not isinstance(recipe, MineRecipe):
        recipe = load(recipe, list(overrides), kind=MineRecipe)
    if engine == "local":
        return mine_apart(recipe, say, command, part)
    from distillkit.mining.ray import mine_on_ray

    return mine_on_ray(recipe, say, command)


@fitting("mining", "lower rows_per_shard or max_memory")
def mine_here(recipe: MineRecipe, threads: int, say: Say, command: str | None = None, part: Part | None = None) -> Path:
    """Mine in this process, which should do nothing else (mining/process.py says why); returns the addition."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)  # where both found one OpenMP, either call is for both
    job = Job.of(recipe)
    job.tell_place(say)
    with Claims(job.path) as claims:
        with claims.beginning_or_end():
            before = job.begun_with()
            if before and (writer := mended(writer_of(job, before), say)).finished():
                if claims.idle():
                    writer.tidy()
                    tidy_below(choice.indexes(job.corpus.store.path))
                say(f"{job.path}: already mined ({counted(len(job.queries), 'row')}), nothing to do")
                return job.path
            job = replace(job, queries=job.queries.directed(say), corpus=job.corpus.directed(say))
            job.tell_lengths(say)
            settled = settle(job, before, threads, say)
            writer = writer_of(job, settled.facts)
            shards = begin(writer, claims, part or Part(), say)
        run(job, settled, writer, shards, say, {"command": command, "machine": machine(), "of": job.made_of})
        with claims.beginning_or_end():
            end(writer, say)
    return job.path


def writer_of(job: Job, facts: dict[str, Any]) -> StoreWriter:
    """What writes the addition with these facts."""
    plan = job.queries.store.index.select(SCHEMA.names)
    return StoreWriter(job.path, plan, job.fields, job.recipe.rows_per_shard, job.identity(facts))


def mended(writer: StoreWriter, say: Say) -> StoreWriter:
    """The same; shards that have lost files count as not mined."""
    for shard in writer.mend():
        say(f"{writer.path}: shard {shard + 1} of {writer.shards} has lost files or is damaged; it is mined again")
    return writer


def settle(job: Job, before: dict[str, Any], threads: int, say: Say) -> Settled:
    """Leave out duplicates, choose a search, make its index, and measure its recall; what is settled already, stays.

    `before`: the facts of an addition that was begun as asked, or nothing.
    """
    recipe, corpus = job.recipe, without_duplicates(job, threads, say)
    if recipe.k > len(corpus) - job.within:
        raise StoreError(f"{corpus.store.path}: {counted(len(corpus), 'row')} to choose from; lower k = {recipe.k}")
    kind = before.get("index") or choice.choose(recipe, corpus, job.queries, threads, say)
    share = choice.share(recipe, kind, corpus, threads)
    search = choice.searcher(kind, recipe, corpus, share.block, threads, say)
    found = {"index": kind, "effort": None, "recall": 1.0, "distinct": len(corpus)}
    if isinstance(search, Approximate) and before:
        search.effort = Effort(**before["effort"])
        found |= {"effort": before["effort"], "recall": before["recall"]}
    elif isinstance(search, Approximate):
        some = job.queries.sample(recipe.held_out, recipe.seed)
        held_out, exact = job.queries.unit(some), Exact(corpus, min(share.block, choice.STREAMED))
        others = partial(without_itself, corpus=corpus, rows=job.queries.rows[some]) if job.within else None
        true = exact.search(held_out, recipe.k + job.within)
        reached = reach(recipe.recall, search, held_out, true, say, others)
        found |= {"effort": vars(search.effort), "recall": round(reached, 4)}
    else:
        say(f"recall@{recipe.k}: 1, the search is exact")
    model = f"{search.name} search, recall {found['recall']}"
    return Settled(search, corpus, share.queries, job.asked() | found | {"model": model})


def without_duplicates(job: Job, threads: int, say: Say) -> Vectors:
    """The corpus with each text once: equal ones, and those nearer than the recipe's `near_duplicates`."""
    recipe, corpus = job.recipe, job.corpus
    if recipe.equal_texts == "once" and recipe.corpus_field.split("/")[-1] == "text":
        corpus = corpus.only(duplicates.unequal(corpus))
    equal = len(job.corpus) - len(corpus)
    if recipe.near_duplicates is not None:
        kind = choice.choose(recipe, corpus, corpus, threads, say)
        block = choice.share(recipe, kind, corpus, threads).block
        search = choice.searcher(kind, recipe, corpus, block, threads, say)
        if isinstance(search, Approximate):
            some = corpus.unit(corpus.sample(recipe.held_out, recipe.seed))
            search.effort = search.fitted(search.effort, some, recipe.k)
        corpus = corpus.only(duplicates.unlike(corpus, search, recipe.near_duplicates, say))
    near = len(job.corpus) - equal - len(corpus)
    if equal or near:
        say(
            f"{corpus.store.path}: {len(corpus):,} of {counted(len(job.corpus), 'row')} are searched; "
            f"{equal:,} repeat a text, {near:,} nearly do"
        )
    return corpus


def begin(writer: StoreWriter, claims: Claims, part: Part, say: Say) -> Lease:
    """Make the addition's folder ready; what was mined otherwise is set aside. Returns the shards that we do."""
    idle, before = claims.idle(), writer.previous_identity()
    if before is not None and before != writer.identity:
        changes = differences(before, writer.identity)
        if not idle:
            raise StoreError(f"{writer.path}: another process mines here, with another recipe ({changes[0]}); stop it")
        claims.refuse_moving()
        more = f" (and {len(changes) - 1} more)" if changes[1:] else ""
        say(f"{writer.path}: {changes[0]}{more}; mining anew, the old neighbours are now {writer.set_aside()}")
    mended(writer, say).begin(alone=idle)
    done = sum(writer.committed(shard) for shard in range(writer.shards))
    if done:
        say(f"{writer.path}: {done} of {counted(writer.shards, 'shard')} are already committed")
    return claims.leased(part.shards(writer.shards), writer.committed)


def run(job: Job, settled: Settled, writer: StoreWriter, shards: Lease, say: Say, made: dict[str, Any]) -> None:
    """Search and commit these shards."""
    name, progress = job.recipe.name, Progress(writer.path, len(shards.wanted), writer.shards, say)
    with watched() as peak:
        for shard in shards:
            rows = np.arange(*writer.span(shard))
            ids, scores, failures = neighbours(job, settled, rows, partial(progress.within, shard))
            line = {"shard": shard, "rows": len(rows), "seconds": round(progress.took(), 3), "peak_bytes": peak[0]}
            line |= {"unasked": sum(error == UNASKED for _, _, error in failures)}
            note_shard(writer.path, line | made, MINED)
            writer.commit(shard, {f"{name}/ids": ids, f"{name}/scores": scores}, failures)
            progress.finished(shard, len(rows), peak[0])


def neighbours(
    job: Job, settled: Settled, rows: np.ndarray, tick: Tick
) -> tuple[np.ndarray, np.ndarray, list[Failure]]:
    """Row numbers int32 [n, k] and cosines float16 [n, k] for rows of the query store; those without features fail."""
    k = job.recipe.k
    ids, scores = np.full((len(rows), k), -1, np.int32), np.full((len(rows), k), np.nan, np.float16)
    asking = np.flatnonzero(np.isin(rows, job.queries.rows))
    for first in range(0, len(asking), settled.at_once):
        places = asking[first : first + settled.at_once]
        asked = job.queries.only(rows[places]).unit(slice(None))
        within = scaled(tick, first / len(asking), (first + len(places)) / len(asking))
        found = settled.search.search(asked, k + job.within, within)
        if job.within:
            found = without_itself(found, settled.corpus, rows[places])
        ids[places] = settled.corpus.rows_at(found.places)
        scores[places] = np.where(found.places >= 0, found.scores, np.nan)
    return ids, scores, job.without(rows, np.delete(np.arange(len(rows)), asking))


def without_itself(found: Found, corpus: Vectors, rows: np.ndarray) -> Found:
    """One neighbour less: the row itself, wherever it stands, or the last."""
    itself = corpus.rows_at(found.places) == rows[:, None]
    order = np.argsort(itself, axis=1, kind="stable")[:, :-1]
    return Found(np.take_along_axis(found.scores, order, axis=1), np.take_along_axis(found.places, order, axis=1))


def end(writer: StoreWriter, say: Say) -> None:
    """Whoever commits the last shard writes the manifest."""
    writer.refuse_another_store()
    missing = sum(not writer.committed(shard) for shard in range(writer.shards))
    if missing:
        say(f"{writer.path}: {missing} of {counted(writer.shards, 'shard')} left to other processes")
    elif not writer.finished():
        manifest = writer.finish(versions())
        outside = unasked(writer.path)
        told = rows_and_failed(manifest.rows, manifest.skipped - outside, outside, mined_of(writer.path))
        say(f"{writer.path}: complete, {told}, digest {manifest.digest[:16]}")


def asked(request: dict[str, Any], say: Say) -> str:
    recipe, part = MineRecipe.model_validate(request["recipe"]), Part.parse(request["part"])
    return str(mine_here(recipe, request["threads"], say, request["command"], part))


make_callable(__name__)
