"""What a teacher of somebody's own says: taken where it can be meant in one way only, refused in one line elsewhere."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillkit.errors import TeacherError
from distillkit.store.format.sameness import other_teacher
from distillkit.teachers._said import fingerprint_of, said_of
from distillkit.types import Features

ROWS = torch.arange(12.0).reshape(4, 3)


def said(value, shape=(3,), features=Features):
    return said_of(SimpleNamespace(fields={"image": [*shape]}), features(image=value), "image", 4, "teacher mine")


def told(fingerprint):
    return fingerprint_of(SimpleNamespace(fingerprint=lambda: fingerprint), "my.pkg:Mine")


@pytest.mark.parametrize(
    "value", [ROWS, ROWS.half(), ROWS.numpy(), ROWS[:, None], ROWS.tolist(), ROWS.clone().requires_grad_() * 1]
)
def test_rows_are_taken_whatever_holds_them(value):
    assert torch.equal(said(value).float(), ROWS) and not said(value).requires_grad


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (ROWS.T, r"of 4 inputs is \[3, 4\], where its `fields` say \[4, 3\]"),  # as many numbers, other rows
        (ROWS.flatten(), r"is \[12\]"),
        (ROWS[:3], r"is \[3, 3\]"),
        (ROWS.reshape(2, 6), r"is \[2, 6\]"),
        (ROWS[:, :1], r"is \[4, 1\]"),
        (torch.tensor(1.0), r"is \[\]"),
        (ROWS.to(torch.complex64), "complex64"),
        (None, "gives None"),
        ("words", "no tensor"),
    ],
)
def test_what_would_be_other_numbers_is_refused_in_one_line(value, why):
    with pytest.raises(TeacherError, match=why) as caught:
        said(value)
    assert str(caught.value).startswith("teacher mine: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("features", [lambda image: (image,), lambda image: {"image": image}])
def test_what_is_no_features_is_refused_in_one_line(features):
    with pytest.raises(TeacherError, match=r"let it return Features\(image=...\)"):
        said(ROWS, features=features)


def test_a_fingerprint_is_as_a_manifest_gives_it_back_and_names_its_kind():
    assert told({"size": (1, 2)}) == {"kind": "my.pkg:Mine", "model": "my.pkg:Mine", "size": [1, 2]}
    assert told({"kind": "mine", "model": "a"}) == {"kind": "mine", "model": "a"}


def test_a_store_of_before_kinds_were_filled_in_is_of_the_same_teacher():
    before = {"model": "a", "weights_sha256": "0" * 64}
    assert other_teacher(before, told(before)) is None and other_teacher(told(before), before) is None
    assert "weights_sha256" in other_teacher(before, told(before | {"weights_sha256": "1" * 64}))


@pytest.mark.parametrize(
    "fingerprint",
    [None, ("a",), {"w": ROWS}, {"w": np.float32(1)}, {"w": Path("x")}, {"w": float("nan")}, {"model": None},
     {"weights_sha256": 7}, {"preprocess": "none"}],
)  # fmt: skip
def test_a_fingerprint_that_cannot_be_kept_is_refused_in_one_line(fingerprint):
    with pytest.raises(TeacherError, match=r"teacher my.pkg:Mine: fingerprint\(\)") as caught:
        told(fingerprint)
    assert "\n" not in str(caught.value)
