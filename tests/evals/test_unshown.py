"""Images of classes that nothing was learned of are counted, named, and are no baseline."""

from pathlib import Path

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.evals._held import unshown
from distillkit.evals._labels import UNSHOWN, Labels
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.multi_label import MultiLabel
from distillkit.evals.sgd_probe import SgdProbe
from distillkit.evals.zero_shot import ZeroShot
from tests.evals.worlds import Store, Teacher, run

PROBES = {
    "knn": Knn(train="t", store="s", k=1),
    "linear_probe": LinearProbe(train="t", store="s", l2=[1e-3]),
    "sgd_probe": SgdProbe(train="t", store="s", epochs=3, batch=4, rates=[0.1]),
}


def images(labels, path="toy", **knobs):
    store = Store(labels, label=labels, **knobs)
    store.path = Path(path)
    store.class_numbers = {"cat": 0, "dog": 1, "nebulae": 2}
    return store


@pytest.mark.parametrize("kind", PROBES)
def test_classes_without_an_example_are_told_and_are_not_the_most_frequent_that_is_said(kind):
    stores = {"t": images([0, 1] * 4, "train"), "s": images([0, 0, 1, 2, 2, 2], "later")}
    measure = PROBES[kind]
    found = run(measure, Teacher(), **stores)
    assert (found["images"], found["classes"], found[UNSHOWN], found["top-1"]) == (6.0, 3.0, 3.0, 0.5)
    assert "top-1.majority" not in found  # two of six are no more than one class of three; the unshown are half
    (line,) = unshown(measure.check(stores.__getitem__))
    assert line.startswith(
        "later: 3 of 6 images are of 1 class that train has no example of, as 2, 'nebulae', so nobody can learn them; "
        "add such images to train, or take the others of later alone"
    )
    (answers,) = measure.run(Teacher(), stores.__getitem__)
    assert answers.columns[UNSHOWN].tolist() == [0, 0, 0, 1, 1, 1]
    stores["s"] = images([0, 0, 1], "later")
    assert UNSHOWN not in run(measure, Teacher(), **stores) and unshown(measure.check(stores.__getitem__)) == []


def test_an_image_is_no_example_of_its_class_for_itself():
    store = images([0, 0, 1, 2], files=["a", "b", "c", "d"])
    found = run(Knn(train="s", store="s", k=1), Teacher(), s=store)
    assert (found[UNSHOWN], found["top-1"], found["mean per class.chance"]) == (2.0, 0.5, pytest.approx(1 / 3))
    every = images([0, 1, 2], files=["a", "b", "c"])  # where none has an example, no answer said of all is right
    found = run(Knn(train="s", store="s", k=1), Teacher(), s=every)
    assert found[UNSHOWN] == 3.0 and "top-1.majority" not in found and "mean per class.majority" not in found


def test_those_that_choose_are_learned_from_too():
    stores = {"t": images([0, 1] * 4), "v": images([2, 1]), "s": images([0, 1, 2])}
    probe = LinearProbe(train="t", validation_store="v", store="s", l2=[1e-3])
    assert unshown(probe.check(stores.__getitem__)) == []


def test_what_begins_at_prompts_knows_every_class():
    prompts = Store(None, [0, 1, 2], [0, 1, 2], ["cat", "dog", "nebulae"])
    stores = {"t": images([0, 1] * 4), "s": images([0, 1, 2]), "p": prompts}
    assert unshown(SgdProbe(train="t", store="s", prompts="p").check(stores.__getitem__)) == []


def test_one_of_several_labels_that_no_image_to_learn_from_has(tmp_path):
    hit = np.array([[n % 2, n >= 15] for n in range(30)])
    for column, name in enumerate("ab"):
        for part, rows in (("test", range(10, 30)), ("trainval", range(10))):
            lines = (f"{n:06d} {'1' if hit[n, column] else '-1'}\n" for n in rows)
            (tmp_path / f"{name}_{part}.txt").write_text("".join(lines))
    store = Store([0] * 30, keys=[f"{n:06d}.jpg" for n in range(30)])
    found = run(MultiLabel(store="s", train="s", labels=str(tmp_path), l2=[1.0]), Teacher(), s=store)
    assert found[UNSHOWN] == 15.0


def test_a_class_that_prompts_lack_is_refused_by_its_name():
    stores = {"s": images([0, 1, 2, 2], "later"), "p": Store(None, [0, 1], [0, 1], ["a cat", "a dog"])}
    told = r"later: 2 of 4 images are of 1 class that toy does not know, as 2, 'nebulae' \(it has 2, 0 to 1\); add"
    with pytest.raises(StoreError, match=told):
        ZeroShot(store="s", prompts="p").check(stores.__getitem__)
    stores["s"].class_numbers = {}
    with pytest.raises(StoreError, match=r"does not know, as 2 \(it has 2"):
        ZeroShot(store="s", prompts="p").check(stores.__getitem__)


def test_classes_are_called_by_number_and_where_they_have_one_by_name():
    labels = Labels(Path("s"), np.arange(5), np.arange(5), 5)
    assert labels.called([3]) == "3" and labels.called([3, 4]) == "3, 4"
    assert labels.called(list(range(1005))) == "0, 1, 2 and 1,002 more"
    named = Labels(Path("s"), np.arange(5), np.arange(5), 5, names={"cat": 3, "tom": 3})
    assert named.called([3, 4]) == "3, 'cat' and 4"
