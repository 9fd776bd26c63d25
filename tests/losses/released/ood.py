"""The OOD-generalisation paper's cases by our losses and our few-shot retrieval."""

import pytest
import torch

from distillkit.evals._tip import few_shot_logits
from distillkit.losses.affinity import Affinity
from distillkit.losses.caption_contrast import CaptionContrast
from distillkit.losses.contrastive import Contrastive
from distillkit.losses.feature_regression import FeatureRegression
from distillkit.types import Batch, Features
from tests.losses.released.running import run, widths_of

SWITCHES = {"k": "L_vlalign", "mse": "L_mse", "cst": "L_cst", "cap": "L_cap"}  # terms of a total


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
        terms = ["L_cls", *(name for key, name in SWITCHES.items() if hyper.get(key))]
    return sum(term(name) for name in terms)
