"""An image that is asked is no example for itself: where it lies among those that vote, are learned from or answer."""

import numpy as np
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.evals._held import any_choosing
from distillkit.evals._masks import Masks
from distillkit.evals.asymmetric_retrieval import AsymmetricRetrieval
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.multi_label import MultiLabel
from distillkit.evals.sgd_probe import SgdProbe
from tests.evals.worlds import AXES, Store, Teacher, run

FILES = [f"{n}.png" for n in range(8)]
TURNED = [0, 0, 0, 0, 1, 1, 1, 1]  # axes; by their labels each axis has three of one class and one of the other
LABELS = [0, 0, 0, 1, 1, 1, 1, 0]


def images(rows=range(8)):
    names = [FILES[n] for n in rows]
    return Store([TURNED[n] for n in rows], label=[LABELS[n] for n in rows], keys=names, files=names)


@pytest.mark.parametrize("same", [True, False], ids=["one store", "a view of it"])
def test_an_image_does_not_vote_for_itself(same):
    """Whose nearest is of another class: with its own vote each would be right, without none is."""
    features = torch.stack([AXES[0], AXES[1], AXES[1] + 0.1, AXES[0] + 0.1])
    train = Store(features, label=[0, 1, 0, 1], files=FILES[:4])
    asked = train if same else Store(features[:3], label=[0, 1, 0], files=FILES[:3])
    found = run(Knn(train="t", store="s", k=1), Teacher(), t=train, s=asked)
    assert (found["top-1"], found["also in train"]) == (0.0, len(asked.ok_rows))
    elsewhere = Store(features, label=[0, 1, 0, 1], files=[f"copy/{one}" for one in FILES[:4]])
    found = run(Knn(train="t", store="s", k=1), Teacher(), t=train, s=elsewhere)
    assert found["top-1"] == 1.0 and "also in train" not in found


def test_classes_without_a_vote_are_not_among_the_best():
    train = Store([0, 0, 1, 2, 3], label=[0, 1, 2, 3, 4])
    (answers,) = Knn(train="t", store="s", k=2).run(
        Teacher(), {"t": train, "s": Store([0, 3], label=[0, 4])}.__getitem__
    )
    assert sorted(answers.best[0][:2].tolist()) == [0, 1] and (answers.best[0][2:] == -1).all()
    assert answers.best[1][0] == 4 and (answers.best[1][2:] == -1).all()


def test_the_only_voter_is_asked_about_nothing():
    one = Store([0], label=[0], files=["a.png"])
    with pytest.raises(StoreError, match="toy: its one image cannot vote for itself"):
        run(Knn(train="s", store="s"), Teacher(), s=one)


@pytest.mark.parametrize("probe", [LinearProbe, SgdProbe])
def test_a_probe_learns_from_no_image_that_it_asks_about(probe):
    (known, asked), _ = probe(train="t", store="s").check({"t": images(), "s": images([3, 7])}.__getitem__)
    assert known.places.tolist() == [0, 1, 2, 4, 5, 6] and asked.noted == {"also in train": 2.0}
    (known, chosen, asked), _ = probe(train="t", store="s", validation_store="v").check(
        {"t": images(range(4)), "v": images([4, 5, 6, 7]), "s": images([3, 7])}.__getitem__
    )
    assert known.places.tolist() == [0, 1, 2] and chosen.places.tolist() == [0, 1, 2] and asked.shared == 2
    with pytest.raises(
        StoreError, match="toy: not one of its 8 images is left to learn from, as all are measured; measure"
    ):
        probe(train="s", store="s").check({"s": images()}.__getitem__)


@pytest.mark.parametrize("probe", [LinearProbe, SgdProbe])
def test_what_chooses_was_not_learned_from(probe):
    """Else the weakest L2 is always the best, and in the end such images count twice."""
    stores = {"t": images(range(6)), "v": images([0, 3, 6]), "s": images([7])}
    measure = probe(train="t", store="s", validation_store="v")
    (known, chosen, _), _ = measure.check(stores.__getitem__)
    assert known.places.tolist() == [1, 2, 4, 5] and chosen.places.tolist() == [0, 1, 2]
    assert any_choosing(measure, stores.__getitem__)  # which older answers are asked for anew
    assert not any_choosing(measure, (stores | {"v": images([6])}).__getitem__)
    with pytest.raises(
        StoreError, match="toy: all of its 6 images are in validation_store, too: toy; leave validation_st"
    ):
        measure.check((stores | {"v": images(range(7))}).__getitem__)


def test_nor_does_one_of_several_labels(tmp_path):
    for part, rows in (("test", [0, 1]), ("trainval", range(8))):
        lines = (f"{n} {1 if n % 2 else -1}\n" for n in rows)
        (tmp_path / f"a_{part}.txt").write_text("".join(lines))
    store = images()
    measure = MultiLabel(store="s", train="s", labels=str(tmp_path))
    known, _ = measure.check(lambda name: store)
    assert known.places.tolist() == list(range(2, 8)) and len(known.hit) == 6


def test_nor_do_dense_probes(tmp_path):
    for name in FILES:
        (tmp_path / name).touch()
    masks = Masks(images(), str(tmp_path), 8, images([3, 7]))
    assert masks.keys == [FILES[n] for n in (0, 1, 2, 4, 5, 6)] and masks.rows.tolist() == [0, 1, 2, 4, 5, 6]


def test_nor_does_an_image_find_itself_in_a_gallery():
    gallery = Store([0, 0, 1, 1], label=[0, 1, 1, 0], files=FILES[:4])
    asks = Store([0, 1], label=[0, 1], files=[FILES[0], FILES[2]])
    found = run(AsymmetricRetrieval(store="s", gallery="g", ks=[1]), Teacher(), s=asks, g=gallery)
    assert found["R@1"] == 0.0 and found["R@1.chance"] == pytest.approx(1 / 3)
    other = Store([0, 1], label=[0, 1], files=["x.png", FILES[2]])  # who is not there may find whoever is
    found = run(AsymmetricRetrieval(store="s", gallery="g", ks=[1]), Teacher(), s=other, g=gallery)
    assert found["R@1"] == 0.5 and found["R@1.chance"] == pytest.approx(np.mean([2 / 4, 1 / 3]))
    lonely = Store([0, 1, 2, 3], label=[0, 1, 2, 1], files=FILES[:4])
    with pytest.raises(StoreError, match="toy: 1 of 2 images are of classes without another image in toy, such as 0"):
        AsymmetricRetrieval(store="s", gallery="g").check({"s": asks, "g": lonely}.__getitem__)
