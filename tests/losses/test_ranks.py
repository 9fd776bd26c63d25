"""Two ranks give the loss and, averaged as DistributedDataParallel averages, the gradients of one process."""

import inspect
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from distillkit.losses._gather import concat, gather
from distillkit.recipe import Term
from distillkit.recipe.registry import kinds, resolve
from distillkit.training.objective import Objective
from distillkit.types import Batch, Features, Widths

WIDTH = 4
SPLIT = (3, 5)  # images of each rank: ranks need not hold the same number
PAIRED, UNPAIRED, CLASSES, SHARED, MASKED = "paired", "unpaired", "classes", "shared texts", "masked"
ALIKE = "paired with texts that happen to be equal"
TEXTS = {PAIRED: SPLIT, ALIKE: (4, 4), UNPAIRED: (6, 2), SHARED: (2, 3)}
MATCH = {PAIRED: ([0, 1, 2], [0, 1, 2, 3, 4]), SHARED: ([0, 1, 1], [2, 0, 1, 1, 2])}
MATCH[ALIKE] = [0, 1, 2], [3, 0, 1, 2, 3]
LABELS = [0, 2, 1, 1, 0, 2, 2, 0]

TERMS = [
    ("affinity", {"logit_scale": 10.0}, UNPAIRED),
    ("affinity", {"between": "image, teacher image", "symmetric": False, "logit_scale": 10.0}, UNPAIRED),
    ("affinity", {"between": "image, image", "logit_scale": 10.0}, UNPAIRED),
    ("affinity", {"between": "image, text", "logit_scale": "own", "directions": "mean"}, PAIRED),
    ("affinity", {"between": "image, text", "logit_scale": 9.0, "divergence": "cross_entropy"}, SHARED),
    ("affinity", {"directions": "rows", "top_k": 2, "logit_scale": 5.0}, CLASSES),
    ("affinity", {"directions": "rows", "top_k": 2, "agreeing_only": True, "logit_scale": 5.0}, CLASSES),
    ("affinity", {"between": "image, student text", "directions": "rows", "logit_scale": 5.0}, CLASSES),
    ("contrastive", {}, PAIRED),
    ("contrastive", {"logit_scale": "student"}, SHARED),
    ("contrastive", {"text": "teacher"}, SHARED),
    ("contrastive", {"text": "teacher"}, CLASSES),
    ("contrastive", {"text": "teacher", "directions": "rows"}, CLASSES),
    ("contrastive", {"against": "teacher image"}, UNPAIRED),
    ("interactive", {}, PAIRED),
    ("interactive", {"target": "teacher"}, PAIRED),
    ("fusion", {}, PAIRED),
    ("gradient", {}, PAIRED),
    ("gradient", {"mode": "code", "logit_scale": 0.2}, PAIRED),
    ("sigmoid", {}, PAIRED),
    ("sigmoid", {"text": "teacher"}, SHARED),
    ("caption_contrast", {"temperature": 0.3}, "captions"),
    ("token_regression", {"level": "patch"}, MASKED),
    ("feature_regression", {"normalise": False, "over_width": "sum", "log": True}, UNPAIRED),
    ("feature_regression", {"field": "text"}, UNPAIRED),
    ("contrastive", {}, ALIKE),
    ("affinity", {"between": "image, student text", "logit_scale": 5.0}, ALIKE),
]


class Student(nn.Module):
    """Two linear towers and a scale."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(3, WIDTH), nn.Linear(3, WIDTH)
        self.scale = nn.Parameter(torch.tensor(6.0))

    def forward(self, pixels, tokens):
        image = self.image(pixels)
        return Features(image=image, text=self.text(tokens), masked=image[:, None], scale=self.scale * 1)


def part(pairing, rank):
    """Pixels, tokens and batch of one rank, or of both together (rank None)."""
    torch.manual_seed(5)
    pixels, image = torch.randn(sum(SPLIT), 3).double(), torch.randn(sum(SPLIT), WIDTH).double()
    rows = slice(None) if rank is None else slice(SPLIT[0] * rank, SPLIT[0] + SPLIT[1] * rank)
    scale = torch.tensor(8.0).double()
    if pairing == "captions":  # one caption per image, and the images' classes
        tokens, text = torch.randn(8, 3).double(), torch.randn(8, WIDTH).double()
        teacher = Features(image=image[rows], caption=text[rows], scale=scale)
        return pixels[rows], tokens[rows], Batch(match=torch.tensor(LABELS)[rows], teacher=teacher)
    if pairing == MASKED:  # a patch an image, hidden in the first half of the batch
        mask = (torch.arange(8) < 4)[rows, None]
        teacher = Features(patches=image[rows, None])
        return pixels[rows], torch.zeros(1, 3).double(), Batch(mask=mask, teacher=teacher)
    if pairing == CLASSES:  # every rank has all classes
        tokens, text = torch.randn(3, 3).double(), torch.randn(3, WIDTH).double()
        teacher = Features(image=image[rows], text=text, scale=scale)
        return pixels[rows], tokens, Batch(match=torch.tensor(LABELS)[rows], teacher=teacher)
    counts = TEXTS[pairing]
    tokens, text = torch.randn(sum(counts), 3).double(), torch.randn(sum(counts), WIDTH).double()
    if pairing == ALIKE:
        tokens[4:], text[4:] = tokens[:4], text[:4]
    texts = slice(None) if rank is None else slice(counts[0] * rank, counts[0] + counts[1] * rank)
    match = None
    if pairing in MATCH:
        first, second = MATCH[pairing]
        match = torch.tensor([*first, *(counts[0] + j for j in second)] if rank is None else MATCH[pairing][rank])
    teacher = Features(image=image[rows], text=text[texts], scale=scale)
    shared = False if pairing == ALIKE else None
    return pixels[rows], tokens[texts], Batch(match=match, teacher=teacher, texts_shared=shared)


def value_and_gradients(kind, knobs, pairing, rank=None):
    torch.manual_seed(0)
    equal = ("affinity", "contrastive", "sigmoid", "caption_contrast", "token_regression")
    width = WIDTH if kind in equal else WIDTH + 1
    student = Student().double()
    ours, theirs = (dict.fromkeys(("image", "text", more), w) for more, w in (("masked", WIDTH), ("patches", width)))
    widths = Widths(ours, theirs)
    loss = resolve("losses", kind)(widths, **knobs).double()
    pixels, tokens, batch = part(pairing, rank)
    if width > WIDTH:
        padded = {
            name: nn.functional.pad(getattr(batch.teacher, name), (0, 1), value=0.5) for name in ("image", "text")
        }
        batch = Batch(match=batch.match, teacher=Features(**padded, scale=batch.teacher.scale))
    value = loss(batch, student(pixels, tokens))
    value.backward()
    named = [*student.named_parameters(), *((f"loss.{name}", p) for name, p in loss.named_parameters())]
    return value.detach(), {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named if p.requires_grad}


def mixed(rank=None):
    """Two terms that take mixed images, of classes that every rank has; four images of each rank."""
    torch.manual_seed(0)
    student, widths = Student().double(), Widths({"image": WIDTH}, {"image": WIDTH, "text": WIDTH})
    terms = [
        Term(kind="contrastive", text="teacher", directions="rows"),
        Term(kind="affinity", directions="rows", logit_scale=5.0),
    ]
    objective = Objective(terms, widths, mixed=True).double()
    pixels, tokens, batch = part(CLASSES, None)
    rows = slice(None) if rank is None else slice(4 * rank, 4 * rank + 4)
    teacher = replace(batch.teacher, image=batch.teacher.image[rows])
    batch = Batch(match=batch.match[rows], teacher=teacher, own_share=0.7)
    total, _ = objective(batch, student(pixels[rows], tokens))
    total.backward()
    named = [*student.named_parameters(), *((f"loss.{name}", p) for name, p in objective.named_parameters())]
    return total.detach(), {name: parameter.grad for name, parameter in named if parameter.grad is not None}


def drawn(rank):
    """How many texts a loss sees of three that both ranks have, where a tower with dropout says other things on each;
    and the texts that the images have.
    """
    torch.manual_seed(rank)
    _, _, batch = part(CLASSES, rank)
    student = Features(image=torch.ones(len(batch.match), WIDTH), text=torch.randn(3, WIDTH))
    whole, seen = gather(replace(batch, texts_shared=True), student, ("student.image", "student.text"))
    return len(seen.text), len(seen.image), whole.match.tolist()


def one_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for ask in (*(partial(value_and_gradients, *term) for term in TERMS), mixed):
        value, gradients = ask(rank)
        for gradient in gradients.values():
            dist.all_reduce(gradient)
            gradient /= 2
        found.append((value, gradients))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.save(drawn(rank), f"{folder}/drawn{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(one_rank, (str(folder),), nprocs=2)
    assert [torch.load(folder / f"drawn{rank}.pt") for rank in (0, 1)] == 2 * [(3, 8, LABELS)]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(TERMS) + 1), ids=lambda number: str([*TERMS, "mixed images"][number]))
def test_two_ranks_equal_one_process(ranks, number):
    value, gradients = value_and_gradients(*TERMS[number]) if number < len(TERMS) else mixed()
    assert any(gradient.norm() > 1e-9 for gradient in gradients.values())
    for rank in ranks:
        torch.testing.assert_close(rank[number][0], value, rtol=1e-9, atol=1e-12)
        for name, gradient in gradients.items():
            torch.testing.assert_close(rank[number][1][name], gradient, rtol=1e-7, atol=1e-10, msg=name)


def test_every_loss_that_gathers_is_here():
    gathering = {
        kind for kind in kinds("losses") if "_gather" in Path(inspect.getfile(resolve("losses", kind))).read_text()
    }
    assert gathering == {kind for kind, _, _ in TERMS}


def test_one_process_needs_no_process_group():
    _, _, batch = part(PAIRED, None)
    student = Features(image=torch.ones(2, 2))
    assert gather(batch, student, ("student.image",)) == (batch, student)
    assert concat(student.image) is student.image
