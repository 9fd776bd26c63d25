"""Learning rates one can do in one's head, and parameters in the right groups."""

import pytest
import timm
import torch
from torch import nn

from distillkit.recipe import Optim
from distillkit.training import schedule
from distillkit.training.schedule import _kernels, learning_rate, make_optimizer, total_steps
from tests.pretend import pretend_gpu


def rates(optim, steps_per_epoch, *steps):
    return [learning_rate(step, steps_per_epoch, optim) for step in steps]


def test_warm_up_then_cosine():
    optim = Optim(epochs=12.0, lr=1.0, min_lr=0.2, warmup_lr=0.1, warmup_epochs=2.0)
    assert total_steps(10, optim) == 120
    assert rates(optim, 10, 0, 10, 20, 70, 120) == pytest.approx([0.1, 0.55, 1.0, 0.6, 0.2])


def test_multistep_falls_at_its_milestones():
    optim = Optim(epochs=90.0, lr=0.05, schedule="multistep", milestones=[30.0, 60.0], warmup_epochs=0.0)
    assert rates(optim, 10, 0, 299, 300, 600) == pytest.approx([0.05, 0.05, 0.005, 0.0005])


@pytest.mark.parametrize(("every", "moves"), [("step", 100), ("epoch", 10)])
def test_onecycle_equals_torch(every, moves):
    """Moved every step, or once an epoch, as OOD does: then of ten rates one is the highest, one the last."""
    optim = Optim(epochs=10.0, lr=0.3, schedule="onecycle", every=every)
    parameter = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(parameter, max_lr=0.3, total_steps=moves)
    for move in range(moves):
        for step in range(move * 100 // moves, (move + 1) * 100 // moves):
            assert learning_rate(step, 10, optim) == pytest.approx(theirs.get_last_lr()[0], rel=1e-6), step
        parameter.step()
        theirs.step()


def test_once_an_epoch():
    optim = Optim(epochs=4.0, lr=1.0, min_lr=0.0, warmup_epochs=0.0, every="epoch")
    assert len(set(rates(optim, 10, *range(40)))) == 4


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(2, 3))
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.head = nn.Linear(2, 2)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_biases_and_embeddings_are_not_decayed(kind):
    optimizer = make_optimizer(nn.ModuleDict({"student": Toy()}), Optim(epochs=1.0, weight_decay=0.3, kind=kind))
    sizes = {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups}
    assert sizes == {0.3: 3, 0.0: 4}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("vit_small_patch14_reg4_dinov2", {"cls_token", "reg_token"}),
        ("deit_tiny_distilled_patch16_224", {"cls_token", "dist_token"}),
        ("levit_128s", {"attention_biases"}),
        ("swinv2_tiny_window8_256", {"logit_scale"}),
        ("xcit_nano_12_p16_224", {"cls_token", "temperature"}),
    ],
)
def test_what_a_network_exempts_is_not_decayed(model, names):
    """As timm does it: class tokens, registers, biases and scales that have axes enough to be weights."""
    with torch.device("meta"):
        student = nn.ModuleDict({"trunk": timm.create_model(model, num_classes=0)})
    optimizer = make_optimizer(nn.ModuleDict({"student": student}), Optim(epochs=1.0, weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    exempt = [name for name, p in student.named_parameters() if name.rpartition(".")[2] in names and not decay[id(p)]]
    assert {name.rpartition(".")[2] for name in exempt} == names
    assert any(decay.values())


def test_embeddings_of_words_are_not_decayed():
    """Whatever a tower of Hugging Face calls them."""
    text = nn.ModuleDict({"word_embeddings": nn.Embedding(4, 2), "dense": nn.Linear(2, 2)})
    optimizer = make_optimizer(nn.ModuleDict({"student": text}), Optim(epochs=1.0, weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {
        id(text["word_embeddings"].weight): 0.0,
        id(text["dense"].weight): 0.3,
        id(text["dense"].bias): 0.0,
    }


def test_layers_further_from_the_output_learn_more_slowly():
    model = nn.ModuleDict({"student": Toy(), "objective": nn.Linear(2, 2)})
    optimizer = make_optimizer(model, Optim(epochs=1.0, weight_decay=0.3, layer_decay=0.5))
    share = {id(p): group["lr_share"] for group in optimizer.param_groups for p in group["params"]}
    toy = model["student"]
    assert [share[id(p)] for p in (toy.pos_embed, toy.blocks[0].weight, toy.blocks[1].weight, toy.head.bias)] == [
        0.125,
        0.25,
        0.5,
        1.0,
    ]
    assert share[id(model["objective"].weight)] == 1.0


def test_a_module_may_have_a_rate_of_its_own():
    model = nn.ModuleDict({"student": Toy(), "objective": nn.Linear(2, 2)})
    model["objective"].learning_rate = 0.02
    optimizer = make_optimizer(model, Optim(epochs=1.0))
    (group,) = [group for group in optimizer.param_groups if group["own_lr"]]
    assert (group["own_lr"], group["weight_decay"], len(group["params"])) == (0.02, 0.0, 2)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_gpu_steps_all_parameters_at_once(kind, fused):
    """One kernel or a few for hundreds of tensors; on a CPU fused or one by one, as ever."""
    here = make_optimizer(nn.Linear(2, 2), Optim(epochs=1, kind=kind, fused=fused)).defaults
    assert (here["fused"], here["foreach"]) == (fused, False)
    with pretend_gpu():
        there = make_optimizer(nn.Linear(2, 2).to("cuda"), Optim(epochs=1, kind=kind, fused=fused)).defaults
    assert there["fused"] or there["foreach"]


def test_parameters_that_are_spread_are_stepped_apart_from_those_that_are_not(monkeypatch):
    """One kernel that is given both refuses."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    monkeypatch.setattr(schedule, "spread", lambda one: one is model[1].weight)
    groups = make_optimizer(model, Optim(epochs=1)).param_groups
    assert [[*map(id, group["params"])] for group in groups] == [
        [id(model[0].weight), id(model[2].weight)],
        [id(model[1].weight)],
    ]


@pytest.mark.parametrize(("kind", "fused"), [("adamw", True), ("sgd", False)])
def test_parameters_that_are_spread_over_gpus_are_stepped_at_once_too(kind, fused):
    """PyTorch has no fused SGD for them."""
    assert _kernels(Optim(epochs=1, kind=kind, shard=True), on_gpu=True) == {"fused": fused, "foreach": not fused}
    assert _kernels(Optim(epochs=1, kind=kind, shard=True), on_gpu=False) == {"fused": False, "foreach": False}
