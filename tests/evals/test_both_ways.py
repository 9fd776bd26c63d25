"""Retrieval as papers count it, in both directions, and with several captions of an image; by hand."""

import numpy as np
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.evals._ranking import chance, one_right, own, ranked, ranking
from distillkit.evals.agreement import Agreement, linear_cka, spearman
from distillkit.evals.asymmetric_retrieval import AsymmetricRetrieval
from distillkit.evals.retrieval import Retrieval
from tests.evals.worlds import AXES, Store, Student, Teacher, run


class Captioned(Store):
    """Rows of images, several of which may be one file."""

    def __init__(self, images, texts, names):
        super().__init__(images, texts, names=names, files=[f"{axis}.png" for axis in images])


def test_any_own_caption_is_right_and_an_image_counts_once():
    """Image 0 has the captions a and b, of which a points at image 1; image 1 has c, which points at itself."""
    store = Captioned([0, 0, 1], [1, 0, 1], ["a", "b", "c"])
    found = run(Retrieval(store="s", ks=[1, 2]), Teacher(), s=store)
    assert (found["images"], found["texts"], found["rows"]) == (2.0, 3.0, 3.0)
    # Image 0 finds b; for image 1 a and c tie, and a is first: c is second.
    assert found["R@1"] == 0.5 and found["R@2"] == 1.0 and found["median rank"] == 1.5
    # Each pair by itself: (0, a) is beaten by b and c... a and c tie at 0, a first; (0, b) wins; (1, c) is second.
    assert found["R@1 per row"] == pytest.approx(1 / 3) and found["R@2 per row"] == 1.0
    # Captions ask: a finds image 1 and is wrong, b and c are right.
    assert found["text to image R@1"] == pytest.approx(2 / 3) and found["text to image R@2"] == 1.0
    assert found["R@1.chance"] == pytest.approx((2 / 3 + 1 / 3) / 2) and found["text to image R@1.chance"] == 0.5


def test_images_that_share_a_caption_are_one_group_and_any_of_them_is_right():
    store = Store([0, 1, 2], [0, 0, 2], names=["x", "x", "y"])
    answers = Retrieval(store="s", ks=[1]).run(Teacher(), {"s": store}.__getitem__)
    assert [one.table for one in answers] == ["", "text to image"]
    assert answers[0].group[0] == answers[0].group[1] != answers[0].group[2]
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=store)
    assert found["text to image R@1"] == 1.0 and "R@1 per text" in found and "R@1 per row" not in found


def test_rows_without_captions_are_left_out_and_all_of_them_are_refused():
    found = run(Retrieval(store="s", ks=[1]), Teacher(), s=Store([0, 1, 2], [0, 1, 2], names=["a", "", "c"]))
    assert found["images"] == 2.0
    with pytest.raises(StoreError, match="none of its rows has a caption"):
        run(Retrieval(store="s"), Teacher(), s=Store([0, 1], [0, 1], names=["", " "]))


def test_a_ranking_is_what_sorting_gives():
    torch.manual_seed(0)
    scores = torch.randn(50, 9).round(decimals=0)  # many ties
    right = torch.rand(50, 9) < 0.3
    right[0] = False
    found = ranking(scores, right)
    for n, row in enumerate(scores):
        order = sorted(range(9), key=lambda place: (-row[place].item(), place))
        places = [order.index(place) for place in range(9) if right[n, place]]
        assert found.rank[n] == (min(places) + 1 if places else 10)
        assert found.best[n].tolist() == order[:5]
        if places and not right[n].all():
            assert found.margin[n] == row[right[n]].max() - row[~right[n]].max()


def test_blocks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    asked, answers = torch.randn(40, 6), torch.randn(11, 6)
    item = torch.arange(40).repeat_interleave(2)
    answer = torch.randint(0, 11, (80,))
    for right in (one_right(torch.arange(40) % 11, 11), own(item, answer, 11)):
        whole = ranked(asked, answers, right)
        monkeypatch.setattr("distillkit.evals._ranking._CELLS", 40)
        parts = ranked(asked, answers, right)
        monkeypatch.undo()
        assert (whole.rank == parts.rank).all() and (whole.best == parts.best).all()
        np.testing.assert_allclose(whole.margin, parts.margin, atol=1e-6)


def test_a_network_that_says_the_same_of_everything_is_right_by_chance():
    found = run(
        Retrieval(store="s", ks=[1]), Student(torch.ones(4, 4)), s=Store([0, 1, 2, 3], [0, 1, 2, 3], names=[*"abcd"])
    )
    assert found["R@1"] == found["R@1.chance"] == 0.25


def test_chance_is_what_drawing_gives():
    random, right = np.random.default_rng(0), np.array([1, 3])
    drawn = [[(random.permutation(7)[:2] < one).any() for one in right] for _ in range(4000)]
    assert chance(right, 7, 2) == pytest.approx(np.mean(drawn), abs=0.02)
    assert chance(np.array([1]), 4, 10) == 1.0


def test_a_student_asks_the_teachers_gallery():
    """Student and teacher disagree about image 3 alone, which asks as if it were of class 0."""
    store = Store([0, 0, 1, 1], label=[0, 0, 1, 1])
    student = Student([0, 0, 1, 0])
    found = run(AsymmetricRetrieval(store="s", ks=[1, 3]), student, s=store)
    assert (found["R@1"], found["R@3"], found["images"], found["gallery"]) == (0.75, 1.0, 4.0, 4.0)
    assert found["R@1.chance"] == pytest.approx(1 / 3)
    same = run(AsymmetricRetrieval(store="s", right="key", ks=[1]), student, s=Store([0, 1, 2, 3]))
    assert same["R@1"] == 0.25  # of four images the student knows the first alone: 1, 2 and 3 it calls 0, 1 and 0


def test_what_can_find_nothing_is_refused():
    alone = Store([0, 0, 1], label=[0, 0, 1])
    with pytest.raises(StoreError, match=r"1 of 3 images are of classes without another image in toy, such as 1"):
        run(AsymmetricRetrieval(store="s"), Teacher(), s=alone)
    with pytest.raises(StoreError, match=r"the student's 3; train the student with student\.embed_dim = \d"):
        run(AsymmetricRetrieval(store="s", right="key"), Student(torch.ones(2, 3)), s=Store([0, 1]))
    with pytest.raises(StoreError, match=r"has no image '1\.png'"):
        run(AsymmetricRetrieval(store="s", gallery="g", right="key"), Teacher(), s=Store([0, 1]), g=Store([0]))


def test_agreement_over_classes_and_directions():
    torch.manual_seed(0)
    features = torch.randn(30, 4)
    prompts = Store(None, [0, 1, 2, 3], [0, 1, 2, 3])
    itself = run(Agreement(store="s", prompts="p"), Teacher(), s=Store(features), p=prompts)
    assert itself["KL over classes"] == pytest.approx(0.0, abs=1e-6) and itself["class ranks"] == pytest.approx(1.0)
    assert itself["linear CKA"] == pytest.approx(1.0) and itself["worst cosine"] == pytest.approx(1.0)
    turn = torch.linalg.qr(torch.randn(4, 4)).Q
    turned = run(Agreement(store="s"), Student(3 * features @ turn), s=Store(features))
    assert turned["linear CKA"] == pytest.approx(1.0) and turned["cosine"] < 0.9
    reverse = run(Agreement(store="s", prompts="p"), Student(-features), s=Store(features), p=prompts)
    assert reverse["class ranks"] == pytest.approx(-1.0) and reverse["KL over classes"] > 1
    with pytest.raises(StoreError, match="one image alone has no neighbours"):
        run(Agreement(store="s"), Teacher(), s=Store([0]))


def test_spearman_and_cka_are_those_of_others():
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 6, 12))
    found = spearman(torch.from_numpy(one), torch.from_numpy(other))
    wanted = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)
    x, y = random.normal(size=(20, 5)), random.normal(size=(20, 3))
    a, b = (z @ z.T for z in (x, y))  # the kernel form of the same
    h = np.eye(20) - 1 / 20
    hsic = lambda a, b: np.trace(h @ a @ h @ b)  # noqa: E731
    assert linear_cka(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(
        hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    )
    assert linear_cka(torch.ones(4, 2), AXES) == 0.0
