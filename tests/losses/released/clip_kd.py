"""CLIP-KD's cases by our losses; those where the released code crashes, too."""

import math

import pytest
import torch

from distillkit.losses._score import unit
from distillkit.losses.affinity import Affinity
from distillkit.losses.contrastive import Contrastive
from distillkit.losses.feature_regression import FeatureRegression
from distillkit.losses.fusion import Fusion
from distillkit.losses.gradient import Gradient
from distillkit.losses.interactive import Interactive
from distillkit.students._masking import keep_some
from distillkit.types import Batch, Features
from tests.losses import reference
from tests.losses.released.running import run, widths_of

WEIGHTS = {
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
        weights = {loss: case["hyper"][key] for key, loss in WEIGHTS.items() if case["hyper"].get(key)}
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
