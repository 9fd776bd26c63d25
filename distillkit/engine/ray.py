"""The same shards on Ray: a pool of teachers on one machine or a cluster, that grows, shrinks and loses workers.

    distillkit extract-teacher pipelines/extract/dime_fm.toml --engine ray

Each actor of a Ray Data pool loads the teachers once and computes whole shards, as the local engine does. It writes a
shard into a folder of its own beside the store; only this process, which holds the store's claims, moves the files in
and commits them. So a worker may die at any instant, or two may compute one shard: a shard is committed once.
https://docs.ray.io/en/latest/data/api/doc/ray.data.Dataset.map_batches.html
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from distillkit.callable import Say
from distillkit.engine.computing import computed
from distillkit.engine.cost import Progress
from distillkit.engine.job import Job, Teacher
from distillkit.engine.loading import Teachers, load, load_all
from distillkit.engine.ranges import measured
from distillkit.errors import DistillkitError, MissingExtra, StoreError, TeacherError
from distillkit.recipe import Component, Ray
from distillkit.store.bucket.remote import origin, shown
from distillkit.store.format.log import note_shard
from distillkit.store.format.manifest import Shard
from distillkit.store.format.sameness import other_teacher
from distillkit.store.format.steps import Steps
from distillkit.store.writing.writer import StoreWriter
from distillkit.system import cpu
from distillkit.system.arrow import table_at
from distillkit.system.atomic import make_folder
from distillkit.system.cluster import connected
from distillkit.system.machine import machine


@dataclass(frozen=True)
class Facts:
    """What a job must know of a network that is loaded elsewhere."""

    component: Component
    fields: Mapping[str, list[int]]
    dtypes: Mapping[str, str]
    preprocess: Any

    @classmethod
    def of(cls, component: Component, network: Any) -> Facts:
        return cls(component, network.fields, getattr(network, "dtypes", {}), getattr(network, "preprocess", None))


class RayEngine:
    """Loads teachers and runs shards on the Ray cluster of the recipe's [ray], or on this machine alone."""

    def __init__(self, knobs: Ray):
        self.knobs = knobs

    @contextmanager
    def running(self) -> Iterator[None]:
        """Connected to the cluster, or with a small one of our own, which ends with us."""
        ray = _ray()
        with connected(ray, self.knobs.address):
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            yield

    def teachers(self, components: Mapping[str, Component], say: Say) -> Teachers:
        """What the teachers are, asked of one worker: this machine may have no GPU and no weights."""
        told, answer = _ray().get(self._task(_facts).remote(components))
        for line in told:
            say(line)
        return {alias: Teacher(*pair) for alias, pair in _or_raise(answer).items()}

    def measured(self, job: Job, plan: pa.Table, say: Say) -> dict[str, Steps]:
        """The range of what the teachers say, seen by one worker."""
        if not any(field.dtype == "int8" for field in job.fields.values()):
            return {}
        told, answer = _ray().get(self._task(_measured).remote(job, plan))
        for line in told:
            say(line)
        steps: dict[str, Steps] = _or_raise(answer)
        return steps

    def run(self, job: Job, writer: StoreWriter, shards: Iterable[int], say: Say, made: dict[str, Any]) -> None:
        """Compute these shards on the pool and commit each as it comes."""
        shards = list(shards)  # all claimed: it is the pool that shares them out
        if self.knobs.address and origin(writer.path) is not None:
            raise StoreError(f"{shown(writer.path)}: Ray's workers write to a disk that all of them see; extract there")
        rows = sum(stop - first for first, stop in map(writer.span, shards))
        progress = Progress(str(writer.path), rows, writer.shards, say)
        staging = writer.path.with_name(f".{writer.path.name}.staged")
        # What a killed run left there is nobody's: the claims on these shards are ours.
        for shard in shards:
            shutil.rmtree(staging / str(shard), ignore_errors=True)
        travelling = copy.copy(writer)
        travelling.plan = writer.plan.slice(0, 0)  # workers map the plan that lies in the store
        for result in self._results(shards, (job, travelling, staging, torch.get_num_threads())):
            for line in result["said"]:
                say(line)
            folder, record = _or_raise(result["answer"])
            note_shard(writer.path, made | result["line"])  # of two machines the worker's
            writer.adopt(result["shard"], Shard.model_validate(record), Path(folder))
            progress.finished(result["line"])
            shutil.rmtree(staging / str(result["shard"]), ignore_errors=True)
        shutil.rmtree(staging, ignore_errors=True)

    def each(self, work: Callable[..., Any], given: tuple[Any, ...], items: Iterable[Any]) -> Iterator[Any]:
        """`work(*given, item)` of each, in the order in which they are done; what a lost worker did is done again."""
        task, left = self._task(work, max_retries=-1), iter(items)
        running = [task.remote(*given, item) for item in islice(left, self._most())]
        while running:
            (done,), running = _ray().wait(running)
            yield _ray().get(done)
            running += [task.remote(*given, item) for item in islice(left, 1)]

    def _results(self, shards: list[int], arguments: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
        """What the actors say of their shards, in the order in which these are done."""
        data = _ray().data
        pool = data.ActorPoolStrategy(min_size=self.knobs.least, max_size=self._most(), max_tasks_in_flight_per_actor=2)
        tasks = data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        done = tasks.map_batches(_Actor, batch_size=1, compute=pool, fn_constructor_args=arguments, **self._needs())
        for row in done.iter_rows():
            yield json.loads(row["result"])

    def _task(self, work: Callable[..., Any], **more: Any) -> Any:
        """`work` as a task of Ray's. Of one with a GPU the process ends with it, and gives back the GPU's memory: that
        Ray sees to, if it is told of the GPU here, and not by `.options`.
        """
        return _ray().remote(**self._needs(), **more)(work)

    def _needs(self) -> dict[str, float]:
        """What one actor takes of a machine."""
        gpus = self.knobs.gpus
        if gpus is None:
            gpus = float(_ray().cluster_resources().get("GPU", 0) > 0)
        return {"num_cpus": self.knobs.cpus or torch.get_num_threads(), "num_gpus": gpus}

    def _most(self) -> int:
        """As many actors as the cluster has room for by now, if the recipe does not say."""
        if self.knobs.most is not None:
            return self.knobs.most
        have, needs = _ray().cluster_resources(), self._needs()
        room = (
            have.get(name, 0) // needs[key] for name, key in (("CPU", "num_cpus"), ("GPU", "num_gpus")) if needs[key]
        )
        return max(self.knobs.least, int(min(room)))


class _Actor:
    """In a worker: the loaded teachers, and the shards they are asked about."""

    def __init__(self, job: Job, writer: StoreWriter, staging: Path, threads: int):
        cpu.settle()
        torch.set_num_threads(threads)  # sums of floats depend on it: as many as the local engine would use here
        self.staging, self.writer = staging, writer
        self.writer.plan = table_at(writer.path / "plan.arrow")
        self.said: list[str] = []
        self.job, self.problem = job, None
        try:
            self.job = replace(job, teachers=_loaded(job))
        except DistillkitError as error:
            self.problem = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        number = int(batch["shard"][0])
        result = {"shard": number, "line": None, "answer": self.problem}
        if self.problem is None:
            try:
                result |= self._done(number)
            except DistillkitError as error:
                result["answer"] = str(error)
        said, self.said = self.said, []
        return {"result": [json.dumps(result | {"said": said})]}

    def _done(self, number: int) -> dict[str, Any]:
        first, stop = self.writer.span(number)
        plans = {number: self.writer.plan.slice(first, stop - first)}
        (shard,) = computed(self.job, plans, self.said.append, lambda *_: None)
        folder = self.staging / str(number) / uuid.uuid4().hex
        make_folder(folder)
        record = self.writer.write(number, shard.arrays, shard.failures, folder, shard.clipped, shard.stamps)
        line = shard.cost.line(number, stop - first, len(shard.failures)) | {"machine": machine()}
        return {"line": line, "answer": [str(folder), record.model_dump()]}


def _facts(components: Mapping[str, Component]) -> tuple[list[str], Any]:
    """In a worker: load the teachers once, to say what they are."""
    told: list[str] = []
    try:
        loaded = load_all(components, told.append)
    except DistillkitError as error:
        return told, str(error)
    answer = {alias: (Facts.of(components[alias], one.network), one.fingerprint) for alias, one in loaded.items()}
    return told, answer


def _loaded(job: Job) -> Teachers:
    """In a worker: the teachers of a job, if they are the ones that it was planned with."""
    teachers = {}
    for alias, wanted in job.teachers.items():
        teachers[alias] = load(wanted.network.component, lambda line: None)
        told = other_teacher(teachers[alias].fingerprint, wanted.fingerprint)
        if told:
            raise TeacherError(
                f"teacher {alias}: another one on this worker ({told}); give all machines the same weights, packages "
                "and device"
            )
    return teachers


def _measured(job: Job, plan: pa.Table) -> tuple[list[str], Any]:
    """In a worker: what the numbers of int8 fields will mean."""
    told: list[str] = []
    try:
        return told, measured(replace(job, teachers=_loaded(job)), plan, told.append)
    except DistillkitError as error:
        return told, str(error)


def _or_raise(answer: Any) -> Any:
    if isinstance(answer, str):
        raise DistillkitError(f"on a Ray worker: {answer}")
    return answer


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    return ray
