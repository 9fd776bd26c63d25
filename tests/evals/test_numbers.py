"""Evaluations by numbers that one can do in the head: features lie on four axes."""

import numpy as np
import pytest
import torch

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._labels import labels_of
from distillkit.evals._shots import shots_of
from distillkit.evals.agreement import Agreement
from distillkit.evals.few_shot import FewShot
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.retrieval import Retrieval
from distillkit.evals.zero_shot import ZeroShot
from tests.evals.worlds import AXES, Store, Student, Teacher, run

PROMPTS = Store(None, [0, 1, 2, 3], [0, 1, 2, 3])


def test_zero_shot_counts_the_nearest_class():
    images = Store([0, 1, 1, 3], label=[0, 1, 2, 3])
    found = run(ZeroShot(store="images", prompts="prompts"), Teacher(), images=images, prompts=PROMPTS)
    assert found["top-1"] == found["mean per class"] == 0.75 and found["top-1.chance"] == 0.25
    assert found["top-5"] == 1.0


def test_the_most_frequent_class_is_told_where_it_is_more_than_chance():
    images = Store([0, 1, 1, 3, 0, 0, 0, 0, 0, 0], label=[0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    found = run(ZeroShot(store="images", prompts="prompts"), Teacher(), images=images, prompts=PROMPTS)
    assert found["top-1.majority"] == 0.8 and found["top-1.chance"] == 0.25
    assert "top-5.majority" not in found  # of four classes any five are all
    assert found["mean per class.majority"] == 0.5  # two of the four classes have images
    even = Store([0, 1, 2, 3], label=[0, 1, 2, 3])
    found = run(ZeroShot(store="images", prompts="prompts"), Teacher(), images=even, prompts=PROMPTS)
    assert not any(name.endswith(".majority") for name in found)
    # In agreement: what the teacher says most often.
    said = run(Agreement(store="images", prompts="prompts", k=2), Teacher(), images=images, prompts=PROMPTS)
    assert said["same class.majority"] == pytest.approx(0.7)


def test_a_student_with_a_text_tower_is_asked_with_its_own_words():
    """It calls class 0 what the teacher calls class 1, in images and in texts: all is well."""
    images = Store([0, 1], label=[0, 1])
    swapped = Student([1, 0], text=[1, 0, 2, 3])
    measure = ZeroShot(store="images", prompts="prompts")
    assert run(measure, swapped, images=images, prompts=PROMPTS)["top-1"] == 1.0
    assert run(measure, Student([1, 0]), images=images, prompts=PROMPTS)["top-1"] == 0.0
    paired = Store([0, 1], [0, 1], names=["zero", "one"])
    assert run(Retrieval(store="images", ks=[1]), swapped, images=paired)["R@1"] == 1.0
    assert run(Retrieval(store="images", ks=[1]), Student([1, 0]), images=paired)["R@1"] == 0.0


def test_mean_per_class_gives_every_class_one_voice():
    images = Store([0, 0, 0, 2], label=[0, 0, 0, 1])
    found = run(ZeroShot(store="images", prompts="prompts"), Teacher(), images=images, prompts=PROMPTS)
    assert (found["top-1"], found["mean per class"]) == (0.75, 0.5)


def test_the_nearest_one_decides_or_three_vote():
    train = Store(torch.stack([AXES[0], AXES[1], 0.9 * AXES[1] - 0.1 * AXES[0]]), label=[0, 1, 1])
    asked = Store(torch.stack([AXES[0] + 0.9 * AXES[1]]), label=[1])
    assert run(Knn(train="train", store="asked", k=1), Teacher(), train=train, asked=asked)["top-1"] == 0.0
    all_three = Knn(train="train", store="asked", k=3, temperature=1.0)
    assert run(all_three, Teacher(), train=train, asked=asked)["top-1"] == 1.0


def test_neighbours_are_asked_for_a_number_above_zero():
    with pytest.raises(RecipeError, match="k = 0"):
        Knn(train="train", store="asked", k=0)


def test_a_linear_probe_learns_what_a_line_can_part():
    torch.manual_seed(0)
    label = torch.arange(60) % 2
    features = torch.randn(60, 4) * 0.1
    features[:, 0] += 2.0 * label - 1
    labels = label.tolist()
    whole, swapped = Store(features, label=labels), Store(features, label=[1 - one for one in labels])
    measure = LinearProbe(train="train", store="asked", l2=[1e-3, 10.0])
    assert run(measure, Teacher(), train=whole, asked=whole)["top-1"] == 1.0
    found = run(measure, Teacher(), train=whole, asked=swapped)
    assert found["top-1"] == 0.0 and found["l2"] == 1e-3


def test_a_probe_of_one_image_says_that_it_is_too_few():
    one = Store([0], label=[0])
    with pytest.raises(StoreError, match="too few"):
        run(LinearProbe(train="one", store="one"), Teacher(), one=one)


def test_the_teacher_agrees_with_itself_and_a_turned_space_keeps_its_neighbours():
    torch.manual_seed(0)
    features = torch.randn(20, 4)
    store = Store(features)
    itself = run(Agreement(store="s", prompts="prompts", k=3), Teacher(), s=store, prompts=PROMPTS)
    assert itself["cosine"] == pytest.approx(1.0)
    assert itself["finds"] == itself["neighbours@3"] == itself["same class"] == 1.0
    turned = run(Agreement(store="s", k=3), Student(-features), s=store)
    assert turned["cosine"] == pytest.approx(-1.0) and turned["finds"] == 0.0 and turned["neighbours@3"] == 1.0
    assert turned["neighbours@3.chance"] == pytest.approx(3 / 19)


def test_a_narrower_student_is_compared_by_its_neighbours_alone():
    torch.manual_seed(0)
    features = torch.randn(9, 4)
    found = run(Agreement(store="s", k=2), Student(features[:, :3]), s=Store(features))
    assert "cosine" not in found and 0 <= found["neighbours@2"] <= 1


def test_same_class_is_about_the_teacher_not_the_truth():
    """The teacher takes both for class 1; the student takes the second for class 2."""
    store = Store([1, 1], label=[0, 0])
    found = run(Agreement(store="s", prompts="p", k=1), Student([1, 2]), s=store, p=PROMPTS)
    assert found["same class"] == 0.5


def test_shots_are_so_many_images_of_each_class_whatever_lies_beside_them():
    label = [0, 0, 0, 1, 1, -1, 2]
    store = Store([0] * 7, label=label)
    chosen = shots_of(store, labels_of(store), 2)
    assert np.bincount(np.array(label)[chosen]).tolist() == [2, 2, 1]
    fewer = Store([0] * 3, label=[0] * 3, keys=["0.png", "1.png", "2.png"])
    assert shots_of(fewer, labels_of(fewer), 2).tolist() == [place for place in chosen if place < 3]
    seeds = {tuple(shots_of(store, labels_of(store), 1, seed)) for seed in range(8)}
    assert len(seeds) > 1


def test_shots_are_images_also_where_each_has_several_rows():
    """A caption of a shot that was asked would be asked of what was shown."""
    label = np.repeat([0, 0, 0, 1, 1, 1], 3).tolist()
    images = np.arange(18) // 3
    store = Store([0] * 18, label=label, files=[f"{n}.png" for n in images])
    chosen = shots_of(store, labels_of(store), 2)
    assert len(chosen) == 12 and np.bincount(images[chosen]).tolist().count(3) == 4
    assert np.bincount(np.array(label)[chosen]).tolist() == [6, 6]
    one = Store([0] * 6, label=[0, 0, 0, 0, 1, 1], files=[None, None, "a.png", "a.png", None, None])
    assert {len(shots_of(one, labels_of(one), 1, seed)) for seed in range(8)} == {2, 3}


def test_few_shot_retrieval_mends_a_wrong_prompt_and_asks_no_shot():
    """The prompt of class 1 points elsewhere; of three images of each class one is shown, two are asked."""
    images = Store([0, 0, 0, 1, 1, 1], label=[0, 0, 0, 1, 1, 1])
    prompts = Store(None, [0, 2], [0, 1])
    for alpha, right in ((0.0, 0.5), (1.0, 1.0)):
        measure = FewShot(store="images", prompts="prompts", shots=1, alpha=alpha)
        found = run(measure, Teacher(), images=images, prompts=prompts)
        # Without shots an image of class 1 is as near to one prompt as to the other: the first wins.
        assert (found["images"], found["top-1"]) == (4.0, right)


def test_every_view_of_a_shot_is_the_teachers():
    """Two views of each: the second lies where the student will put class 1."""
    views = torch.stack([AXES[[0, 0]], AXES[[0, 0]], AXES[[1, 3]], AXES[[1, 3]]])
    images, prompts = Store(views, label=[0, 0, 1, 1]), Store(None, [0, 2], [0, 1])
    measure = FewShot(store="images", prompts="prompts", shots=1)
    assert run(measure, Student([0, 0, 3, 3]), images=images, prompts=prompts)["top-1"] == 1.0


def test_shots_leave_something_to_ask():
    """Kind F: fewer shots are no cure where one is the least."""
    for shots, cure in ((5, "lower evals.few_shot.shots = 5, or name"), (1, "name")):
        with pytest.raises(StoreError, match=f"all images are shots; {cure} a store with more images of a class"):
            run(FewShot(store="s", prompts="s", shots=shots), Teacher(), s=Store([0], [0], [0]))
