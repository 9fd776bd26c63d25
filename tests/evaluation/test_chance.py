"""Against chance every item has a say of its own, however few classes there are; who does not look knows nothing."""

from dataclasses import replace

import numpy as np
import pytest

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.chance import LEVEL, p_by_chance
from distillkit.evaluation.numbers import numbers


def answers(said, target, classes, k=1):
    """Images of classes; `said`: the class that comes first, then the others in order."""
    said, target = np.asarray(said), np.asarray(target)
    best = np.stack([[one, *(other for other in range(classes) if other != one)] for one in said])
    rank = 1 + (best == target[:, None]).argmax(1)
    measure = Measure(f"top-{k}", "rank", within=k, chance=k / classes)
    return Answers(
        key=[str(n) for n in range(len(said))],
        columns={"rank": rank},
        measures=(measure,),
        target=target,
        group=target,
        best=best[:, :5],
    )


def p_of(told):
    return p_by_chance(told, told.measures[0])


def test_a_few_classes_told_well_are_above_chance_though_the_interval_by_classes_reaches_it():
    """300 images of 17 classes, of which three are known and the others never said right."""
    target = np.arange(300) % 17
    told = answers(np.where(target < 3, target, (target + 1) % 17), target, 17)
    found = numbers([told])
    assert found["top-1"] > 2.9 / 17 and found["top-1.low"] < 1 / 17 and found["top-1.groups"] == 17
    assert p_of(told) <= LEVEL


def test_who_says_the_most_frequent_class_of_all_is_not_above_chance():
    target = np.array([0] * 90 + [1] * 10)
    assert p_of(answers(np.zeros(100, int), target, 2)) == 1.0
    assert p_of(answers(np.where(np.arange(100) < 75, 0, 1), target, 2)) <= LEVEL  # 85 right: fewer, but they are known


@pytest.mark.parametrize("k", [1, 5, 10])
def test_answers_without_looking_are_rarely_above_chance(k):
    random = np.random.default_rng(0)
    drawn = [p_of(answers(random.integers(17, size=60), random.integers(17, size=60), 17, k)) for _ in range(60)]
    assert np.mean(np.array(drawn) <= LEVEL) <= 0.07


def test_beyond_the_answers_that_are_kept_each_item_counts_against_the_most_frequent_ones():
    """Rank alone is known at 10: 12 of 100 captions found, where 10 are found by chance, tell nothing; 30 do."""

    def found(hits, target):
        rank = np.where(np.arange(100) < hits, 1, 50)
        measure = Measure("R@10", "rank", within=10, chance=0.1)
        told = Answers(key=[str(n) for n in range(100)], columns={"rank": rank}, measures=(measure,), target=target)
        return p_by_chance(told, measure)

    assert found(12, np.arange(100)) > LEVEL >= found(30, np.arange(100))
    assert found(30, np.arange(100) % 20) > LEVEL  # ten captions of twenty are right for half of the images
    assert found(0, np.arange(100)) == 1.0


def test_where_fewer_answers_are_kept_than_are_counted_those_are_dealt_out():
    """Of 160 images of 99 captions, ten of them frequent, a tenth is known; of the ten best answers five were kept."""
    target = np.concatenate([np.arange(99), np.arange(61) % 10])
    known = np.random.default_rng(0).random(160) < 0.1
    told = answers(np.where(known, target, (target + 50) % 99), target, 99, k=10)
    assert p_of(told) <= LEVEL < p_by_chance(replace(told, best=None), told.measures[0])


def test_what_is_no_share_of_right_answers_is_not_tested():
    told = answers([0, 1], [0, 1], 2)
    for measure in (
        Measure("median rank", "rank", how="median"),
        Measure("mean per class", "rank", within=1, once=True, chance=0.5),
        Measure("R@1", "rank", within=1),
    ):
        assert p_by_chance(told, measure) is None
