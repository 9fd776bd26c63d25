"""A student spread over two ranks learns what one process learns, and what it keeps on the disk is whole."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from distillkit.errors import RecipeError, TrainError
from distillkit.recipe import Optim, Term
from distillkit.students.openclip_pair import OpenclipPair
from distillkit.students.timm_image import TimmImage
from distillkit.students.timm_slim import TimmSlim
from distillkit.training import checkpoint, shards
from distillkit.training.finite import NotFinite
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.conftest import TEACHER

SMALL = {"depth": 3, "embed_dim": 36, "num_heads": 2}  # 3 classes of rows that two ranks cannot halve
IMAGE = [Term(kind="contrastive", against="teacher image"), Term(kind="feature_regression")]
PAIR = [Term(kind="contrastive", logit_scale="student")]
TOKENS = [Term(kind="token_regression", level="patch"), Term(kind="feature_regression")]
KINDS = {
    "everything": {"clip_grad_norm": 0.05, "ema": 0.5, "accumulate": 3, "recompute": True, "fused": True},
    "pair": {"kind": "sgd", "accumulate": 2},
    "plain": {},
    "bf16": {"precision": "bf16", "clip_grad_norm": 0.05},
    "layers": {"kind": "sgd", "layer_decay": 0.5},
    "tokens": {},
    "compiled": {"compile": True, "recompute": True},
}
SOME, REST = tuple(KINDS)[:2], tuple(KINDS)[2:]
STEPS = 2


def learner(kind, ranks, **more):
    torch.manual_seed(0)
    if kind == "pair":
        student, terms = OpenclipPair(model={**TEACHER, "embed_dim": 15}), PAIR
    elif kind == "slim":
        student = TimmSlim(model="vit_tiny_patch16_224", image_size=32, embed_dim=15, masks=True, options=SMALL)
        terms = IMAGE
    else:
        tokens = kind == "tokens"
        student = TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=15, options=SMALL, tokens=tokens)
        terms = TOKENS if tokens else IMAGE
    widths = {"image": 15, "text": 15, "patches": 20, "scale": 1}
    objective = Objective(terms, Widths(student.widths, widths))
    # With this eps Adam makes no large steps of gradients that are zero but for rounding, as of keys' biases.
    knobs = {"eps": 1e-2, "precision": "fp32"} | KINDS.get(kind, {}) | {"shard": ranks.several} | more
    return Learner(student, objective, Optim(epochs=1, **knobs), seed=0, device=torch.device("cpu"), ranks=ranks)


def batch(kind, step, ranks, n=12):
    random = torch.Generator().manual_seed(step)
    mine = ranks.span(n)
    pixels = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=random)
    tokens = torch.randint(1, 400, (n, 77), generator=random) if kind == "pair" else None
    image, patches = torch.randn(n, 15, generator=random), torch.randn(n, 4, 20, generator=random)
    mask = torch.rand(n, 4, generator=random) < 0.5
    said = Features(image=image[mine], scale=torch.tensor(10.0), patches=patches[mine] if kind == "tokens" else None)
    keys, match = tuple(f"k{i}" for i in range(n))[mine], torch.arange(n // ranks.world)
    of_pair = {"tokens": tokens[mine]} if kind == "pair" else {}
    masked = {"mask": mask[mine]} if kind == "tokens" else {}
    return Batch(keys, pixels[mine], match=match, teacher=said, step=step, **of_pair, **masked)


def course(kind, ranks, folder, first, stop, **more):
    """Steps of one way, from the checkpoint of another if there is one; losses, norms, and a checkpoint at the end."""
    made = learner(kind, ranks, **more)
    assert checkpoint.restore(folder, made.model, made.optimizer, made.scaler) == first
    told = []
    for step in range(first, stop):
        one = batch(kind, step, ranks)
        norms = made.gradient_norms(one)
        told.append([float(ranks.mean(made.step(one, 1e-3)[0])), *norms.values()])
    state = checkpoint.State.of(stop, made.model, made.optimizer, made.scaler, ranks.first)
    if ranks.first:
        checkpoint.save(folder, state, keep=9)
    return torch.tensor(told), {n: v.clone() for n, v in (made.trained() or made.kept).state_dict().items()}


def one_rank(rank, folder, kinds):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    found = {}
    for kind in kinds:
        found[kind] = course(kind, ranks, folder / kind / "spread", 0, STEPS)
        ranks.wait()
        if kind in SOME:
            found[f"{kind} again"] = course(kind, ranks, folder / kind / "alone", STEPS, 2 * STEPS)
            found[f"{kind} copies"] = course(kind, ranks, folder / kind / "spread", STEPS, 2 * STEPS, shard=False)
    made = learner("plain", ranks)
    found["parts"] = sum(shards.own(one).numel() for one in made.student.parameters())
    broken = batch("plain", 0, ranks)
    if rank == 1:
        broken.teacher.image[0, 0] = float("nan")
    before = {name: shards.own(value).clone() for name, value in made.model.state_dict().items()}
    with pytest.raises(NotFinite, match="feature_regression = nan") as stopped:
        made.step(broken, 1e-2)
    assert stopped.value.terms.keys() == {"contrastive", "feature_regression"}
    assert all(torch.equal(shards.own(value), before[name]) for name, value in made.model.state_dict().items())
    with pytest.raises(RecipeError, match=r"float16 needs one scale for all parts; set optim\.precision"):
        learner("plain", ranks, precision="fp16")
    with pytest.raises(RecipeError, match="uses weights of a block outside of it, as slim ones do"):
        learner("slim", ranks).step(batch("slim", 0, ranks), 1e-3)
    if rank == 0:
        torch.save(found, folder / "found.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[SOME, pytest.param(REST, marks=pytest.mark.slow)], ids=["some", "rest"])
def found(request, tmp_path_factory):
    """What two ranks found, and where checkpoints lie. What one process left is there for them to go on with."""
    folder = tmp_path_factory.mktemp("shards")
    alone = {kind: course(kind, Ranks(), folder / kind / "alone", 0, STEPS) for kind in request.param}
    mp.spawn(one_rank, (folder, request.param), nprocs=2)
    return alone, torch.load(folder / "found.pt", weights_only=True), folder


def same(kind, one, other):
    (told, student), (also_told, also) = one, other
    assert torch.allclose(told, also_told, rtol=3e-2 if kind == "bf16" else 2e-4), (kind, told, also_told)
    assert student.keys() == also.keys()
    weights, also_weights = (torch.cat([v.flatten().float() for v in one.values()]) for one in (student, also))
    far = float((weights - also_weights).norm() / weights.norm())
    assert far < (1e-3 if kind == "bf16" else 1e-5), (kind, far)


@pytest.mark.long
def test_parts_learn_what_one_process_learns(found):
    alone, spread, _ = found
    for kind, one in alone.items():
        same(kind, one, spread[kind])


def test_any_way_goes_on_with_what_another_began(found):
    """Alone, then in parts; in parts, then a copy on each rank, then alone again."""
    alone, spread, folder = found
    for kind in set(alone) & set(SOME):
        undisturbed = course(kind, Ranks(), folder / kind / "calm", 0, 2 * STEPS)
        after = undisturbed[0][STEPS:], undisturbed[1]
        same(kind, after, spread[f"{kind} again"])
        same(kind, after, spread[f"{kind} copies"])
        last = course(kind, Ranks(), folder / kind / "spread", 2 * STEPS, 2 * STEPS + 1)
        assert torch.isfinite(last[0]).all()


def test_each_rank_holds_a_part(found):
    _, spread, _ = found
    everything = sum(one.numel() for one in learner("plain", Ranks()).student.parameters())
    assert 0.4 * everything < spread["parts"] < 0.65 * everything


def test_an_older_pytorch_is_told(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.6.1+cpu")
    with pytest.raises(TrainError, match=r"optim\.shard: needs PyTorch 2\.7 or newer, this is 2\.6\.1"):
        shards.shard(torch.nn.Linear(2, 2), torch.device("cpu"), Ranks(0, 2))
