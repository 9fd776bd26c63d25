"""TinyCLIP's cases by our losses, our inheritance and our masks."""

import pytest
import torch
from torch.func import functional_call

from distillkit.losses.affinity import Affinity
from distillkit.losses.contrastive import Contrastive
from distillkit.losses.sparsity import Sparsity
from distillkit.students import _l0
from distillkit.students._heads import Heads
from distillkit.students._inherit import inherit, inherited_layers
from distillkit.students._masks import Masks, share_gone
from distillkit.types import Batch, Features, Widths
from tests.losses.released.running import run, widths_of


def tinyclip(case, x, mode):
    match case["loss"]:
        case "weight_inherit_manual":
            return inheritance(case, x)
        case "L0_masks":
            return l0_masks(case, x)
        case "L0_lagrangian":
            return l0_lagrangian(case["hyper"], x, {"": case["hyper"]})
        case "L0_joint_lagrangian":
            return l0_lagrangian(case["hyper"], x, {f"{tower}_": case["hyper"][tower] for tower in ("img", "txt")})

    student = Features(image=x["s_img"], text=x["s_txt"], scale=x["s_scale"])
    teacher = Features(image=x["t_img"], text=x["t_txt"], scale=x["t_scale"])
    batch, widths = Batch(match=torch.arange(len(x["s_img"])), teacher=teacher), widths_of(student, teacher)

    def soft(directions):
        knobs = {"between": "image, text", "logit_scale": "own", "divergence": "cross_entropy"}
        return run(Affinity(widths, directions=directions, **knobs), batch, student)

    if case["loss"] == "total":
        alpha, weight = case["hyper"]["distillation_alpha"], case["hyper"]["distillation_weight"]
        hard = run(Contrastive(widths, logit_scale="student"), batch, student)
        return weight * (alpha * soft("mean") + (1 - alpha) * hard)
    return soft({"affinity_i2t": "rows", "affinity_t2i": "columns", "affinity_avg": "mean"}[case["loss"]])


def inheritance(case, x):
    hyper = case["hyper"]
    assert inherited_layers(hyper["teacher_layers"], hyper["student_layers"]) == hyper["layer_indices"]
    shapes = {name: case["shapes"][name] for name in case["expected_arrays"]}
    fused = {
        name.removesuffix("weight").removesuffix("bias") for name in shapes if "in_proj_" in name or "qkv." in name
    }
    return inherit(x, shapes, {place: Heads(3, hyper["head_dim"]) for place in fused})


def l0_size(hyper):
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
    return _l0.Size(*(hyper[name] for name in names))


class Pooled(torch.nn.ModuleList):
    """Masks of a student's towers: parameters that can go, those expected to stay, and the sparsity it is paid for."""

    def forward(self):
        return sum(masks.size.parameters for masks in self), sum(masks.remaining() for masks in self), share_gone(self)


def l0_lagrangian(hyper, x, towers):
    """`towers`: what the inputs of each begin with, and its sizes. Together they have one sparsity and one price."""
    masks, learned = Pooled(), {}
    for number, (prefix, sizes) in enumerate(towers.items()):
        size = l0_size(sizes)
        masks.append(Masks(size.width, [size.heads] * size.layers, [size.neurons] * size.layers))
        learned[f"{number}.hidden"] = x[f"{prefix}hidden_loga"]
        for group, released in (("heads", "heads"), ("neurons", "intermediate")):
            layers = x[f"{prefix}{released}_loga"]
            learned |= {f"{number}.{group}.{layer}": log_alpha for layer, log_alpha in enumerate(layers)}
    assert learned.keys() == dict(masks.named_parameters()).keys()
    parameters, remaining, sparsity = functional_call(masks, learned, ())
    knobs = {"target": hyper["target_sparsity"], "start": hyper["start_sparsity"]}
    loss = Sparsity(Widths({"sparsity": 1}, {}), warmup_steps=hyper["sparsity_warmup"], **knobs)
    for key, ours in (
        ("prunable_model_size", parameters),
        ("expected_params", remaining.item()),
        ("out_expected_sparsity", sparsity.item()),
        ("out_target_sparsity", loss.target_at(hyper["step"])),
    ):
        if key in hyper:
            assert ours == pytest.approx(hyper[key], rel=1e-5), key
    # The multipliers are maximised: their gradient is the released code's, turned round.
    multipliers = {
        name: turned(sum(x[f"{prefix}{released}"] for prefix in towers) / len(towers))
        for name, released in (("linear", "lambda_1"), ("quadratic", "lambda_2"))
    }
    return run(loss, Batch(step=hyper["step"]), Features(sparsity=sparsity), multipliers)


def turned(value):
    """The same value, whose gradient is turned round."""
    return 2 * value.detach() - value


def l0_masks(case, x):
    """The released code's reported sparsity ignores the masks; ours counts what they leave."""
    groups = ("hidden", "heads", "intermediate")
    size = l0_size(case["hyper"])
    settled = {group: _l0.settled(x[f"{group}_loga"]) for group in groups}
    left = size.remaining(*((settled[group] > 0).double() for group in groups))
    expected = _l0.sparsity([size.remaining(*(_l0.kept(x[f"{group}_loga"]) for group in groups))], [size])
    assert _l0.sparsity([left], [size]).item() == pytest.approx(expected.item(), abs=0.05)
    drawn = {f"train_{group}_z": _l0.draw(x[f"{group}_loga"], x[f"u_{group}"]) for group in groups}
    shares = {f"score_{group}": _l0.kept(x[f"{group}_loga"]) for group in groups}
    return drawn | {f"eval_{group}_z": mask for group, mask in settled.items()} | shares
