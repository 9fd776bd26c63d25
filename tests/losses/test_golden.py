"""Every loss against the values that the papers' released code gives on the same inputs, in float64.

DISTILLKIT_GOLDEN names another folder with cases.json and arrays.npz of the same schema. A case is mapped by its
method, its loss and its hyper-parameters, so that any sizes, widths and settings will do.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call

from distillkit.evals._tip import few_shot_logits
from distillkit.losses._score import unit
from distillkit.losses.affinity import Affinity
from distillkit.losses.caption_contrast import CaptionContrast
from distillkit.losses.contrastive import Contrastive
from distillkit.losses.feature_regression import FeatureRegression
from distillkit.losses.fusion import Fusion
from distillkit.losses.gradient import Gradient
from distillkit.losses.interactive import Interactive
from distillkit.losses.sparsity import Sparsity
from distillkit.losses.token_regression import TokenRegression
from distillkit.students import _l0
from distillkit.students._inherit import inherit, inherited_layers
from distillkit.students._masking import keep_some
from distillkit.students._masks import Masks, share_gone
from distillkit.types import Batch, Features, Widths
from tests.losses import reference

FOLDER = Path(os.environ.get("DISTILLKIT_GOLDEN", Path(__file__).parents[1] / "golden"))
CASES = json.loads((FOLDER / "cases.json").read_text())["cases"]
ARRAYS = dict(np.load(FOLDER / "arrays.npz", allow_pickle=False))


def run(loss, batch, student, heads=None):
    """The loss with its trained tensors replaced by the case's; none may be left at random."""
    heads = heads or {}
    assert heads.keys() == dict(loss.named_parameters()).keys()
    return functional_call(loss, heads, (batch, student))


def widths_of(student, teacher):
    """Widths of all fields that are there, as the training run would find them."""
    fields = ("image", "text", "caption", "cls", "patches", "masked", "masked_image")
    given = [{f: getattr(side, f) for f in fields if getattr(side, f) is not None} for side in (student, teacher)]
    return Widths(*({field: value.shape[-1] for field, value in side.items()} for side in given))


# DIME-FM


def dime_fm(case, x, mode):
    hyper = case["hyper"]
    student, teacher = Features(image=x["s_img"]), Features(image=x["t_img"], text=x["t_txt"])
    widths, scale = widths_of(student, teacher), hyper["logit_scale"]

    def term(name):
        knobs = {
            "vl": {"between": "image, teacher text"},
            "pvl": {"between": "image, teacher image", "symmetric": False},
            "udist": {"between": "image, image"},
        }[name]
        loss = Affinity(widths, logit_scale=scale, temperature=hyper[f"t_{name}"], **knobs)
        return run(loss, Batch(teacher=teacher), student)

    if case["loss"] == "total":
        return sum(hyper[f"w_{name}"] * term(name) for name in ("vl", "pvl", "udist"))
    return term(case["loss"].removeprefix("L_"))


# CLIP-KD

CLIP_KD_WEIGHTS = {
    "w_task": "task_clip",
    "w_crd": "CRD",
    "w_fd": "FD",
    "w_mfd": "MFD",
    "w_icl": "ICL",
    "w_cross_kd": "cross_kd",
    "w_gd": "GD",
    "w_afd": "AFD",
}


def clip_kd(case, x, mode):
    if case["loss"] == "MFD_random_masking":
        kept, gone, place = keep_some(x["x"], x["noise"], case["hyper"]["mask_ratio"])
        assert kept.shape[1] == case["hyper"]["len_keep"]
        return {"x_masked": kept, "mask": gone, "ids_restore": place}
    if case["loss"] == "any":
        assert "world_size_1" in case["id"]
        return one_process(case, x, mode)
    if case["loss"] == "total":
        weights = {loss: case["hyper"][key] for key, loss in CLIP_KD_WEIGHTS.items() if case["hyper"].get(key)}
        return sum(weight * clip_kd(case | {"loss": loss}, x, mode) for loss, weight in weights.items())

    student = Features(image=x["s_img"], text=x["s_txt"], masked_image=x["s_img"], scale=x["s_scale"])
    teacher = Features(image=x.get("t_img"), text=x.get("t_txt"), scale=x.get("t_scale"))
    batch = Batch(match=torch.arange(len(x["s_img"])), teacher=teacher)
    widths = widths_of(student, teacher)
    projections = {
        f"{field}_projection.{part}": x[f"{short}proj_{part[0]}"]
        for field, short in (("image", "v"), ("text", "t"))
        for part in ("weight", "bias")
        if f"{short}proj_w" in x
    }

    def scale(name, key):
        return {f"{name}.value": x[key].log() if mode == "exp" else x[key]}

    match case["loss"]:
        case "task_clip" | "ClipLoss":
            return run(Contrastive(widths, logit_scale="student"), batch, student)
        case "CRD":
            loss = Affinity(widths, between="image, text", logit_scale="own", directions="mean")
            return run(loss, batch, student)
        case "FD" | "MFD":
            loss = FeatureRegression(widths, field="image and text", masked=case["loss"] == "MFD")
            return run(loss, batch, student, projections)
        case "ICL" | "cross_kd":
            loss = Interactive(widths, target="match" if case["loss"] == "ICL" else "teacher", scale=mode)
            return run(loss, batch, student, projections | scale("cross_scale", "cross_logit_scale"))
        case "GD":
            tau = case["hyper"].get("tau", "logit_scale").startswith("1/")
            return run(Gradient(widths, mode="tau" if tau else "code"), batch, student, projections)
        case "AFD":
            loss = Fusion(widths, scale=mode)
            if "vfuse_w" not in x:
                return released_code_crashes(loss.double(), batch, student)
            fusions = {
                f"{field}_fusion.{part}": x[f"{short}fuse_{part[0]}"]
                for field, short in (("image", "v"), ("text", "t"))
                for part in ("weight", "bias")
            }
            return run(loss, batch, student, projections | fusions | scale("fusion_scale", "fusion_logit_scale"))
    return pytest.fail(f"no class is mapped to {case['method']} {case['loss']}")


def one_process(case, x, mode):
    """Every term on one process, where the released code, which knows its features from a gather only, crashes.

    Ours must be the formula's value of the batch as it is, and train the student. A case may come without features.
    """
    scales = {name: torch.tensor(math.log(1 / 0.07)).double() for name in ("cross_logit_scale", "fusion_logit_scale")}
    x, hyper = scales | (x or some_features()), {"tau": "1/logit_scale"} | case["hyper"]
    terms = ["task_clip", "CRD"] if "t_img" in x else ["task_clip"]
    if "t_img" in x and ("vproj_w" in x or x["s_img"].shape == x["t_img"].shape):
        terms += ["FD", "GD", "ICL", "cross_kd"]
    if "vfuse_w" in x:
        terms.append("AFD")
    for term in terms:
        x |= {name: x[name].detach().requires_grad_() for name in ("s_img", "s_txt")}
        value = clip_kd({"method": "clip_kd", "loss": term, "hyper": hyper}, x, mode)
        assert value.item() == pytest.approx(reference.clip_kd(term, hyper, x).item(), rel=1e-6, abs=0), term
        value.backward()
        for name in ("s_img", "s_txt"):
            assert x[name].grad.isfinite().all(), term
            assert x[name].grad.norm() > 0, term


def some_features():
    """Eight pairs of a student and a teacher of equal width, float64; the teacher's are normalised, as in all cases."""
    torch.manual_seed(0)
    s_img, s_txt, t_img, t_txt = torch.randn(4, 8, 16, dtype=torch.float64)
    scales = {"s_scale": torch.tensor(14.0).double(), "t_scale": torch.tensor(50.0).double()}
    return {"s_img": s_img, "s_txt": s_txt, "t_img": unit(t_img), "t_txt": unit(t_txt)} | scales


def released_code_crashes(loss, batch, student):
    """AFD at different widths: ours has fusion layers of the width they get, and trains them and the student."""
    student.image.requires_grad_()
    student.text.requires_grad_()
    assert student.image.shape[1] != batch.teacher.image.shape[1]
    value = loss(batch, student)
    value.backward()
    assert loss.image_fusion.in_features == 2 * batch.teacher.image.shape[1]
    assert math.isfinite(value.item())
    for tensor in (student.image, student.text, *loss.parameters()):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.norm() > 0


# TinyCLIP


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
    return inherit(x, shapes, head_width=hyper["head_dim"])


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


# Proteus


def proteus(case, x, mode):
    hyper = case["hyper"]
    if case["loss"] == "total":
        levels = {"token": "lambda_token", "feature": "lambda_fea", "patch": "lambda_patch"}
        return sum(hyper[weight] * proteus(case | {"loss": level}, x, mode) for level, weight in levels.items())
    level = {"token_clip_variant": "token"}.get(case["loss"], case["loss"])
    student = Features(cls=x["s_cls"], patches=x.get("s_patch"), masked=x.get("s_patch_masked"))
    teacher = Features(cls=x["t_cls"], patches=x.get("t_patch"))
    loss = TokenRegression(widths_of(student, teacher), level=level)
    released = {"token_head": "token", "feature_head": "fea", "patch_head": "patch"}
    heads = {}
    for name, module in loss.named_children():
        assert module[0].eps == hyper.get("ln_eps", 1e-5)
        for place, layer in enumerate(("ln", "lin")):
            for part in ("weight", "bias"):
                heads[f"{name}.{place}.{part}"] = x[f"{released[name]}_{layer}_{part[0]}"]
    return run(loss, Batch(mask=x.get("masks"), teacher=teacher), student, heads)


# OOD


def ood(case, x, mode):
    hyper = case["hyper"]
    if case["loss"] == "few_shot_retrieval_logits":
        classes, shots = x["few_shot"].shape[:2]
        label = torch.arange(classes).repeat_interleave(shots)
        features = x["s_img"], x["class_txt"], x["few_shot"].flatten(0, 1), label
        zero_shot = few_shot_logits(*features, alpha=0, scale=1 / hyper.get("temperature", 0.07))
        return {
            "logits": few_shot_logits(*features, alpha=hyper["alpha"], beta=hyper["beta"]),
            "zero_shot_logits": zero_shot,
        }

    student, classes = Features(image=x["s_img"]), Features(image=x["t_img"], text=x["class_txt"])
    batch = Batch(match=x["targets"], teacher=classes)
    scale = 1 / hyper["temperature"]

    def term(name):
        widths = widths_of(student, classes)
        match name:
            case "L_cls":
                knobs = {"text": "teacher", "directions": "rows", "logit_scale": scale, "learned_scale": False}
                return Contrastive(widths, **knobs).double()(batch, student)
            case "L_mse":
                normalised = hyper.get("normalised", True) and hyper.get("mse", "norm") == "norm"
                loss = FeatureRegression(widths, normalise=normalised, over_width="sum", log=not normalised)
                return run(loss, batch, student)
            case "L_cst":
                both = hyper.get("cst", hyper.get("mode")) == "bidirectional"
                knobs = {"against": "teacher image", "logit_scale": scale, "learned_scale": False}
                return Contrastive(widths, directions="both" if both else "rows", **knobs).double()(batch, student)
            case "L_vlalign":
                top_k = hyper["k"] if hyper["k"] > 0 else None
                knobs = {"top_k": top_k, "agreeing_only": hyper["filter"], "directions": "rows"}
                return run(Affinity(widths, logit_scale=scale, **knobs), batch, student)
            case "L_cap":
                captions = Batch(match=x["targets"], teacher=Features(caption=x["t_cap"]))
                return run(CaptionContrast(widths), captions, student)
        return pytest.fail(f"no class is mapped to ood {name}")

    terms = case["loss"].split("+")
    if case["loss"] == "total":
        terms = ["L_cls", *(name for key, name in OOD_SWITCHES.items() if hyper.get(key))]
    return sum(term(name) for name in terms)


OOD_SWITCHES = {"k": "L_vlalign", "mse": "L_mse", "cst": "L_cst", "cap": "L_cap"}

METHODS = {"dime_fm": dime_fm, "clip_kd": clip_kd, "tinyclip": tinyclip, "proteus": proteus, "ood": ood}


def check(case, arrays, mode="raw"):
    """Value, gradients and arrays of one case. `mode`: how a learned scale of that multiplier is parametrised."""
    x = {name: torch.from_numpy(np.array(arrays[key])) for name, key in case["inputs"].items()}
    x = {name: value.double() if value.is_floating_point() else value for name, value in x.items()}
    wanted = case.get("grad_norm_by_input_f64", case.get("grad_norm_by_input", {}))
    for name in wanted:
        x[name].requires_grad_()
    expected_arrays = {name: arrays[key] for name, key in case.get("expected_arrays", {}).items()}
    shapes = {name: value.shape for name, value in expected_arrays.items()}
    found = METHODS[case["method"]](case | {"shapes": shapes}, x, mode)

    if expected_arrays:
        return check_arrays(case, found, expected_arrays)
    expected = case.get("expected_f64", case.get("expected"))
    if expected is None:
        assert found is None, "a case without a value records a crash of the released code"
        return None
    if math.isnan(expected := float(expected)):
        return check_no_survivor(case, arrays)
    assert found.item() == pytest.approx(expected, rel=case["rtol"], abs=0)
    found.backward()
    check_gradients(case, x, wanted, arrays)
    return None


def check_gradients(case, x, wanted, arrays):
    for name, expected in wanted.items():
        norm = 0.0 if x[name].grad is None else x[name].grad.norm().item()
        assert norm == pytest.approx(expected or 0.0, rel=case["grad_rtol"], abs=0), name
        if name in case.get("grads", {}):
            stored = arrays[case["grads"][name]]
            np.testing.assert_allclose(x[name].grad.numpy(), stored, rtol=case["grad_rtol"], atol=1e-6 * norm)


def check_arrays(case, found, expected):
    for name, array in expected.items():
        if name == "reported_pruned_sparsity":
            continue  # a constant of the released code, whatever the masks; see l0_masks
        ours = found[name].detach().numpy().reshape(array.shape)
        np.testing.assert_allclose(ours, array, rtol=case.get("rtol", 1e-5), atol=1e-6, err_msg=name)


def check_no_survivor(case, arrays):
    """Where the released code gives NaN (no image agrees with its label), L_vlalign is 0 and harms no other term."""
    x = {name: torch.from_numpy(np.array(arrays[key])) for name, key in case["inputs"].items()}
    x["s_img"].requires_grad_()
    value = METHODS[case["method"]](case, x, "raw")
    value.backward()
    assert math.isfinite(value.item())
    assert x["s_img"].grad.isfinite().all()
    if case["loss"] == "L_vlalign":
        assert value.item() == 0
        assert (x["s_img"].grad == 0).all()


def modes(case):
    return ("raw", "exp") if {"cross_logit_scale", "fusion_logit_scale"} & case["inputs"].keys() else ("raw",)


@pytest.mark.parametrize(
    ("case", "mode"), [pytest.param(case, mode, id=f"{case['id']}-{mode}") for case in CASES for mode in modes(case)]
)
def test_equals_the_released_code(case, mode):
    check(case, ARRAYS, mode)
