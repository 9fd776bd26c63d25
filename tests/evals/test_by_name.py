"""Classes that two stores number otherwise are one where their names are; and where nothing says so, that is told."""

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.evals._by_name import by_name
from distillkit.evals._class_order import any_matched, orders_of
from distillkit.evals._labels import Labels
from distillkit.evals.asymmetric_retrieval import AsymmetricRetrieval
from distillkit.evals.few_shot import FewShot
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.robustness import Robustness
from distillkit.evals.sgd_probe import SgdProbe
from distillkit.evals.zero_shot import ZeroShot
from distillkit.training.texts import ClassTexts
from tests.evals.worlds import Store, Teacher, run

NAMES = ["cat", "dog", "Sea_Lion", "wild cat"]
MATCHED = "classes matched by name"


class Named(Store):
    def __len__(self):
        return len(self.ok_rows)


def images(order, times=4, named=True, path="toy"):
    """Images of every class, each on its axis, which is its place in NAMES; `order`: the number of each."""
    store = Named([0, 1, 2, 3] * times, label=[order[axis] for axis in (0, 1, 2, 3)] * times)
    store.class_numbers = dict(zip(NAMES, order, strict=True)) if named else {}
    store.path = path
    return store


def prompts(axes, names):
    return Store(None, axes, list(range(len(axes))), [f"a photo of a {name}." for name in names])


BETWEEN = {
    "knn": Knn(train="t", store="s", k=1),
    "linear_probe": LinearProbe(train="t", store="s", validation_store="v"),
    "sgd_probe": SgdProbe(train="t", store="s", validation_store="v", epochs=3, batch=4, rates=[0.1]),
    "asymmetric_retrieval": AsymmetricRetrieval(store="s", gallery="t", ks=[1]),
}
BY_TEXTS = {
    "zero_shot": ZeroShot(store="s", prompts="p"),
    "few_shot": FewShot(store="s", prompts="p", shots=1, alpha=0.0),
    "sgd_probe": SgdProbe(train="t", store="s", prompts="p", epochs=1, batch=4, rates=[0.001]),
    "robustness": Robustness(store="s", prompts="p", shifted={"x": {"store": "t", "prompts": "p"}}),
}


@pytest.mark.parametrize("kind", BETWEEN)
def test_every_measure_between_stores_matches_their_classes_by_name(kind):
    stores = {"s": images([0, 1, 2, 3], path="s"), "t": images([2, 3, 0, 1], path="t"), "v": images([3, 2, 1, 0])}
    found = run(BETWEEN[kind], Teacher(), **stores)
    assert found["top-1" if kind != "asymmetric_retrieval" else "R@1"] == 1.0 and found[MATCHED] == 4.0
    line, *_ = orders_of(BETWEEN[kind], stores.__getitem__)
    told = "4 classes matched by name, as 'cat', which is 2 here and 0 there"
    assert line == f"t: its classes are numbered otherwise than those of s: {told}"
    assert any_matched(BETWEEN[kind], stores.__getitem__)


@pytest.mark.parametrize("kind", BY_TEXTS)
def test_every_measure_by_texts_matches_classes_to_prompts_by_name(kind):
    """The prompt of "wild cat" is none of "cat", and Sea_Lion is a sea lion."""
    texts = prompts([3, 0, 1, 2], ["wild cat", "cat", "dog", "sea lion"])
    stores = {"s": images([0, 1, 2, 3]), "t": images([3, 2, 1, 0]), "p": texts}
    found = run(BY_TEXTS[kind], Teacher(), **stores)
    assert found["top-1"] == 1.0 and found[MATCHED] == 4.0
    (line, *_) = orders_of(BY_TEXTS[kind], stores.__getitem__)
    assert "4 classes of 4 are named under another number" in line and line.endswith(
        "; they are matched by their names"
    )


@pytest.mark.parametrize("kind", BY_TEXTS)
def test_few_classes_that_stand_elsewhere_are_matched_where_prompts_are_the_names(kind):
    """Of folders that lack a class in between all behind it move by one, which may be few of all."""
    stores = {"s": images([0, 1, 2, 3]), "t": images([0, 1, 2, 3])}
    stores["p"] = prompts([1, 0, 2, 3], ["dog", "cat", "sea lion", "wild cat"])
    found = run(BY_TEXTS[kind], Teacher(), **stores)
    assert found["top-1"] == 1.0 and found[MATCHED] == 2.0
    (line, *_) = orders_of(BY_TEXTS[kind], stores.__getitem__)
    assert "2 classes of 4 are named under another number, as 'cat', which is 0 there and 1 here; they" in line
    stores["p"] = prompts([1, 0, 2, 0], ["dog", "cat", "sea lion", "cow"])
    with pytest.raises(StoreError, match=r"none of them is found by its name alone for class 3, 'wild cat'"):
        BY_TEXTS[kind].check(stores.__getitem__)


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog", "sea lion", "Felis"],  # a class that is worded otherwise, where it should be
        ["feline", "dog", "sea lion", "cat toy"],  # a name that is a part of another's
        ["Felis catus", "Canis", "Zalophus", "Felis"],
    ],
)
def test_what_is_only_worded_otherwise_goes_by_its_number(names):
    stores = {"s": images([0, 1, 2, 3]), "p": prompts([0, 1, 2, 3], names)}
    assert MATCHED not in run(BY_TEXTS["zero_shot"], Teacher(), **stores)
    assert list(orders_of(BY_TEXTS["zero_shot"], stores.__getitem__)) == []


def test_training_learns_from_the_prompts_of_the_same_name():
    store = images([0, 1, 2, 3])
    texts = ClassTexts(store, prompts([3, 0, 1, 2], ["wild cat", "cat", "dog", "sea lion"]), None)
    assert texts.labels.tolist() == [1, 2, 3, 0] * 4


@pytest.mark.parametrize("kind", BY_TEXTS)
def test_prompts_in_another_order_that_no_name_finds_are_refused(kind):
    """Three of four stand elsewhere; the fourth is worded otherwise, so nobody can say which prompts are its own."""
    stores = {
        "s": images([0, 1, 2, 3]),
        "t": images([0, 1, 2, 3]),
        "p": prompts([1, 2, 0, 3], ["dog", "sea lion", "cat", "Felis"]),
    }
    want = (
        r"another order than the classes of toy: 3 classes of 4 .* and none of them is found by its name alone for "
        r"class 3, 'wild cat'; extract the prompts"
    )
    with pytest.raises(StoreError, match=want):
        BY_TEXTS[kind].check(stores.__getitem__)


def labels(names, ids=None):
    ids = sorted(names.values()) if ids is None else ids
    return Labels("x", np.arange(len(ids)), np.array(ids), len(ids), names=names)


@pytest.mark.parametrize(
    ("train", "asked", "found"),
    [
        ({"a": 0, "b": 1}, {"a": 0, "b": 1}, [0, 1]),
        ({"b": 0, "a": 1}, {"a": 0, "b": 1}, [1, 0]),
        ({"a": 0, "yak": 1}, {"a": 0, "b": 1}, [0, 2]),  # what the other store calls 1 is another class
        ({"a": 0, "yak": 7}, {"a": 0, "b": 1}, [0, 7]),
        ({"x": 0, "y": 1}, {"a": 1, "b": 0}, [0, 1]),  # no name in common: numbers, as they are
        ({"b": 0, "a": 0}, {"a": 0, "b": 1}, [0]),  # one class here, two there
        ({}, {"a": 1, "b": 0}, []),
    ],
)
def test_names_move_what_they_know_and_nothing_else(train, asked, found):
    given = labels(train, sorted(set(train.values())))
    one, other = by_name(given, labels(asked))
    assert one.ids.tolist() == found and other.ids.tolist() == sorted(asked.values())
    if found == given.ids.tolist():
        assert one is given and not other.matched


def test_a_class_that_the_asked_store_lacks_is_one_in_all_others():
    first, second, _ = by_name(labels({"a": 0, "yak": 1}), labels({"yak": 0, "a": 1}), labels({"a": 0, "b": 1}))
    assert first.ids.tolist() == [0, 2] and second.ids.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ((True, False), "t: the classes of s have no names, those of t have, so equal numbers are taken for one class"),
        ((False, True), "t: the classes of t have no names, those of s have, so equal numbers are taken for one class"),
        ((False, False), None),
        ((True, True), None),
    ],
)
def test_where_one_store_alone_has_names_that_is_told(named, told):
    stores = {name: images([0, 1, 2, 3], named=one, path=name) for name, one in zip("ts", named, strict=True)}
    lines = list(orders_of(BETWEEN["knn"], stores.__getitem__))
    assert [line.split(";")[0] for line in lines] == ([told] if told else [])
    assert not any_matched(BETWEEN["knn"], stores.__getitem__)
    assert MATCHED not in run(BETWEEN["knn"], Teacher(), **stores)


def test_names_of_which_none_is_shared_are_told():
    stores = {"s": images([0, 1, 2, 3], path="s"), "t": images([0, 1, 2, 3], path="t")}
    stores["t"].class_numbers = {"w": 0, "x": 1, "y": 2, "z": 3}
    (line,) = orders_of(BETWEEN["knn"], stores.__getitem__)
    assert line.startswith("t: its names of classes and those of s do not say which are one, so equal numbers are")


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({"dog": 0, "Sea_Lion": 1, "bird": 2}, "2 classes matched by name, as 'dog', which is 1 here and 0 there"),
        ({"dog": 1, "Sea_Lion": 2, "bird": 0}, None),
    ],
)
def test_classes_that_only_make_room_for_others_are_not_told_as_matched(there, told):
    """A cat is no bird, which has its number there; that it gets a free one is nothing to tell."""
    asked = Named([1, 2, 3] * 4, label=[*there.values()] * 4)
    asked.class_numbers, asked.path = there, "s"
    stores = {"s": asked, "t": images([0, 1, 2, 3], path="t")}
    found = run(BETWEEN["knn"], Teacher(), **stores)
    assert found["top-1"] == pytest.approx(2 / 3) and found.get(MATCHED, 0.0) == (2.0 if told else 0.0)
    lines = list(orders_of(BETWEEN["knn"], stores.__getitem__))
    assert lines == ([f"t: its classes are numbered otherwise than those of s: {told}"] if told else [])
    assert any_matched(BETWEEN["knn"], stores.__getitem__)
