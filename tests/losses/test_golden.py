"""Every loss against the values that the papers' released code gives on the same inputs, in float64.

DISTILLKIT_GOLDEN names another folder with cases.json and arrays.npz of the same schema.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from distillkit.losses.affinity import Affinity
from distillkit.types import Batch, Features, Widths

FOLDER = Path(os.environ.get("DISTILLKIT_GOLDEN", Path(__file__).parents[1] / "golden"))
CASES = json.loads((FOLDER / "cases.json").read_text())["cases"]
ARRAYS = np.load(FOLDER / "arrays.npz", allow_pickle=False)


def dime_fm(case, inputs):
    hyper = case["hyper"]
    widths = Widths({"image": inputs["s_img"].shape[1]}, {"image": inputs["t_img"].shape[1], "text": inputs["t_txt"].shape[1]})
    batch = Batch(teacher=Features(image=inputs["t_img"], text=inputs["t_txt"]))
    terms = {
        "vl": Affinity(widths, logit_scale=hyper["logit_scale"], temperature=hyper["t_vl"]),
        "pvl": Affinity(
            widths,
            between="image, teacher image",
            logit_scale=hyper["logit_scale"],
            temperature=hyper["t_pvl"],
            symmetric=False,
        ),
        "udist": Affinity(
            widths, between="image, image", logit_scale=hyper["logit_scale"], temperature=hyper["t_udist"]
        ),
    }
    values = {name: term(batch, Features(image=inputs["s_img"])) for name, term in terms.items()}
    if case["loss"] == "total":
        return sum(hyper[f"w_{name}"] * value for name, value in values.items())
    return values[case["loss"].removeprefix("L_")]


METHODS = {"dime_fm": dime_fm}


@pytest.mark.parametrize("case", [case for case in CASES if case["method"] in METHODS], ids=lambda case: case["id"])
def test_equals_the_released_code(case):
    inputs = {name: torch.from_numpy(ARRAYS[key]).double() for name, key in case["inputs"].items()}
    for name in case["grad_norm_by_input"]:
        inputs[name].requires_grad_()
    value = METHODS[case["method"]](case, inputs)
    value.backward()

    assert value.item() == pytest.approx(case["expected_f64"], rel=case["rtol"], abs=0)
    norms = {name: inputs[name].grad.norm().item() for name in case["grad_norm_by_input"]}
    for name, norm in norms.items():
        assert norm == pytest.approx(case["grad_norm_by_input_f64"][name], rel=case["grad_rtol"], abs=0), name
    for name, key in case.get("grads", {}).items():
        np.testing.assert_allclose(inputs[name].grad.numpy(), ARRAYS[key], rtol=case["grad_rtol"], atol=1e-6 * norms[name])


def test_the_folder_has_cases_of_every_method_we_map():
    assert {case["method"] for case in CASES} >= METHODS.keys()
