"""Verdicts on answers whose truth is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from distillkit.claims import answered
from distillkit.claims import judge as judging
from distillkit.claims.file import Claim
from distillkit.claims.headline import weakest
from distillkit.claims.judge import HOLDS, NOT, UNSURE, WAITS, Judged, Pair, judge
from distillkit.errors import TrainError
from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.measured import Asking

MEASURE = Measure("R@1", "rank", within=1)


class Experiment:
    """As much of a experiment as judging looks at."""

    def __init__(self, *claims):
        self.seeds = [0, 1, 2]
        self.file = type("File", (), {"claims": [Claim.model_validate(claim) for claim in claims]})


@pytest.fixture
def arms(monkeypatch):
    """`arms(name=share)`: each arm gets 600 items right in that share, in three seeds that hardly differ."""

    def make(**shares):
        keys = [str(number) for number in range(600)]
        random = np.random.default_rng(0)
        difficulty = random.random(len(keys))
        runs = {}
        for name, share in shares.items():
            noisy = [difficulty + 0.02 * random.standard_normal(len(keys)) for _ in range(3)]
            runs[name] = [Answers(keys, {"rank": np.where(one < share, 1, 9)}, (MEASURE,)) for one in noisy]

        class Rows:
            def __init__(self, experiment):
                pass

            def of(self, arm, eval_, name):
                return runs[arm], MEASURE

        monkeypatch.setattr(judging, "Rows", Rows)
        return runs

    return make


def better(one, other, by=0.0, **more):
    return {"text": f"{one} beats {other}", "on": "unseen.R@1", "better": [[one, other]], "by": by, **more}


def test_holds_does_not_hold_and_not_separable(arms):
    arms(good=0.6, bad=0.4, same=0.602)
    found = judge(Experiment(better("good", "bad"), better("bad", "good"), better("same", "good")))
    assert [claim.holds for claim in found] == [HOLDS, NOT, UNSURE]
    first = found[0].pairs[0]
    assert first.low < 0.2 < first.high and first.value == pytest.approx(0.2, abs=0.05)
    assert (found[0].items, found[0].seeds) == (600, 3)
    assert len(first.seeds) == 3 and first.value == pytest.approx(np.mean(first.seeds))
    assert found[2].pairs[0].why


def test_by_is_what_it_must_be_better_by_and_below_zero_how_much_worse_it_may_be(arms):
    arms(good=0.6, near=0.585, bad=0.4)
    found = judge(
        Experiment(better("good", "bad", by=0.1), better("good", "bad", by=0.4), better("near", "good", by=-0.1))
    )
    assert [claim.holds for claim in found] == [HOLDS, NOT, HOLDS]
    assert found[0].pairs[0].value == pytest.approx(0.2, abs=0.05)  # told as it is, not less `by`
    assert found[2].pairs[0].value < 0 and found[2].pairs[0].low > -0.1


def test_all_pairs_must_hold(arms):
    arms(good=0.6, bad=0.4, same=0.6)
    pairs = {"text": "good beats all", "on": "unseen.R@1"}
    found = judge(
        Experiment(
            pairs | {"better": [["good", "bad"], ["same", "bad"]]},
            pairs | {"better": [["good", "bad"], ["good", "same"]]},
            pairs | {"better": [["good", "bad"], ["good", "same"], ["bad", "good"]]},
        )
    )
    assert [claim.holds for claim in found] == [HOLDS, UNSURE, NOT]


def test_holm_is_over_the_whole_file(arms):
    arms(good=0.6, bad=0.4, same=0.6)
    alone = judge(Experiment(better("good", "bad")))[0].pairs[0]
    among = judge(Experiment(better("good", "bad"), *[better("same", "good")] * 9))[0].pairs[0]
    assert alone.p == alone.adjusted == among.p
    assert among.adjusted == pytest.approx(min(10 * among.p, 1.0))


def test_an_order_like_the_papers_and_its_reverse(arms):
    arms(base=0.2, a=0.3, b=0.4, c=0.5, d=0.6, e=0.7)
    order = {"text": "order", "on": "unseen.R@1", "than": "base"}
    same = order | {"order": {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}}
    other = order | {"order": {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0}}
    found = judge(Experiment(same)) + judge(Experiment(other))
    assert [claim.holds for claim in found] == [HOLDS, NOT]
    assert [claim.pairs[0].value for claim in found] == [1.0, -1.0]
    assert found[0].pairs[0].p == pytest.approx(2 / 120)  # of 120 orders this one and its reverse
    assert found[0].pairs[0].seeds == (1, 1, 1) and found[1].pairs[0].seeds == (-1, -1, -1)


def test_a_curve_has_a_point_for_each_arm_with_its_interval(arms):
    arms(eighth=0.3, half=0.5, whole=0.6)
    curve = [{"name": "student", "arms": ["eighth", "half", "whole"], "x": [0.125, 0.5, 1.0]}]
    (found,) = judge(Experiment(better("whole", "eighth", curves=curve)))
    ((name, points),) = found.curves
    assert name == "student" and [point.x for point in points] == [0.125, 0.5, 1.0]
    assert all(point.low < point.value < point.high for point in points)
    assert points[2].value == pytest.approx(0.6, abs=0.05)


def test_what_waits_is_told_and_costs_no_test(arms):
    arms(good=0.6, bad=0.4)
    waits = {"text": "dense", "on": "dense.iou", "waits": "no such evaluation"}
    found = judge(Experiment(better("good", "bad"), waits))
    assert found[1].holds == WAITS and found[1].why == "no such evaluation"
    assert found[0].pairs[0].adjusted == found[0].pairs[0].p


def test_arms_that_answered_other_items_are_not_compared(arms, monkeypatch):
    runs = arms(good=0.6, bad=0.4)
    runs["bad"] = [Answers([*one.key[1:], "new"], one.columns, one.measures) for one in runs["bad"]]
    with pytest.raises(TrainError, match="were measured on different items"):
        judge(Experiment(better("good", "bad")))


def asked(monkeypatch, made_of):
    """Rows of runs by "arm/seed", each asked as `made_of` says."""
    answers = Answers(["a", "b"], {"rank": np.array([1, 2])}, (MEASURE,))

    def measured(folder):
        return SimpleNamespace(rows={("unseen", ""): Asking(answers, made_of[folder])})

    monkeypatch.setattr(answered, "measured", measured)
    return answered.Rows(SimpleNamespace(seeds=[0, 1], folder=lambda arm, seed: f"{arm}/{seed}"))


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"files": {"masks": "1"}}, {"files": {"masks": "2"}}, "asked with other files than"),
        ({"stores": {"stores/x": "1"}}, {"stores": {"stores/x": "2"}}, "asked when stores/x was another than"),
    ],
    ids=["files", "stores"],
)
def test_arms_that_were_asked_otherwise_are_not_compared(monkeypatch, one, other, told):
    """As of masks or a store that were replaced between the evaluations of two of them: all items are the same then."""
    rows = asked(monkeypatch, {"good/0": one, "good/1": one, "bad/0": one, "bad/1": other})
    assert rows.of("good", "unseen", "R@1")[1] == MEASURE
    told = f"bad/1: 'unseen' was {told} in good/0; ask both anew: distillkit evaluate good/0 bad/1"
    with pytest.raises(TrainError, match=told):
        rows.of("bad", "unseen", "R@1")


def test_seeds_of_one_arm_are_asked_the_same_and_another_arm_may_have_an_eval_of_its_own(monkeypatch):
    """As under another teacher, whose stores are others."""
    few, many = ({"eval": {"ks": [k]}, "stores": {f"stores/{k}": "1"}} for k in (1, 5))
    rows = asked(monkeypatch, {"good/0": few, "good/1": few, "own/0": many, "own/1": many, "bad/0": few, "bad/1": many})
    for arm in ("good", "own"):
        assert rows.of(arm, "unseen", "R@1")[1] == MEASURE
    with pytest.raises(TrainError, match="bad/1: 'unseen' was asked otherwise than in bad/0; ask both anew"):
        rows.of("bad", "unseen", "R@1")


def test_an_order_of_many_arms_is_tested_too(arms):
    """All orders of eight arms are tried; of eleven they would fill the memory, and are drawn."""
    shares = {f"a{number:02}": 0.2 + 0.06 * number for number in range(11)}
    arms(base=0.1, **shares)
    (found,) = judge(Experiment({"text": "order", "on": "unseen.R@1", "than": "base", "order": shares}))
    assert found.holds == HOLDS and found.pairs[0].value == 1.0 and 0 < found.pairs[0].p < 0.001


def test_the_weakest_pair_is_that_with_the_least_effect_also_where_less_is_better():
    pairs = tuple(
        Pair(name, "base", value, value - 1, value + 1, 0, 0, HOLDS) for name, value in (("a", -50), ("b", -2))
    )
    claim = Judged("It beats them", "unseen.median rank", 0.0, HOLDS, pairs, 9, 3)
    assert weakest(claim).one == "a"
    assert weakest(replace(claim, more=False)).one == "b"
