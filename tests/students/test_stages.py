"""TinyCLIP's stages from end to end: learn masks, fuse, train what is left; and two ranks hold the same masks."""

import hashlib
import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from distillkit.extract import extract
from distillkit.recipe import ExtractRecipe, Optim, Term, TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.students._masks import Masks
from distillkit.students._pixels import Normalise
from distillkit.students._weights import Trunk, earlier_student
from distillkit.students.openclip_slim import OpenclipSlim
from distillkit.students.timm_image import TimmImage
from distillkit.students.timm_slim import TimmSlim
from distillkit.train import train
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.conftest import TEACHER, draw, make_teacher
from tests.students.small import IMAGES, PAIR, TEXTS

OPTIONS = {"embed_dim": 48, "depth": 2, "num_heads": 3}
EXTRACT = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["image", "text"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store, and whole networks to begin with: the teacher's own, and a ViT of timm's."""
    folder = tmp_path_factory.mktemp("stages")
    teacher, corpus = make_teacher(folder / "teacher"), draw(folder / "corpus", 32)
    (folder / "extract.toml").write_text(EXTRACT.format(out=folder, teacher=teacher, corpus=corpus))
    list(extract(load(folder / "extract.toml", kind=ExtractRecipe), lambda line: None))
    torch.manual_seed(1)
    trunk = TimmImage(model="vit_tiny_patch16_224", image_size=32, options=OPTIONS).trunk
    save_file(trunk.state_dict(), folder / "vit.safetensors")
    return folder


def stage(world, name, student, losses, epochs=5.0):
    """One run; returns its folder, and what was said."""
    knobs = {"lr": 1e-3, "warmup_epochs": 0.0, "epochs": epochs, "clip_grad_norm": 5.0}
    recipe = TrainRecipe.model_validate(
        {
            "name": name,
            "out": str(world / "runs" / name),
            "data": {"images": str(world / "images"), "captions": "paired", "batch_size": 8, "pixel_cache": 32},
            "student": student,
            "losses": losses,
            "optim": knobs,
            "log": {"every_steps": 5},
        }
    )
    said = []
    return train(recipe, said.append), "\n".join(said)


PAIRED = {"kind": "affinity", "between": "image, text", "logit_scale": 50.0}
IMAGE = {"kind": "feature_regression", "distance": "cosine"}
# A price so high, and so soon, that twenty steps take a good part away.
PRICE = {"kind": "sparsity", "target": 0.6, "warmup_steps": 1, "multiplier": 200.0}
STUDENTS = {
    "open_clip": (lambda world: {"kind": "openclip_slim", "model": TEACHER}, "local-dir:{}/teacher", PAIRED),
    "timm": (
        lambda world: (
            {"kind": "timm_slim", "model": "vit_tiny_patch16_224", "options": OPTIONS}
            | {"image_size": 32, "embed_dim": 32}
        ),
        "vit_tiny_patch16_224/{}/vit.safetensors",
        IMAGE,
    ),
}


@pytest.mark.parametrize("family", STUDENTS)
def test_masks_are_learned_fused_and_what_is_left_is_trained(world, family, monkeypatch):
    monkeypatch.setattr(Masks, "learning_rate", 0.3)  # hundreds of steps in forty
    knobs, teacher, loss = STUDENTS[family]
    if family == "timm":
        # A file is loaded into timm's network of that name as it is; this one is smaller.
        monkeypatch.setattr("distillkit.students.timm_slim.timm_teacher", lambda name, size: _trunk(world))
    whole = knobs(world) | {"masks": True, "inherit": teacher.format(world)}
    masked, said = stage(world, f"{family}-masked", whole, [loss, PRICE], epochs=10.0)
    history = [json.loads(line) for line in (masked / "metrics.jsonl").read_text().splitlines()]
    assert history[-1]["sparsity"] < history[0]["sparsity"]  # the price falls as the network shrinks
    assert "what is left" not in said

    learned = earlier_student(f"run:{masked}")
    before = learned.embed(IMAGES)
    left = knobs(world) | {"masks": False, "inherit": f"run:{masked}"}
    fused = type(learned)(**{name: value for name, value in left.items() if name != "kind"})
    told = fused.begin()
    torch.testing.assert_close(fused.eval().embed(IMAGES), before, rtol=1e-4, atol=1e-4)
    assert "parameters" in told and "multiply-accumulates an image" in told

    small, said = stage(world, f"{family}-fused", left, [loss])
    begun = json.loads((small / "recipe.json").read_bytes())["identity"]
    assert begun["inherited"] == hashlib.sha256((masked / "student.safetensors").read_bytes()).hexdigest()
    assert "what is left: image tower" in said
    weights = [load_file(run / "student.safetensors") for run in (masked, small)]
    sizes = [sum(v.numel() for n, v in each.items() if "_masks." not in n) for each in weights]
    assert sizes[1] < 0.8 * sizes[0]
    assert RunFolder(small).load_student().embed(IMAGES).shape == (3, 32)


def _trunk(world):
    trunk = TimmImage(model="vit_tiny_patch16_224", image_size=32, options=OPTIONS).trunk
    trunk.load_state_dict(load_file(world / "vit.safetensors"))
    return Trunk(trunk, Normalise((0.5,) * 3, (0.5,) * 3))


def learner(kind, rank, world):
    """A masked student, its masks half shut, and the price; what a rank sees is its own."""
    torch.manual_seed(0)
    if kind == "open_clip":
        student = OpenclipSlim(model=PAIR, masks=True)
    else:
        student = TimmSlim(
            model="vit_tiny_patch16_224", image_size=32, embed_dim=8, masks=True, options=OPTIONS | {"embed_dim": 24}
        )
    losses = [Term(kind="feature_regression"), Term(kind="sparsity", target=0.5, warmup_steps=1)]
    objective = Objective(losses, Widths(student.widths, {"image": 8}))
    return Learner(student, objective, Optim(epochs=1.0), seed=0, device=torch.device("cpu"), ranks=Ranks(rank, world))


def one_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for kind in ("open_clip", "timm"):
        one = learner(kind, rank, 2)
        torch.manual_seed(rank)
        for step in range(4):
            pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
            tokens = one.student.tokenize(TEXTS) if kind == "open_clip" else None
            teacher = Features(image=torch.randn(3, 8))
            one.step(Batch(pixels=pixels, tokens=tokens, match=torch.arange(3), teacher=teacher, step=step), lr=1e-3)
        state = {n: p.detach().clone() for n, p in one.model.named_parameters() if "_masks" in n or "objective" in n}
        found |= {f"{kind}.{name}": value for name, value in state.items()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.long
def test_two_ranks_with_other_images_and_other_draws_hold_the_same_masks(tmp_path):
    mp.spawn(one_rank, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert {name.split(".")[0] for name in first} == {"open_clip", "timm"} and first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert any(not torch.all(value == 10.0) for name, value in first.items() if "_masks" in name)
