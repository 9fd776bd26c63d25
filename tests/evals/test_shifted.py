"""Robustness and the OOD protocol by numbers that one can do in the head."""

import pytest
import torch

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._encode import stores_of
from distillkit.evals.robustness import Robustness
from distillkit.evals.seen_unseen import SeenUnseen
from distillkit.evaluation.numbers import numbers
from tests.evals.worlds import Store, Teacher, run

WHOLE = Store([0, 1, 2, 3] * 5, label=[0, 1, 2, 3] * 5)
FOUR = Store(None, [0, 1, 2, 3], [0, 1, 2, 3], ["a", "b", "c", "d"])
TWO = Store(None, [3, 1], [0, 1], ["d", "b"])  # of the four, in another order
SHIFTED = Store([3, 3, 1, 0], label=[0, 0, 1, 1])  # the last says what is none of the two
STORES = {"set": WHOLE, "four": FOUR, "shifted": SHIFTED, "two": TWO}
MEASURE = Robustness(store="set", prompts="four", shifted={"r": {"store": "shifted", "prompts": "two"}})


class By(Teacher):
    """Says of a store what is told."""

    def __init__(self, said):
        self.said = said

    def __call__(self, store):
        return torch.eye(4)[self.said[id(store)]]


def test_each_set_has_its_table_and_the_set_is_asked_among_the_classes_of_the_shifted_one():
    assert stores_of(MEASURE) == ["set", "four", "shifted", "two"]
    MEASURE.check(STORES.__getitem__)
    found = run(MEASURE, Teacher(), **STORES)
    assert found["top-1"] == 1.0 and found["images"] == 20 and found["classes"] == 4
    # Of the last image both are equally far; the first answer is the wrong one.
    assert found["r top-1"] == 0.75 and found["r top-1.chance"] == 0.5
    assert found["r classes images"] == 10 and found["r classes classes"] == 2 and found["r classes top-1"] == 1.0
    told = [one.table for one in MEASURE.run(Teacher(), STORES.__getitem__)]
    assert told == ["", "r", "r classes"]


def test_effective_robustness_is_what_the_baseline_does_not_make_one_expect():
    """As good as the baseline on the set's two classes (6 of 10): better by 1/4 there is robustness of 1/4."""
    half = [0, 3, 2, 1] + [0, 1, 2, 3] * 2 + [0, 3, 2, 1] + [0, 1, 2, 3]  # 4 of 10 wrong
    weak = By({id(WHOLE): half, id(SHIFTED): [3, 1, 1, 3]})
    robust = By({id(WHOLE): half, id(SHIFTED): [3, 3, 1, 3]})
    answers = {who: MEASURE.run(one, STORES.__getitem__) for who, one in (("baseline", weak), ("student", robust))}
    told = {who: numbers(one) for who, one in MEASURE.together(answers).items()}
    assert told["baseline"]["r classes top-1"] == told["student"]["r classes top-1"] == 0.6
    assert (told["baseline"]["r top-1"], told["student"]["r top-1"]) == (0.5, 0.75)
    assert told["student"]["r effective robustness"] == pytest.approx(0.25)
    assert "r effective robustness" not in told["baseline"]
    alone = MEASURE.together({"student": answers["student"]})
    assert "r effective robustness" not in numbers(alone["student"])
    better = By({id(WHOLE): [0, 1, 2, 3] * 5, id(SHIFTED): [3, 3, 1, 3]})
    answers["student"] = MEASURE.run(better, STORES.__getitem__)
    assert numbers(MEASURE.together(answers)["student"])["r effective robustness"] < 0  # merely better


def test_knobs_and_labels_that_do_not_fit():
    with pytest.raises(RecipeError, match=r"shifted.r wants \{ store"):
        Robustness(store="set", prompts="four", shifted={"r": {"store": "x"}})
    with pytest.raises(StoreError, match="does not know"):
        MEASURE.check((STORES | {"shifted": Store([0], label=[7])}).__getitem__)


def test_the_harmonic_mean_is_that_of_means_per_class():
    """Seen: of class 0 all of three, of class 1 none of one: a half. Unseen: 3 of 4 in each of two classes."""
    stores = {
        "seen": Store([0, 0, 0, 0], label=[0, 0, 0, 1]),
        "seen_prompts": Store(None, [0, 1], [0, 1]),
        "unseen": Store([2, 2, 2, 3, 3, 3, 3, 2], label=[0, 0, 0, 0, 1, 1, 1, 1]),
        "prompts": Store(None, [2, 3], [0, 1]),
    }
    measure = SeenUnseen(seen="seen", seen_prompts="seen_prompts", store="unseen", prompts="prompts")
    assert set(stores_of(measure)) == stores.keys()
    found = run(measure, Teacher(), **stores)
    assert (
        found["seen mean per class"] == 0.5 and found["seen top-1"] == 0.75 and found["unseen mean per class"] == 0.75
    )
    assert found["harmonic mean"] == pytest.approx(2 * 0.5 * 0.75 / 1.25)
    assert 0 <= found["harmonic mean.low"] <= found["harmonic mean"] <= found["harmonic mean.high"] <= 1
    nothing = stores | {"unseen": Store([0, 1], label=[0, 1], keys=["x", "y"]), "prompts": Store(None, [2, 3], [1, 0])}
    nothing["unseen"] = Store([2, 3], label=[0, 1], keys=["x", "y"])
    assert run(measure, Teacher(), **nothing)["harmonic mean"] == 0.0
