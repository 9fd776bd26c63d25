"""Numbers of all items at once against scikit-learn's and by hand; their intervals; their paired tests."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, precision_recall_curve, roc_auc_score

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation import pooled as module
from distillkit.evaluation.numbers import numbers
from distillkit.evaluation.paired import pooled_difference
from distillkit.evaluation.pooled import pooled, pooled_interval
from distillkit.evaluation.rows import Rows, read_rows, write_rows

AUC, AP = (Measure(how.upper(), "score", how=how, over="hit") for how in ("auc", "ap"))


def answers(score, hit, *measures):
    return Answers([str(n) for n in range(len(score))], {"score": np.array(score), "hit": np.array(hit)}, measures)


def test_areas_are_scikit_learns_also_where_scores_are_equal():
    random = np.random.default_rng(0)
    hit = random.integers(0, 2, (60, 3))
    score = np.round(random.random((60, 3)) + hit / 3, 1)
    expected = np.mean([roc_auc_score(hit[:, n], score[:, n]) for n in range(3)])
    found = numbers([answers(score, hit, AUC)])
    assert found["AUC"] == pytest.approx(expected, abs=1e-12)
    assert found["AUC.low"] < expected < found["AUC.high"]


def test_a_draw_with_weights_is_a_draw_with_copies():
    """What an item counts is as if it were there so often, for each of the curves."""
    from distillkit.evaluation.pooled import _again

    random = np.random.default_rng(1)
    hit, score = random.integers(0, 2, (20, 2)), random.random((20, 2))
    weights = random.integers(0, 4, 20)
    ratio = Measure("R", "hit", how="ratio", over="score")
    whole = answers(score, hit)
    copies = answers(np.repeat(score, weights, 0), np.repeat(hit, weights, 0))
    for measure in (AUC, AP, ratio):
        assert _again(whole, measure, weights[None].astype(float))[0] == pytest.approx(pooled(copies, measure))


def test_average_precision_at_eleven_recalls_by_hand():
    # Ranked: hit, miss, hit, miss. Precision 1 up to recall 1/2, 2/3 beyond: six recalls of 1, five of 2/3.
    one = answers([4.0, 3.0, 2.0, 1.0], [1, 0, 1, 0], AP)
    assert pooled(one, AP) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    # What is neither (VOC's "difficult") is left out, and so is a class that nothing is of.
    more = answers([[4.0, 1], [9, 1], [3, 1], [2, 1], [1, 1]], [[1, 0], [-1, 0], [0, 0], [1, 0], [0, 0]], AP)
    assert pooled(more, AP) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_items_of_equal_scores_are_found_together_whatever_their_order():
    """As scikit-learn's thresholds; else who says the same of all is right where the hits come first."""
    hit = np.arange(20) < 4
    assert {pooled(answers(np.zeros(20), one, AP), AP) for one in (hit, hit[::-1])} == {0.2}
    random = np.random.default_rng(4)
    for _ in range(20):
        hit, score = random.integers(0, 2, 30), np.round(random.random(30), 1)
        precision, recall = (part[:-1] for part in precision_recall_curve(hit, score)[:2])  # without its end at 0
        expected = np.mean([precision[recall >= one - 1e-12].max() for one in np.arange(11) / 10])
        assert pooled(answers(score, hit, AP), AP) == pytest.approx(expected)


def test_ratios_are_means_over_classes_that_are_there():
    random = np.random.default_rng(2)
    right, said = random.integers(0, 3, (2, 400))
    counts = [np.stack([op(right == c, said == c) for c in range(4)], 1) for op in (np.logical_and, np.logical_or)]
    measure = Measure("mIoU", "inter", how="ratio", over="union")
    made = Answers(["k"] * 400, {"inter": counts[0].astype(int), "union": counts[1].astype(int)}, (measure,))
    assert pooled(made, measure) == pytest.approx(jaccard_score(right, said, average="macro"))


def test_a_difference_that_is_there_is_found_and_none_is_not():
    random = np.random.default_rng(3)
    hit = random.integers(0, 2, 300)
    noise = random.standard_normal(300)
    good, weak, same = (answers(hit * by + noise, hit, AUC) for by in (1.5, 0.3, 0.3))
    found = pooled_difference(good, weak, AUC)
    assert found.value[0] > 0.2 and found.low[0] > 0 and found.p[0] <= 0.001
    assert pooled_difference(weak, same, AUC).p[0] == 1.0


def test_columns_of_classes_are_kept(tmp_path):
    made = answers([[0.25, 1.0], [0.5, 2.0]], [[1, 0], [0, -1]], AUC)
    write_rows(tmp_path / "a.arrow", Rows("a", {}, {"teacher": "x"}, {"teacher": made}))
    back = read_rows(tmp_path / "a.arrow").answers["teacher"]
    assert back.measures == (AUC,)
    assert (back.columns["score"] == made.columns["score"]).all() and (back.columns["hit"] == [[1, 0], [0, -1]]).all()


def missed_by_intervals_of_ap(random, items, classes, share, times):
    """How often the truth lies below an interval, and how often above."""

    def asked(items, classes):
        hit = (random.random((items, classes)) < share).astype(np.int8)
        return Answers([""] * items, {"score": hit + random.normal(size=hit.shape), "hit": hit}, (AP,))

    truth, missed = pooled(asked(100_000, 6), AP), []
    for _ in range(times):
        low, high = pooled_interval(asked(items, classes), AP)
        missed.append((truth < low, truth > high))
    return np.mean(missed, axis=0)


def test_an_interval_of_average_precision_lies_about_the_truth_and_not_above_it(monkeypatch):
    """The best precision at a recall is a lucky one, and in items that are drawn again from few a luckier one: by plain
    percentiles 27 of 100 intervals begin above the truth.
    """
    monkeypatch.setattr(module, "DRAWS", 300)
    below, above = missed_by_intervals_of_ap(np.random.default_rng(4), items=120, classes=6, share=0.08, times=60)
    assert below <= 0.1 and below + above <= 0.15, (below, above)


def test_so_it_does_of_many_classes(monkeypatch):
    """Each is a little lucky, and their mean hardly varies: no percentile of what is drawn again reaches the truth."""
    monkeypatch.setattr(module, "DRAWS", 200)
    below, above = missed_by_intervals_of_ap(np.random.default_rng(4), items=200, classes=80, share=0.03, times=20)
    assert below <= 0.1 and below + above <= 0.15, (below, above)
