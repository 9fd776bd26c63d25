"""Images of classes that nothing was learned of are counted, named, and are no baseline."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distillkit.errors import StoreError
from distillkit.evals._held import unshown
from distillkit.evals._labels import UNSHOWN, Labels
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.linear_segmentation import LinearSegmentation
from distillkit.evals.multi_label import MultiLabel
from distillkit.evals.patch_knn import PatchKnn
from distillkit.evals.sgd_probe import SgdProbe
from distillkit.evals.zero_shot import ZeroShot
from distillkit.system.progress import heard_by
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
    for column, name in enumerate(["cat", "dog"]):
        for part, rows in (("test", range(10, 30)), ("trainval", range(10))):
            lines = (f"{n:06d} {'1' if hit[n, column] else '-1'}\n" for n in rows)
            (tmp_path / f"{name}_{part}.txt").write_text("".join(lines))
    store = Store([0] * 30, keys=[f"{n:06d}.jpg" for n in range(30)])
    measure = MultiLabel(store="s", train="s", labels=str(tmp_path), l2=[1.0])
    found = run(measure, Teacher(), s=store)
    assert found[UNSHOWN] == 15.0
    assert unshown(measure.check({"s": store}.__getitem__)) == [
        "toy: 15 of 20 images are of 1 class that toy has no example of, as 'dog', so nobody can learn them; add such "
        "images to toy, or take the others of toy alone: distillkit store view --keys"
    ]
    assert (
        unshown(
            MultiLabel(store="s", labels=str(tmp_path), train="s", part="trainval", train_part="test").check(
                {"s": store}.__getitem__
            )
        )
        == []
    )


MASKED = {
    "linear_segmentation": lambda **knobs: LinearSegmentation(steps=2, batch=2, **knobs),
    "patch_knn": lambda **knobs: PatchKnn(k=1, **knobs),
}


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("kind", MASKED)
def test_classes_of_masks_that_no_mask_to_learn_from_has(kind, blind, tmp_path):
    """Also of a network that says nothing: what is there to learn is the masks' own matter."""
    masks = np.ones((6, 16, 16), np.uint8)
    masks[:, :4], masks[:, 4:8] = 2, 255  # which is no class
    masks[3:5, 8:] = 4
    masks[3, :4], masks[4, 8:12] = 4, 3
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    network = Teacher()
    network.blank = blind
    stores = {}
    for name, rows in (("train", range(3)), ("later", range(3, 6))):
        stores[name] = Store([0] * 3, keys=[f"{row}.jpg" for row in rows])
        stores[name].path = Path(name)
    measure = MASKED[kind](train="train", store="later", masks=str(tmp_path), classes=5, first_class=1, side=16)
    heard = []
    with heard_by(heard.append):
        (answers,) = measure.run(network, stores.__getitem__)
    assert [line for line in heard if "no example" in line] == [
        "later: 2 of 3 images are of 2 classes that train has no example of, as 3, 4, so nobody can learn them; add "
        "such images to train, or take the others of later alone: distillkit store view --keys"
    ]
    assert answers.facts[UNSHOWN] == 2.0
    (right,) = (measure for measure in answers.measures if measure.name == "pixels right")
    assert right.majority == pytest.approx(2 / 9), "of 4, which is twice as frequent, nobody can say that it is there"
    heard.clear()
    with heard_by(heard.append):
        (answers,) = MASKED[kind](
            train="later", store="train", masks=str(tmp_path), classes=5, first_class=1, side=16
        ).run(network, stores.__getitem__)
    assert not [line for line in heard if "no example" in line] and UNSHOWN not in answers.facts


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
