"""Two processes (gloo) against one, a thread each, on the same global batch; their losses have a test of their own."""

from __future__ import annotations

import itertools
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from distillkit.recipe import Augment, Data, Optim, Term
from distillkit.students.timm_image import TimmImage
from distillkit.training.batches import Batches
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from tests.bench.measure import Row, compare
from tests.bench.pictures import picture_store
from tests.bench.stores import WIDTH


def run(folder: Path, quick: bool) -> list[Row]:
    """ViT-Ti/16; data, gathered loss and gradients included. Steps are timed inside the processes."""
    store = str(picture_store(folder / "ranks", 64, 250, 200).path)
    size, batch_size, steps = (32, 4, 2) if quick else (112, 32, 4)
    data = Data(images=store, pixel_cache=size + 16, batch_size=batch_size, workers=1, augment=Augment(**FAST))
    one, two = _World(1, data, size), _World(2, data, size)
    rounds = 2 if quick else 7
    name = f"throughput, ViT-Ti/16 at {size} px: 2 processes / 1, a thread each"
    try:
        return [
            compare(
                name, lambda: two.learn(steps), lambda: one.learn(steps), goal=1.6, amount=batch_size * steps,
                unit="images/s", rounds=rounds,
            )
        ]  # fmt: skip
    finally:
        one.end()
        two.end()


FAST = {"resample": "torchvision"}


class _World:
    """Processes that wait to be told how many steps to make."""

    def __init__(self, world: int, data: Data, size: int):
        context = multiprocessing.get_context("forkserver")  # imports once for all of them
        context.set_forkserver_preload([__name__])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        pipes = [context.Pipe() for _ in range(world)]
        self.ends = [here for here, _ in pipes]
        arguments = [(rank, world, address, data, size, there) for rank, (_, there) in enumerate(pipes)]
        self.children = [context.Process(target=_train, args=one) for one in arguments]
        for child in self.children:
            child.start()
        for end in self.ends:
            end.recv()

    def learn(self, steps: int) -> None:
        for end in self.ends:
            end.send(steps)
        for end in self.ends:
            end.recv()

    def end(self) -> None:
        for end, child in zip(self.ends, self.children, strict=True):
            end.send(0)
            child.join()


def _train(rank: int, world: int, address: str, data: Data, size: int, end: Connection) -> None:
    torch.set_num_threads(1)
    ranks = Ranks(rank, world)
    if ranks.several:
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    torch.manual_seed(0)
    student = TimmImage(model="vit_tiny_patch16_224", image_size=size, embed_dim=WIDTH)
    with ranks.one_first():
        batches = Batches(data, 0, student, ranks)
        batches.prepare()
    batches.narrow({"teacher.image"})
    term = Term(kind="affinity", between="image, teacher image", symmetric=False)
    objective = Objective([term], batches.widths(student))
    learner = Learner(student, objective, Optim(epochs=1), seed=0, device=torch.device("cpu"), ranks=ranks)
    stream = batches.stream(0, 1_000_000)
    end.send(time.perf_counter())
    while steps := end.recv():
        for batch in itertools.islice(stream, steps):
            learner.step(batch, 1e-5)
        end.send(steps)
    stream.close()
    if ranks.several:
        dist.destroy_process_group()
