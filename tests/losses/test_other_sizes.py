"""The mapping of golden cases is general: the same schema at other sizes, widths and settings.

`reference.py` gives the values; here it must first give the golden ones.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.losses import reference
from tests.losses.test_golden import check, modes

FOLDER = Path(__file__).parents[1] / "golden"
CASES = json.loads((FOLDER / "cases.json").read_text())["cases"]
ARRAYS = dict(np.load(FOLDER / "arrays.npz", allow_pickle=False))

# Values are compared at the golden folder's tightest tolerance, gradients at its only one.
RTOL, GRAD_RTOL = 1e-5, 1e-4


def scalar_cases(cases):
    return [case for case in cases if "grad_norm_by_input" in case and case["expected"] != "nan"]


@pytest.mark.parametrize("case", scalar_cases(CASES), ids=lambda case: case["id"])
def test_the_reference_gives_the_golden_values(case):
    x = {name: torch.from_numpy(np.array(ARRAYS[key])) for name, key in case["inputs"].items()}
    x = {name: value.double() if value.is_floating_point() else value for name, value in x.items()}
    value = reference.METHODS[case["method"]](case["loss"], case["hyper"], x)
    assert value.item() == pytest.approx(float(case["expected_f64"]), rel=case["rtol"], abs=0)


class Draw:
    """Arrays of a case, by name; `trained` lists those that get gradients."""

    def __init__(self, seed):
        self.random, self.x, self.trained = np.random.default_rng(seed), {}, []

    def add(self, train=False, **shapes):
        for name, shape in shapes.items():
            self.x[name] = self.random.normal(size=shape).astype(np.float32)
            self.trained += [name] if train else []
        return self

    def put(self, train=False, **values):
        for name, value in values.items():
            self.x[name] = np.asarray(value)
            self.trained += [name] if train else []
        return self


def make(method, loss, hyper, draw, inputs=None):
    """A case of the schema, its value and gradients by the reference, and its arrays."""
    names = list(inputs or draw.x)
    x = {name: torch.from_numpy(np.array(draw.x[name])) for name in names}
    x = {name: value.double() if value.is_floating_point() else value for name, value in x.items()}
    trained = [name for name in draw.trained if name in names]
    for name in trained:
        x[name].requires_grad_()
    value = reference.METHODS[method](loss, hyper, x)
    value.backward() if value.requires_grad else None
    found = {name: x[name].grad for name in trained}
    case = {
        "id": f"{method}/{loss}",
        "method": method,
        "loss": loss,
        "hyper": hyper,
        "inputs": {name: name for name in names},
        "expected_f64": value.item(),
        "grad_norm_by_input_f64": {n: None if g is None else g.norm().item() for n, g in found.items()},
        "grads": {name: f"grad/{name}" for name, gradient in found.items() if gradient is not None},
        "rtol": RTOL,
        "grad_rtol": GRAD_RTOL,
    }
    return case, draw.x | {f"grad/{n}": g.numpy() for n, g in found.items() if g is not None}


def dime_fm(b, t, d, _):
    draw = Draw(b).add(train=True, s_img=(b, d)).add(t_img=(b, d), t_txt=(t, d))
    hyper = {"logit_scale": 30, "t_vl": 2.0, "t_pvl": 0.7, "t_udist": 5.0, "w_vl": 0.2, "w_pvl": 0.5, "w_udist": 0.9}
    for loss in ("L_vl", "L_pvl", "L_udist", "total"):
        yield make("dime_fm", loss, hyper, draw)


def clip_kd(b, _, s, t):
    draw = Draw(b).add(train=True, s_img=(b, s), s_txt=(b, s)).add(t_img=(b, t), t_txt=(b, t))
    for name in ("t_img", "t_txt"):
        draw.x[name] /= np.linalg.norm(draw.x[name], axis=1, keepdims=True)
    draw.put(train=True, s_scale=np.float32(9.0)).put(t_scale=np.float32(23.0))
    base = list(draw.x)
    if s != t:
        draw.add(train=True, vproj_w=(t, s), vproj_b=(t,), tproj_w=(t, s), tproj_b=(t,))
    plain = list(draw.x)
    draw.put(train=True, cross_logit_scale=np.float32(4.2), fusion_logit_scale=np.float32(6.1))
    for loss in ("task_clip", "CRD"):
        yield make("clip_kd", loss, {}, draw, plain)
    yield make("clip_kd", "ClipLoss", {}, draw, [name for name in base if not name.startswith("t_")])
    for loss in ("FD", "MFD"):
        yield make("clip_kd", loss, {}, draw, plain)
    for tau in ("logit_scale (as released)", "1/logit_scale (a real temperature)"):
        yield make("clip_kd", "GD", {"tau": tau}, draw, plain)
    crossed = [*plain, "cross_logit_scale"]
    for loss in ("ICL", "cross_kd"):
        yield make("clip_kd", loss, {}, draw, crossed)
    weights = {"w_task": 0.3, "w_crd": 2, "w_icl": 1.5, "w_fd": 70}
    yield make("clip_kd", "total", weights, draw, crossed)
    if s == t:
        draw.add(train=True, vfuse_w=(s, 2 * t), vfuse_b=(s,), tfuse_w=(s, 2 * t), tfuse_b=(s,))
        fused = [name for name in draw.x if name != "cross_logit_scale"]
        yield make("clip_kd", "AFD", {}, draw, fused)
    yield one_process(draw, list(draw.x))
    yield one_process(draw, base)
    yield one_process(draw, [])


def one_process(draw, names):
    """Where the released code crashes: a case of no loss in particular, and of no value."""
    told = {"id": "clip_kd/world_size_1", "method": "clip_kd", "loss": "any", "hyper": {}, "expected": None}
    return told | {"inputs": {name: name for name in names}}, draw.x


def tinyclip(b, _, s, t):
    draw = Draw(b).add(train=True, s_img=(b, s), s_txt=(b, s)).add(t_img=(b, t), t_txt=(b, t))
    draw.put(train=True, s_scale=np.float32(12.0)).put(t_scale=np.float32(31.0))
    for loss in ("affinity_i2t", "affinity_t2i", "affinity_avg"):
        yield make("tinyclip", loss, {}, draw)
    yield make("tinyclip", "total", {"distillation_alpha": 0.3, "distillation_weight": 1.7}, draw)


def l0(b, layers, s, t):
    image = {"hidden_size": 6 * s, "intermediate_size": 5 * t, "num_attention_heads": 3, "num_hidden_layers": layers}
    text = image | {"hidden_size": 3 * s, "num_hidden_layers": layers + 1}
    alone = tower(Draw(b), "", image, 3.0, 8.0)
    both = tower(tower(Draw(b), "img_", image, 3.0, 8.0), "txt_", text, 5.0, 1.0)
    for target, start, step in ((0.8, 0.1, 300), (0.9, 0.7, 5000), (0.05, 0.0, 100)):
        hyper = {"target_sparsity": target, "start_sparsity": start, "sparsity_warmup": 700, "step": step}
        yield make("tinyclip", "L0_lagrangian", image | hyper, alone)
        yield make("tinyclip", "L0_joint_lagrangian", {"img": image, "txt": text} | hyper, both)


def tower(draw, prefix, size, lambda_1, lambda_2):
    """The masks and multipliers of one tower."""
    width, inner, heads, layers = size.values()
    shapes = {"hidden": (width,), "heads": (layers, heads), "intermediate": (layers, inner)}
    draw.add(train=True, **{f"{prefix}{group}_loga": shape for group, shape in shapes.items()})
    multipliers = {"lambda_1": np.float32(lambda_1), "lambda_2": np.float32(lambda_2)}
    return draw.put(train=True, **{f"{prefix}{name}": value for name, value in multipliers.items()})


def proteus(b, n, s, t):
    draw = Draw(b).add(train=True, s_cls=(b, s), s_patch=(b, n, s), s_patch_masked=(b, n, s))
    draw.add(t_cls=(b, t), t_patch=(b, n, t)).put(masks=np.arange(b * n).reshape(b, n) % 3 == 0)
    for head in ("token", "fea", "patch"):
        shapes = {"ln_w": (s,), "ln_b": (s,), "lin_w": (t, s), "lin_b": (t,)}
        draw.add(train=True, **{f"{head}_{name}": shape for name, shape in shapes.items()})
    hyper = {"lambda_token": 0.2, "lambda_fea": 3.0, "lambda_patch": 1.4}
    for loss in ("token", "feature", "patch", "total"):
        yield make("proteus", loss, hyper, draw)


def ood(b, classes, d, _):
    draw = Draw(b).add(train=True, s_img=(b, d)).add(t_img=(b, d), class_txt=(classes, d), t_cap=(b, d))
    draw.put(targets=np.arange(b) % min(classes, 3))
    hyper = {"temperature": 0.11}
    yield make("ood", "L_cls", hyper, draw)
    yield make("ood", "L_cls+L_cap", hyper, draw)
    for normalised in (True, False):
        yield make("ood", "L_mse", hyper | {"normalised": normalised}, draw)
    for mode in ("single", "bidirectional"):
        yield make("ood", "L_cst", hyper | {"mode": mode}, draw)
    for k in (-1, 1, 2, 1000):
        yield make("ood", "L_vlalign", hyper | {"k": k, "filter": False}, draw)
    texts = draw.x["class_txt"] / np.linalg.norm(draw.x["class_txt"], axis=1, keepdims=True)
    nearest = (draw.x["t_img"] @ texts.T).argmax(1)
    draw.put(targets=np.where(np.arange(b) == 0, (nearest + 1) % classes, nearest))
    for k in (2, 1000):
        yield make("ood", "L_vlalign", hyper | {"k": k, "filter": True}, draw)
        yield make("ood", "total", hyper | {"k": k, "filter": True, "mse": "unnorm", "cst": "single"}, draw)
    draw.put(targets=(nearest + 1) % classes)
    nobody = make("ood", "L_vlalign", hyper | {"k": 2, "filter": True}, draw)
    assert np.isnan(nobody[0]["expected_f64"])
    yield nobody


# batch; texts, classes, patches or layers; student's and teacher's width: equal, narrower, wider; 2 images are least.
SIZES = ((5, 7, 12, 12), (6, 4, 8, 20), (3, 9, 20, 6), (2, 3, 4, 5))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("family", [dime_fm, clip_kd, tinyclip, l0, proteus, ood], ids=lambda family: family.__name__)
def test_other_sizes(family, size):
    for case, arrays in family(*size):
        for mode in modes(case):
            check(case, arrays, mode)


def test_a_wrong_value_is_noticed():
    case, arrays = next(dime_fm(*SIZES[0]))
    with pytest.raises(AssertionError):
        check(case | {"expected_f64": case["expected_f64"] * 1.0001}, arrays)
    arrays["grad/s_img"] = arrays["grad/s_img"] * 1.01
    with pytest.raises(AssertionError):
        check(case, arrays)
