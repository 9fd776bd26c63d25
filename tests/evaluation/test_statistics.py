"""Statistics tested as such: how often they cry wolf, how often they find what is there, and hand-made numbers."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr, stdtr

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.clusters import MOST, clusters, resamples
from distillkit.evaluation.intervals import mean_intervals
from distillkit.evaluation.paired import (
    mcnemar_p,
    mean_differences,
    pooled_difference,
    seeded_differences,
    seeded_interval,
    swap_p,
)
from distillkit.evaluation.pooled import pooled_interval
from distillkit.evaluation.tested import against
from distillkit.evaluation.verdicts import few, holm, stricter, verdict

MANY = 2000  # simulated comparisons, a column each


def separable(found):
    """Of each column, whether test and interval both say so: what a verdict asks, of one test alone."""
    return (found.p <= 0.05) & ((found.low > 0) | (found.high < 0))


def correlated_hits(random, items, p_one, p_other, correlation, columns):
    """Hits of two networks on the same items, with these rates and this correlation between the two."""
    both = p_one * p_other + correlation * np.sqrt(p_one * (1 - p_one) * p_other * (1 - p_other))
    ways = np.array([both, p_one - both, p_other - both, 1 - p_one - p_other + both])
    assert (ways >= 0).all(), "no two coins of these rates are so alike"
    drawn, (both, one, other, _) = random.random((items, columns)), np.cumsum(ways)
    return (drawn < one).astype(float), ((drawn < both) | ((drawn >= one) & (drawn < other))).astype(float)


def correlated_scores(random, items, difference, deviation, correlation, columns):
    """Margins, cosines and the like: normal, `difference` apart."""
    shared = random.normal(size=(items, columns)) * np.sqrt(correlation)
    one, other = (shared + random.normal(size=(items, columns)) * np.sqrt(1 - correlation) for _ in range(2))
    return difference + deviation * one, deviation * other


def unpaired_p(one, other):
    return stats.ttest_ind(one, other, equal_var=False).pvalue


def clustered(random, size, groups, columns):
    """Items that share much of their fate with their cluster: two networks equally good, each with its own mood."""
    mood = [np.repeat(random.normal(size=(groups, columns)), size, 0) for _ in range(2)]
    one, other = ((each + random.normal(size=each.shape) > 0).astype(float) for each in mood)
    return one, other, np.repeat(np.arange(groups), size)


@pytest.mark.parametrize("kind", ["hits", "scores", "few items", "clusters", "few clusters"])
def test_under_the_null_a_false_alarm_comes_in_at_most_one_of_twenty(kind):
    random, group = np.random.default_rng(1), None
    if kind == "hits":
        one, other = correlated_hits(random, 300, 0.6, 0.6, 0.8, 2 * MANY)
    elif kind in ("scores", "few items"):
        one, other = correlated_scores(random, 300 if kind == "scores" else 12, 0.0, 0.2, 0.5, 2 * MANY)
    else:
        one, other, group = clustered(random, 8, 60 if kind == "clusters" else 10, 2 * MANY)
    alarms = separable(mean_differences(one, other, group)).mean()
    assert alarms <= 0.05
    if kind != "hits":
        assert alarms >= 0.02  # not by never finding anything
    if group is not None:  # the items of a cluster taken for independent ones: this is what clustering is for
        assert separable(mean_differences(one, other)).mean() > 0.15


def test_seeds_that_differ_raise_no_alarm_and_would_without_seeds():
    """Three seeds each, whose means differ by more than items can explain: seeds have an effect of their own."""
    random = np.random.default_rng(2)
    ones, others = (
        random.normal(size=(3, 200, MANY)) + 0.2 * random.normal(size=(3, 1, MANY)) for _ in ("one", "other")
    )
    assert separable(seeded_differences(ones, others)).mean() <= 0.05
    assert separable(mean_differences(ones[0], others[0])).mean() > 0.3
    found = seeded_differences(ones + 1.0, others)
    assert separable(found).mean() > 0.9 and (found.seeds > 0).all()


@pytest.mark.parametrize("seeds", [(1, 2), (1, 3), (3, 1), (1, 5)])
def test_a_recipe_that_was_run_once_has_seeds_all_the_same(seeds):
    """They spread as those of the other recipe; a teacher, which has none, is what it is."""
    random = np.random.default_rng(5)
    ones, others = (
        random.normal(size=(count, 200, MANY)) + 0.2 * random.normal(size=(count, 1, MANY)) for count in seeds
    )
    found = seeded_differences(ones, others)
    assert separable(found).mean() <= 0.05
    assert ((found.p <= 0.05) == ((found.low > 0) | (found.high < 0))).all()
    # As if that one had none.
    assert separable(seeded_differences(ones, others, fixed=True)).mean() > 1.5 * separable(found).mean()
    teacher = random.normal(size=(1, 200, MANY))
    several = ones if seeds[0] > 1 else others
    assert separable(seeded_differences(several, teacher, fixed=True)).mean() <= 0.05


@pytest.mark.parametrize("seeds", [(1, 3), (3, 3)])
def test_of_what_is_no_number_no_p_is_told(seeds):
    ones, others = (np.zeros((count, 30, 1)) for count in seeds)
    ones[0, 0] = np.nan
    found = seeded_differences(ones, others)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()


@pytest.mark.parametrize("groups", [1, 2, 3, 6, 10])
def test_seeds_do_not_stand_for_groups_of_items(groups):
    """Few groups are as few with three seeds each, and one alone says nothing, however many seeds."""
    random = np.random.default_rng(11)
    apart = random.normal(size=(groups, MANY)).repeat(4, axis=0)
    ones, others = (half * apart + 0.05 * random.normal(size=(3, 4 * groups, MANY)) for half in (0.5, -0.5))
    group = np.arange(groups).repeat(4)
    found = seeded_differences(ones, others, group)
    assert separable(found).mean() <= (0.065 if groups > 1 else 0)
    if groups == 1:
        answers = [
            [Answers(list("abcd"), {"score": run[:, 0]}, (Measure("score", "score"),), group=group) for run in runs]
            for runs in (ones, others)
        ]
        (test,) = against(*answers, answers[0][0].measures)
        assert test.low is None and test.verdict.word == "not separable" and "no spread" in test.verdict.why


def test_two_points_on_400_shared_items_at_correlation_08_paired_and_unpaired():
    """Of scores (cosines, margins) whose spread is 0.2: paired finds 0.02 in 4 of 5 draws, unpaired in 2 of 5 at most.

    By arithmetic: the error is 0.2 sqrt(2 (1 - 0.8) / 400) = 0.0063 paired, 0.0141 unpaired: 3.2 and 1.4 errors.
    """
    one, other = correlated_scores(np.random.default_rng(3), 400, 0.02, 0.2, 0.8, MANY)
    assert separable(mean_differences(one, other)).mean() >= 0.8
    assert (unpaired_p(one, other) <= 0.05).mean() < 0.4


@pytest.mark.parametrize(
    ("rates", "paired", "unpaired"),
    [
        ((0.96, 0.94), 0.60, 0.40),
        ((0.60, 0.58), 0.15, 0.15),
    ],
)
def test_what_hits_allow_is_less(rates, paired, unpaired):
    """Hits at 60 and 58 % have a spread of 0.49: 2 points are 1.3 errors even paired, and no test finds them often.

    Variance of the difference of one item: 2 x 0.24 x (1 - 0.8) = 0.097; error sqrt(0.097 / 400) = 0.0155. Hits reach
    what the scores above do near the top alone: at 96 and 94 %, 8 of 400 items are one's alone and none the other's.
    """
    one, other = correlated_hits(np.random.default_rng(4), 400, *rates, 0.8, MANY)
    found = (mean_differences(one, other).p <= 0.05).mean()
    alone = (unpaired_p(one, other) <= 0.05).mean()
    assert found >= paired and alone < unpaired and found > alone
    if rates == (0.60, 0.58):
        assert found < 0.35
        assert verdict(value=0.02, low=-0.01, high=0.05, error=0.0155, adjusted=0.2, items=400).items == 1886


def test_mcnemar_is_scipys_and_swapping_is_mcnemar():
    pairs = np.array([[9, 2], [0, 0], [5, 5], [1, 0], [30, 12]])
    wanted = [stats.binomtest(int(a), int(a + b)).pvalue if a + b else 1.0 for a, b in pairs]
    np.testing.assert_allclose(mcnemar_p(pairs[:, 0], pairs[:, 1]), wanted, rtol=1e-12)
    signs = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 2)[:, None]
    assert swap_p(signs)[0] == pytest.approx(wanted[0], rel=1e-12)
    many = np.array([1.0] * 30 + [-1.0] * 12 + [0.0] * 50)[:, None]
    assert swap_p(many)[0] == pytest.approx(wanted[4], abs=0.003)


def test_no_difference_of_shares_is_beyond_100_points():
    """Two groups that say the opposite: Student's t alone would tell of 900 points and more."""
    measure = Measure("top-1", "rank", within=1)
    ones, others = (
        Answers([*"abcd"], {"rank": np.array(rank)}, (measure,), group=np.array([0, 0, 1, 1]))
        for rank in ([1, 1, 2, 2], [2, 2, 1, 1])
    )
    (test,) = against([ones], [others], [measure])
    assert (test.value, test.low, test.high) == (0.0, -1.0, 1.0) and test.groups == 2


def test_holm_is_the_textbooks():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).tolist() == [] and holm(np.array([0.7, 0.9])).tolist() == [1.0, 1.0]


def test_an_interval_of_independent_items_is_scipys():
    values = np.random.default_rng(5).normal(size=(400, 1))
    low, high = mean_intervals(values)
    wanted = stats.t.interval(0.95, 399, values.mean(), values.std(ddof=1) / 20)
    np.testing.assert_allclose([low[0], high[0]], wanted, atol=0.01)


@pytest.mark.parametrize("groups", [5, 40])
def test_an_interval_covers_the_truth_as_often_as_it_says(groups):
    random = np.random.default_rng(6)
    values = np.repeat(random.normal(size=(groups, MANY)), 4, 0) + random.normal(size=(4 * groups, MANY))
    low, high = mean_intervals(values, np.repeat(np.arange(groups), 4))
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


def test_all_right_is_not_certainty_and_one_item_says_nothing():
    low, high = mean_intervals(np.ones((10, 1)))
    assert high[0] == 1.0 and low[0] == pytest.approx(stats.beta.ppf(0.025, 10, 1))
    low, high = mean_intervals(np.zeros((10, 1)))
    assert low[0] == 0.0 and high[0] == pytest.approx(stats.beta.ppf(0.975, 1, 10))
    assert np.isnan(mean_intervals(np.ones((1, 1)))).all()
    one = mean_differences(np.ones((1, 1)), np.zeros((1, 1)))
    assert one.value[0] == 1.0 and np.isnan(one.low[0]) and one.p[0] == 1.0


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_nor_is_it_with_several_seeds(right):
    """Who is right of all items, or of none, with every seed: as sure as with one."""
    values = np.full((3, 30, 1), right)
    low, high = (float(end[0]) for end in mean_intervals(values[0]))
    assert seeded_interval(values, None, once=False, share=True) == (low, high) and 0.1 < high - low < 0.13
    assert seeded_interval(values, np.zeros(30), once=False, share=True) is None
    values[0, 0] = 1 - right  # one seed and one item are enough to tell a spread
    found = seeded_differences(values, np.zeros((1, 30, 1)), fixed=True)
    wanted = max(float(found.low[0]), 0.0), min(float(found.high[0]), 1.0)
    assert seeded_interval(values, None, once=False, share=True) == wanted


def test_a_group_that_counts_once_is_one_voice():
    values, group = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), np.array([7, 7, 7, 9])
    assert clusters(values, group, np.array([False, True])).mean.tolist() == [0.75, 0.5]


def test_very_many_clusters_are_joined_and_mean_the_same():
    random = np.random.default_rng(7)
    values = random.random((3 * MOST, 1))
    assert len(clusters(values)) == MOST and clusters(values).mean == pytest.approx(values.mean(0))
    low, high = mean_intervals(values)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(len(values)), rel=0.06)


def test_every_draw_is_as_many_clusters():
    parts = list(resamples(3000, 2000))
    assert len(parts) > 1 and sum(map(len, parts)) == 2000
    assert all((part.sum(1) == 3000).all() for part in parts)


def test_medians_have_intervals_and_a_shift_is_found():
    random = np.random.default_rng(8)
    ranks = random.integers(1, 100, 500).astype(float)
    measure = Measure("median rank", "rank", how="median")
    one, other = (Answers([""] * 500, {"rank": column}, (measure,)) for column in (ranks, ranks + 20))
    low, high = pooled_interval(one, measure)
    assert low <= np.median(ranks) <= high and high - low < 15
    found = pooled_difference(other, one, measure)
    assert found.value[0] == 20 and found.low[0] > 0 and found.p[0] <= 0.001
    same = pooled_difference(one, one, measure)
    assert same.p[0] == 1.0 and same.low[0] == same.high[0] == 0.0


def test_verdicts_say_no_more_than_the_test():
    known = {"value": 0.02, "low": 0.01, "high": 0.03, "error": 0.005, "items": 400}
    assert verdict(**known, adjusted=0.01).told == "better"
    assert verdict(**known, adjusted=0.01, more_is_better=False).told == "worse"
    assert verdict(**known, adjusted=0.2).word == "not separable"
    wide = {"value": 0.02, "low": -0.01, "high": 0.05, "error": 0.015, "items": 400}
    assert verdict(**wide, adjusted=0.01).word == "not separable"  # the interval does not say so
    assert verdict(**wide, adjusted=0.2).told == "not separable (it would take about 1,800 items)"
    assert verdict(**wide, adjusted=0.2, seeds=0.0001).items is None
    assert "seeds" in verdict(**wide, adjusted=0.2, seeds=0.0001).why
    # Of five groups no p of swapping them is below 0.05, however clear of 0 the interval is.
    found = mean_differences(np.array([[0.9], [0.8], [0.9], [0.85], [0.8]]), np.zeros((5, 1)))
    assert found.low[0] > 0.5 and found.p[0] == 2.0**-4
    clear = {"value": 0.85, "low": 0.78, "high": 0.92, "error": 0.02, "items": 60, "adjusted": 0.0625}
    assert verdict(**clear, groups=5).told == (
        "not separable (5 independent groups of items are too few: the interval is clear of 0, but p is above 0.05, "
        "and both must say so)"
    )
    assert "too many tests at once" in verdict(**clear, groups=60).why
    assert few(20) == "" and "no interval, and no verdict" in few(1)
    assert "only 5" in few(5) and "below 0.062: no difference is separable" in few(5) and "below" not in few(6)
    assert "below" not in few(5, seeds=True)  # their p is Student's t
    same = dict.fromkeys(("value", "low", "high", "error"), 0.0)
    assert verdict(**same, items=9, adjusted=1.0).told == "not separable (the same answers)"
    nothing = {"value": 1.0, "low": float("nan"), "high": float("nan"), "error": 0.0}
    assert "no spread" in verdict(**nothing, items=1, adjusted=1.0).why


@pytest.mark.parametrize("tests", [1, 5, 40])
def test_so_many_items_find_a_difference_in_4_of_5_draws_however_many_tests_there_are(tests):
    """Without Holm's correction in it, the forecast for 40 tests was of a third of the draws."""
    told = verdict(value=0.05, low=-0.04, high=0.14, error=500**-0.5, adjusted=1.0, items=500, times=tests)
    drawn = np.random.default_rng(0).normal(size=(2000, tests))
    drawn[:, 0] += 0.05 * told.items**0.5
    found = np.mean([holm(row)[0] <= 0.05 for row in 2 * ndtr(-np.abs(drawn))])
    assert 0.76 <= found <= 0.84
    assert stricter(np.array([0.04, 0.01, 0.5, 0.01])).tolist() == [2, 4, 1, 4]
    assert stricter(np.array([0.01, np.nan])).tolist() == [2, 2] and holm(np.array([0.01, np.nan]))[0] == 0.02


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.005), (3, 0.01), (5, 0.015)])
def test_so_many_items_do_with_as_many_seeds(seeds, spread):
    """Student's t of few seeds is further out than the normal is."""
    random, error = np.random.default_rng(0), 2 * spread**2 / seeds
    known = {"value": 0.05, "low": -0.04, "high": 0.14, "adjusted": 1.0, "items": 500, "seeds": error}
    told = verdict(**known, error=(error + 1 / 500) ** 0.5, freedom=2 * (seeds - 1))
    ones, others = (random.normal(place, spread, (20_000, seeds)) for place in (0.05, 0.0))
    value = ones.mean(1) - others.mean(1) + random.normal(0, told.items**-0.5, 20_000)
    parts = [one.var(1, ddof=1) / seeds for one in (ones, others)]
    total = parts[0] + parts[1] + 1 / told.items
    freedom = total**2 / (parts[0] ** 2 / (seeds - 1) + parts[1] ** 2 / (seeds - 1) + 1 / told.items**3)
    found = (2 * stdtr(freedom, -np.abs(value) / np.sqrt(total)) <= 0.05).mean()
    assert 0.78 <= found <= 0.86
    many = verdict(**known, error=(error + 1 / 500) ** 0.5, freedom=1.0, times=20)
    assert many.items is None and "more seeds" in many.why
