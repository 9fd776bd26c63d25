"""The batch of a step: features and pixels of its plan, made by threads of this process, ahead or when asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import RecipeError
from distillkit.recipe import Data
from distillkit.system.spans import WAIT, span
from distillkit.training.ahead import Ahead
from distillkit.training.ask import Ask, stored
from distillkit.training.delivery import Delivery, Sent
from distillkit.training.images import Shown
from distillkit.training.ingredients import Ingredients
from distillkit.training.plan import Planner
from distillkit.training.ranks import Ranks
from distillkit.training.rendering import Rendering
from distillkit.types import Batch, Features, Widths, concatenated


class Batches:
    """Batches for one student, or several that see the same pixels; of each batch, this rank's share."""

    def __init__(self, data: Data, seed: int, student: Any, ranks: Ranks | None = None, ask: Ask | None = None):
        self.ingredients = Ingredients(data, seed, student, ranks or Ranks(), ask or stored)
        self.planner = Planner(self.ingredients)
        self.rendering = Rendering(self.ingredients.images, data, self.ingredients.image_size)
        self.delivery = Delivery(torch.device("cpu"))
        self.wait_seconds = 0.0

    @property
    def steps_per_epoch(self) -> int:
        return self.ingredients.steps_per_epoch

    def widths(self, student: Any) -> Widths:
        """What losses may ask for, of this student and of the teachers."""
        return self.ingredients.widths(student)

    def narrow(self, needs: Iterable[str]) -> None:
        """Read only what some loss needs, such as {"teacher.image"}."""
        self.ingredients.narrow(needs)

    def go_to(self, device: torch.device) -> None:
        """Where batches are sent to: it may make their pixels, if they are the bytes that workers make."""
        self.rendering.go_to(device)
        self.delivery = Delivery(device)

    @property
    def notes(self) -> list[str]:
        """What a user should know of the data, a line each."""
        return [*self.ingredients.notes, *self.rendering.notes]

    def prepare(self, say: Say | None = None) -> None:
        """Make what is made once, before ranks and threads ask for it: the pixel cache; features in the page cache."""
        self.rendering.prepare(say)
        self.ingredients.page_in()

    def stream(self, first: int, stop: int, ahead: int | None = 0) -> Iterator[Batch]:
        """The batches of steps first .. stop-1, where they `go_to`. Waiting for them is counted.

        `ahead`: how many are made while the student computes; None: what is found to be faster.
        """
        pace = Ahead(ahead)
        with _pool(self.ingredients.data.threads) as pool, _pool(1) as maker:
            queue: list[Future[Sent]] = []
            for step in range(first, stop):
                started, most = time.perf_counter(), pace.next()
                while len(queue) < most and step + len(queue) < stop:
                    queue.append(maker.submit(self._sent, step + len(queue), pool))
                with span(WAIT):
                    sent = queue.pop(0).result() if queue else self._sent(step, pool)
                self.wait_seconds += time.perf_counter() - started
                yield self.delivery.received(sent)
                pace.took(time.perf_counter() - started)

    def _sent(self, step: int, pool: Executor) -> Sent:
        return self.delivery.sent(lambda: self.at(step, pool))

    def at(self, step: int, pool: Executor | None = None) -> Batch:
        """This rank's share of the batch of one step. `pool`: threads that make pixels."""
        plan = self.planner.of(step)
        with span("read", len(plan.keys)):
            text, tokens = self._texts(plan.texts)
            said, others = self._said(plan.images)
        with span("pixels", len(plan.keys)):
            pixels, crops = self.rendering.of(plan.images, plan.mix, pool)
        return Batch(
            keys=plan.keys,
            pixels=pixels,
            crops=crops,
            tokens=tokens,
            match=plan.match,
            mask=plan.mask,
            teacher=replace(said, text=text, scale=self.ingredients.scale),
            others=others,
            step=step,
            own_share=plan.mix.share if plan.mix else 1.0,
            texts_shared=self.ingredients.texts_shared,
        )

    def _texts(self, rows: list[np.ndarray]) -> tuple[Tensor | None, Tensor | None]:
        """What the teacher said of the texts, and the tokens of those that a student reads itself."""
        given, text, tokens = self.ingredients, None, None
        sources = given.text_sources[: len(rows)]  # what several images share is of the first one alone
        asked = list(zip(sources, rows, strict=True))
        if asked and "teacher.text" in given.needs:
            text = torch.cat([source.read(part) for source, part in asked])
        if asked and given.tokenize:
            tokens = given.tokenize([text for source, part in asked for text in source.texts(part)])
        return text, tokens

    def _said(self, shown: list[Shown]) -> tuple[Features, dict[str, Features]]:
        """What the main teacher said of the images, and each of the others."""
        if not shown:
            return Features(), {}
        given, first = self.ingredients, self.ingredients.images[0]
        said = concatenated([images.said(what) for images, what in zip(given.images, shown, strict=True)])
        if "teacher.caption" in given.needs:
            said = replace(said, caption=first.store.read("text", shown[0].rows))
        return said, {name: first.said(shown[0], name) for name in given.data.also}


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose own tensor operations use one core each: there are as many of them as cores."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def refuse_other_inputs(students: Sequence[Any]) -> None:
    """RecipeError unless all students of one read see the same pixels and tokens."""

    def sees(student: Any) -> tuple[Any, ...]:
        tokens = student.tokenize(["a photo"]).tolist() if hasattr(student, "tokenize") else None
        return student.image_size, getattr(student, "patches", 0), tokens

    if any(sees(student) != sees(students[0]) for student in students[1:]):
        raise RecipeError("students: they look at different image sizes, patches or tokens; train them one by one")
