"""An eval of one's own that gives other rows than it has items, or no numbers: one line that names it."""

import re

import numpy as np
import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.evals import Answers, Measure
from distillkit.evaluation.answered import answered
from distillkit.evaluation.numbers import numbers

HIT = Measure("hits", "hit")
KEYS = ["a", "b", "c"]


def of(**changed):
    return Answers(**({"key": KEYS, "columns": {"hit": np.array([1.0, 0, 1])}, "measures": (HIT,)} | changed))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "gives None; let it return Answers, or a dict of numbers by their names"),
        (0.5, "gives 0.5; let it return"),
        ([], "gives []; let it return"),
        ([0.5], "gives [0.5]; let it return"),
        ({"hits": "many"}, "gives hits = 'many', no number"),
        ({"hits": None}, "gives hits = None, no number"),
        ({"hits": [0.5, 0.6]}, "gives hits = [0.5, 0.6], no number"),
        ({"hits": torch.ones(2)}, "gives hits = tensor([1., 1.]), no number"),
        ({None: 0.5}, "calls a number None, no text"),
        (of(columns={"hit": np.ones(2)}), "gives 2 rows of 'hit' for 3 items; give one for each"),
        (of(columns={"hit": 0.5}), "gives 0 rows of 'hit' for 3 items"),
        (of(columns={"hit": ["yes", "no", "no"]}), "'hit' holds <U3, no numbers"),
        (of(columns={"hit": [[1], [1, 2], [3]]}), "'hit' is no array (setting an array element with a sequence"),
        (of(columns={"hit": torch.ones(3).bfloat16()}), "'hit' is no array (Got unsupported ScalarType BFloat16)"),
        (of(target=np.arange(4)), "gives 4 rows of 'target' for 3 items"),
        (of(group=np.arange(2)), "gives 2 rows of 'group' for 3 items"),
        (of(key=[0, 1, 2]), "the key of an item is 0; let Answers.key be texts"),
        (of(measures=(Measure("hits", "hot"),)), "measure 'hits' is made of 'hot', it gives hit; add that column"),
        (of(measures=(Measure("hits", "hit", how="most"),)), "is made by 'most'; choose one of mean, median"),
        ([of(), of()], "gives several Answers of one name"),
    ],
)
def test_what_is_no_answer_is_one_line(given, told):
    with pytest.raises(RecipeError, match=re.escape(told)) as refused:
        answered("mine", given)
    assert str(refused.value).startswith("evals.mine: ") and "\n" not in str(refused.value)


def test_numbers_of_numpy_and_torch_are_numbers():
    assert answered("mine", {"a": np.float32(0.5), "b": torch.tensor(2), "c": 3}) == {"a": 0.5, "b": 2.0, "c": 3.0}
    assert answered("mine", {"a": torch.tensor([0.5]), "b": np.bool_(True)}) == {"a": 0.5, "b": 1.0}


def test_numbers_may_be_called_by_numbers():
    assert answered("mine", {1: 0.25, 5: 0.5}) == {"1": 0.25, "5": 0.5}


@pytest.mark.parametrize(
    "hit", [[1, 0, 1], torch.tensor([1.0, 0, 1], requires_grad=True), np.array([True, False, True])]
)
def test_lists_and_tensors_are_columns(hit):
    (found,) = answered("mine", (one for one in [of(columns={"hit": hit}, group=[0, 1, 2])]))
    assert isinstance(found.columns["hit"], np.ndarray) and isinstance(found.group, np.ndarray)
    assert np.isclose(numbers([found])["hits"], 2 / 3)
