"""What is learned or voted of a network's answers is so on its own device, and the numbers are those of the CPU."""

import pytest
import torch

from distillkit.evals.agreement import Agreement
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.multi_label import MultiLabel
from distillkit.evals.sgd_probe import SgdProbe
from tests.evals.worlds import Store, Student, run
from tests.pretend import pretend_gpu

ROWS = 60
IMAGES = Store(torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0)), label=[n % 3 for n in range(ROWS)])
SAID = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def lists(tmp_path):
    for column, name in enumerate("abc"):
        for part in ("test", "trainval"):
            lines = (f"{n} {1 if n % 3 == column else -1}\n" for n in range(ROWS))
            (tmp_path / f"{name}_{part}.txt").write_text("".join(lines))
    return str(tmp_path)


MEASURES = {
    "knn": lambda lists: Knn(train="s", store="s", k=5),
    "linear_probe": lambda lists: LinearProbe(train="s", store="s", steps=10),
    "sgd_probe": lambda lists: SgdProbe(train="s", store="s", batch=16),
    "multi_label": lambda lists: MultiLabel(train="s", store="s", labels=lists, steps=10),
    "agreement": lambda lists: Agreement(store="s", k=5),
}


@pytest.mark.parametrize("kind", MEASURES)
def test_what_is_found_on_a_gpu_is_what_a_cpu_finds(kind, lists):
    here = run(MEASURES[kind](lists), Student(SAID), s=IMAGES)
    student = Student(SAID)
    with pretend_gpu() as ledger:
        student.device = torch.device("cuda")
        there = run(MEASURES[kind](lists), student, s=IMAGES)
        assert ledger.copies, "nothing went to the GPU"
    assert here == there
