"""The processes of a run as Ray Train starts them, on one machine or a cluster, in place of torchrun.

    distillkit train-student pipelines/my_student.toml --engine ray

Ray Train makes the process group, and each worker trains in it as a process of torchrun does. When one dies, the others
are stopped and all begin again from the last checkpoint; what a worker refuses, or a bug in it, ends the job. A signal
that asks the command to stop is written down in a file where every worker looks, so that they end the step in hand.
https://docs.ray.io/en/latest/train/getting-started-pytorch.html
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.errors import DistillkitError, MissingExtra, TrainError, in_full
from distillkit.recipe import RayWorkers
from distillkit.system.atomic import atomic_file, make_folder
from distillkit.system.cluster import connected
from distillkit.system.stopping import STOPPED, after_steps, asked, code, told
from distillkit.training.ranks import RankLost

_STOP = "stop"  # the file that holds the number of the signal
_LOOK = 0.2  # seconds between two looks: at what the workers say, at whether they are to stop


def on_ray(knobs: RayWorkers, folder: Path, task: Callable[..., Any], say: Say) -> None:
    """Call `task(say=...)` on every worker until all are through with it. `folder`: the run's, on a disk they share."""
    ray = _ray()
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # what a recipe names lies where the command was typed
    scratch = folder.absolute().with_name(f".{folder.name}.ray")
    make_folder(scratch)
    (scratch / _STOP).unlink(missing_ok=True)
    try:
        with connected(ray, knobs.address):
            needs = _needs(ray, knobs, say)
            for again in range(knobs.restarts + 1):
                if _all_through(ray, knobs, needs, scratch / str(again), task, say):
                    return
                task = partial(task, overwrite=False)  # that is done
                if again < knobs.restarts:
                    say(f"{folder}: a worker died; all begin again from the last checkpoint")
        raise TrainError(
            f"{folder}: workers died {knobs.restarts + 1} times (ray.restarts = {knobs.restarts}); the same command "
            "continues from the last checkpoint"
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _all_through(
    ray: Any, knobs: RayWorkers, needs: dict[str, float], scratch: Path, task: Callable[..., Any], say: Say
) -> bool:
    """Whether all workers did the task; False when one of them died."""
    scaling = ray.train.ScalingConfig(
        num_workers=knobs.workers, use_gpu=needs["GPU"] > 0, resources_per_worker={k: v for k, v in needs.items() if v}
    )
    config = ray.train.RunConfig(name=scratch.name, storage_path=str(scratch.parent))
    lines = ray.util.queue.Queue(actor_options={"num_cpus": 0})
    stop = scratch.parent / _STOP
    trainer = ray.train.torch.TorchTrainer(
        partial(_work, task, lines, str(Path.cwd()), stop), scaling_config=scaling, run_config=config
    )
    stopped: list[tuple[str, str]] = []
    try:
        # Ray Train takes Ctrl-C over where it is called from the main thread, and aborts its workers.
        with after_steps(), _heard(lines, say, stopped, stop), ThreadPoolExecutor(1) as aside:
            aside.submit(trainer.fit).result()
    except ray.train.TrainingFailedError:
        if (signal := asked()) is not None:
            if not any(kind == "stopped" for kind, _ in stopped):
                say(STOPPED)
            raise SystemExit(code(signal)) from None
        for kind, what in stopped:
            raise DistillkitError(f"on a Ray worker: {what}") if kind == "refused" else RuntimeError(what) from None
        return False
    return True


def _work(task: Callable[..., Any], lines: Any, place: str, stop: Path) -> None:
    """In a worker: the task, its lines sent home. Why it stops is told, but for what the death of another did to it."""
    if Path(place).is_dir():
        os.chdir(place)
    threading.Thread(target=_look_for, args=(stop,), daemon=True).start()
    try:
        task(say=lambda line: lines.put(("said", line)))
    except SystemExit as left:
        lines.put(("stopped", str(left.code)))
        raise _Stopped from None  # Ray would take an exit for a death
    except RankLost:
        raise
    except DistillkitError as error:
        lines.put(("refused", in_full(error)))
        raise
    except Exception:
        lines.put(("failed", traceback.format_exc()))
        raise


class _Stopped(Exception):
    """A worker left, as it was asked to."""


def _look_for(stop: Path) -> None:
    """In a worker: be told when the file is there, on whatever disk all of them share."""
    while not stop.is_file():
        time.sleep(_LOOK)
    told(int(stop.read_text("latin-1")))


@contextmanager
def _heard(lines: Any, say: Say, stopped: list[tuple[str, str]], stop: Path) -> Iterator[None]:
    """Meanwhile, say what the workers say, note why one stopped, and pass on that the command was asked to."""
    over = threading.Event()

    def listen() -> None:
        while not over.wait(_LOOK) or not lines.empty():
            if (signal := asked()) is not None and not stop.is_file():
                with atomic_file(stop) as file:
                    file.write(str(signal).encode())
            for kind, line in lines.get_nowait_batch(min(lines.qsize(), 100)):
                say(line) if kind == "said" else stopped.append((kind, line))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join()
        lines.shutdown()


def _needs(ray: Any, knobs: RayWorkers, say: Say) -> dict[str, float]:
    """What one worker takes of a machine."""
    have = ray.cluster_resources()
    gpus = knobs.gpus if knobs.gpus is not None else float(have.get("GPU", 0) > 0)
    if 0 < gpus < 1 and knobs.workers > 1:
        raise TrainError(f"ray.gpus = {gpus:g}: workers of one run cannot share a GPU; set ray.gpus = 1, or 0")
    cpus = knobs.cpus or (1.0 if gpus else max(have.get("CPU", 0) // knobs.workers, 1.0))
    needs = {"CPU": cpus, "GPU": gpus}
    for name, each in needs.items():
        if each * knobs.workers > have.get(name, 0):
            told = f"ray.workers = {knobs.workers} take {each:g} {name} each, and there are {have.get(name, 0):g}"
            if not knobs.address:
                raise TrainError(f"{told}; lower ray.workers, or set ray.{name.lower()}s")
            say(f"{told}; waiting for the cluster to grow")
    return needs


def _ray() -> Any:
    try:
        import ray
        import ray.train
        import ray.train.torch
        import ray.util.queue
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    return ray
