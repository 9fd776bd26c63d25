"""Where memory ends, once, batches go on in halves; where half is too much as well, it is one line."""

from types import SimpleNamespace

import pytest
import torch

from distillkit.engine.asking import Asked
from distillkit.errors import TeacherError
from distillkit.types import Features

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory: Error code 12")


def teacher(most, error, asked):
    def forward(pixels, fields):
        asked.append(len(pixels))
        if len(pixels) > most:
            raise error
        return Features(image=2 * pixels, cls=pixels + 1)

    return SimpleNamespace(forward=forward)


@pytest.mark.parametrize("error", [GPU, CPU, MemoryError()], ids=["gpu", "cpu", "python"])
def test_batches_go_on_in_halves_and_that_is_said_once(error):
    sizes, said = [], []
    ask = Asked("clip", teacher(4, error, sizes), said.append)
    for rows in (7, 8, 1):
        pixels = torch.arange(rows, dtype=torch.float32)[:, None]
        features = ask({"pixels": pixels}, ["image", "cls"]).here()
        assert torch.equal(features["image"], 2 * pixels) and torch.equal(features["cls"], pixels + 1)
    assert sizes == [7, 4, 3, 4, 4, 1]
    (line,) = said
    assert "teacher clip: out of memory with 7 at once; from here on half as many" in line and "\n" not in line


def test_half_too_much_is_one_line_that_says_what_to_set():
    ask = Asked("clip", teacher(3, GPU, []), lambda line: None)
    with pytest.raises(
        TeacherError, match=r"out of memory with 8 at once too; .* set batch_size = 4 or less"
    ) as caught:
        ask({"pixels": torch.zeros(16, 1)}, ["image"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("x")])
def test_other_errors_are_not_hidden(error):
    with pytest.raises(type(error)):
        Asked("clip", teacher(0, error, []), pytest.fail)({"pixels": torch.zeros(2, 1)}, ["image"])


def test_an_answer_stands_though_a_teacher_gives_the_next_one_in_the_same_memory():
    memory = torch.zeros(4, 1)

    def forward(pixels, fields):
        return Features(image=memory.copy_(pixels).numpy())

    ask = Asked("mine", SimpleNamespace(forward=forward, fields={"image": [1]}), pytest.fail)
    first, second = (ask({"pixels": torch.full((4, 1), value)}, ["image"]) for value in (1.0, 2.0))
    assert first.here()["image"].eq(1).all() and second.here()["image"].eq(2).all()
