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

from tests.losses.released.clip_kd import clip_kd
from tests.losses.released.dime_fm import dime_fm
from tests.losses.released.ood import ood
from tests.losses.released.proteus import proteus
from tests.losses.released.tinyclip import tinyclip

FOLDER = Path(os.environ.get("DISTILLKIT_GOLDEN", Path(__file__).parents[1] / "golden"))
CASES = json.loads((FOLDER / "cases.json").read_text())["cases"]
ARRAYS = dict(np.load(FOLDER / "arrays.npz", allow_pickle=False))

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
