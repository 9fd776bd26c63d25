"""Kind A, labels taken as array indices, and kind B, ties and doubles that decide silently: in every measure."""

import resource

import pytest
import torch

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._classes import prompted
from distillkit.evals._labels import labels_of
from distillkit.evals.agreement import Agreement
from distillkit.evals.few_shot import FewShot
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe
from distillkit.evals.retrieval import Retrieval
from distillkit.evals.zero_shot import ZeroShot
from tests.evals.worlds import Store, Student, Teacher, run

LABELLED = {
    "zero_shot": lambda **knobs: ZeroShot(store="images", prompts="prompts", **knobs),
    "few_shot": lambda **knobs: FewShot(store="images", prompts="prompts", shots=1, **knobs),
    "knn": lambda **knobs: Knn(store="images", train="images", k=1, **knobs),
    "linear_probe": lambda **knobs: LinearProbe(store="images", train="images", **knobs),
}
EVERY = pytest.mark.parametrize("kind", LABELLED)
LARGE = [0, 2**31, 1440764, 2**63 - 1]


def measured(kind, label, *, ids=(0, 1, 2, 3), axes=None, names=None, **knobs):
    """Four images of each of four axes, labelled so; the prompts of `ids` lie on the axes in their order."""
    images = Store(axes or [0, 1, 2, 3] * 4, label=label)
    prompts = Store(None, list(range(len(ids))), list(ids), names)
    return run(LABELLED[kind](**knobs), Teacher(), images=images, prompts=prompts)


@EVERY
@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [3, 7, 11, 90], [1, 2, 3, 4], sorted(LARGE)], ids=str)
def test_kind_a_numbers_of_classes_are_names(kind, ids):
    """Holes, labels from 1, and ids as large as an int64 are classes like any other: there are four of them."""
    found = measured(kind, ids * 4, ids=ids)
    assert (found["top-1"], found["classes"], found["top-1.chance"]) == (1.0, 4.0, 0.25)
    assert "unlabelled" not in found


@EVERY
@pytest.mark.parametrize("none", [-1, None, -100])
def test_kind_a_images_without_a_class_are_left_out_and_counted(kind, none):
    found = measured(kind, [0, 1, 2, none] + [0, 1, 2, 3] * 3)
    asked = 15.0 - (4 if kind == "few_shot" else 0)
    assert (found["images"], found["top-1"], found["unlabelled"]) == (asked, 1.0, 1.0)


@EVERY
def test_kind_a_where_no_image_has_a_class_the_knobs_are_named(kind):
    for label in ([None] * 16, [-1] * 16):
        with pytest.raises(StoreError, match=r"toy: none of its 16 images has a class; .*label_column.*classes"):
            measured(kind, label)


@pytest.mark.parametrize("kind", ["zero_shot", "few_shot"])
def test_kind_a_classes_without_prompts_are_refused_with_their_number(kind):
    told = (
        r"toy: 4 of 16 images are of 1 class that toy does not know, as 4 \(it has 4, 0 to 3\); set first_class = -1 "
    )
    with pytest.raises(StoreError, match=told):
        measured(kind, [1, 2, 3, 4] * 4)
    assert measured(kind, [1, 2, 3, 4] * 4, first_class=-1)["top-1"] == 1.0
    with pytest.raises(StoreError, match="cannot begin at first_class = -1"):
        measured(kind, [0, 1, 2, 3] * 4, first_class=-1)
    with pytest.raises(StoreError, match=r"has 4, 0 to 3\); set first_class = 0 if they count"):
        measured(kind, [1, 2, 3, 0] * 4, first_class=5)
    with pytest.raises(StoreError, match=r"has 4, 0 to 3\); add their prompts, or"):  # no first class would help
        measured(kind, [0, 1, 2, 4] * 4)


@pytest.mark.parametrize("kind", ["zero_shot", "few_shot"])
def test_kind_a_a_class_of_no_image_is_a_class(kind):
    found = measured(kind, [0, 1] * 8, axes=[0, 1] * 8)
    assert (found["top-1"], found["mean per class"], found["classes"]) == (1.0, 1.0, 4.0)


@pytest.mark.parametrize("measure", [Knn, LinearProbe])
def test_kind_a_what_is_asked_shares_a_class_with_what_is_known(measure):
    train, asked = Store([0, 1], label=[0, 1]), Store([0, 1], label=[1, 2])
    found = run(measure(train="t", store="a"), Teacher(), t=train, a=asked)
    assert found["classes"] == 3.0 and found["images"] == 2.0
    strange = Store([0, 1], label=[1440764, 1443537])
    with pytest.raises(StoreError, match=r"none of its classes \(1440764 to 1443537\) is one of toy \(0 to 1\)"):
        run(measure(train="t", store="a"), Teacher(), t=train, a=strange)


@EVERY
def test_kind_a_is_refused_before_anything_is_encoded(kind):
    class Asleep:
        def __call__(self, store):
            raise AssertionError("asked")

    images, prompts = Store([0, 1], label=[None, -1]), Store(None, [0, 1], [0, 1])
    with pytest.raises(StoreError, match="has a class"):
        run(LABELLED[kind](), Asleep(), images=images, prompts=prompts)


def test_kind_a_prompts_without_classes():
    with pytest.raises(StoreError, match="none of its texts has a class; class prompts come from"):
        measured("zero_shot", [0, 1, 2, 3] * 4, ids=(-1, None))


def test_kind_i_classes_take_memory_by_their_number_not_by_the_largest():
    ids = [0, 1, 2, 2**27]  # by the largest, one of them alone would take 2 GiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind in LABELLED:
        measured(kind, ids * 4, ids=ids)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_kind_b_equal_names_are_one_class_and_told():
    """`crane, ship, crane`: the third is the first. Which of them an image is labelled as makes no difference."""
    prompts = Store(None, [0, 1, 0], [0, 1, 2], ["a crane", "a ship", "a crane"])
    images = Store([0, 1, 0], label=[0, 1, 2])
    found = run(ZeroShot(store="images", prompts="prompts"), Teacher(), images=images, prompts=prompts)
    assert (found["top-1"], found["classes"], found["top-1.chance"], found["equal names"]) == (1.0, 2.0, 0.5, 1.0)
    assert prompted(prompts).note == "toy: classes of equal names are one: 0 and 2"
    assert (
        run(Agreement(store="images", prompts="prompts", k=1), Teacher(), images=images, prompts=prompts)["classes"]
        == 2
    )


def test_kind_b_a_class_of_several_ids_has_as_many_shots_as_any_other():
    prompts = Store(None, [0, 1, 0], [0, 1, 2], ["a crane", "a ship", "a crane"])
    images = Store([0, 1, 0] * 4, label=[0, 1, 2] * 4)
    stores = {"images": images, "prompts": prompts}
    shown, asked, _ = FewShot(store="images", prompts="prompts", shots=2).check(stores.__getitem__)
    assert sorted(0 if one == 2 else one for one in shown.ids.tolist()) == [0, 0, 1, 1]
    assert not set(shown.places) & set(asked.places)


def test_kind_b_names_are_equal_whatever_their_unicode_form(tmp_path):
    composed, parted = "caf\u00e9", "cafe\u0301"
    prompts = Store(None, [0, 1, 0], [0, 1, 2], [composed, "tea", parted])
    assert len(prompted(prompts)) == 2
    for listed, said in ((composed, parted), (parted, composed)):
        (tmp_path / "names.txt").write_text(f"tea\n{listed}\r\n", "utf-8")
        assert labels_of(Store([0, 1], names=[said, "tea"]), str(tmp_path / "names.txt")).ids.tolist() == [1, 0]


def test_kind_b_classes_that_share_some_prompts_only_stay_apart():
    prompts = Store(None, [0, 1, 0, 2], [0, 0, 1, 1], ["a bird", "a crane", "a bird", "a jay"])
    assert len(prompted(prompts)) == 2 and prompted(prompts).note == ""


def test_kind_b_of_a_name_on_two_lines_the_first_counts(tmp_path):
    (tmp_path / "names.txt").write_text("crane\nship\ncrane\n")
    store = Store([0, 1], names=["crane", "ship"])
    assert labels_of(store, str(tmp_path / "names.txt")).ids.tolist() == [0, 1]


def test_captions_that_are_no_class_are_counted_and_named(tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(StoreError, match=r"toy: 2 of 3 captions are no class of .*names.txt, such as 'c'; add their"):
        labels_of(Store([0, 1, 2], names=["a", "c", "d"]), str(tmp_path / "names.txt"))
    found = labels_of(Store([0, 1, 2], names=["a", None, "b"]), str(tmp_path / "names.txt"))
    assert found.ids.tolist() == [0, 1] and found.places.tolist() == [0, 2] and found.unlabelled == 1
    with pytest.raises(StoreError, match="none of its 2 images has a class"):
        labels_of(Store([0, 1], names=[None, ""]), str(tmp_path / "names.txt"))


def test_a_file_of_names_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "names.txt").write_bytes("caf\u00e9\n".encode("latin-1"))
    for name, told in (("names.txt", "not UTF-8"), ("nowhere.txt", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(RecipeError, match=told):
            labels_of(Store([0], names=["a"]), str(tmp_path / name))


@EVERY
@pytest.mark.parametrize("said", [1.0, 0.0, float("nan")])
def test_kind_b_a_network_that_says_the_same_of_everything_is_at_chance(kind, said):
    constant = Student(torch.full((16, 4), said), text=torch.full((4, 4), said))
    images = Store(torch.full((16, 4), 1.0), label=[0, 1, 2, 3] * 4)
    found = run(LABELLED[kind](), constant, images=images, prompts=Store(None, [0] * 4, [0, 1, 2, 3]))
    assert found["mean per class"] == pytest.approx(found["mean per class.chance"])
    if kind == "zero_shot":
        assert found["top-1"] == 0.25


def test_kind_b_ties_go_to_the_first_as_arg_max_has_them():
    images, prompts = Store([0, 0, 1], label=[0, 1, 2]), Store(None, [0, 0, 1], [0, 1, 2], ["a", "b", "c"])
    found = run(ZeroShot(store="images", prompts="prompts"), Teacher(), images=images, prompts=prompts)
    assert found["top-1"] == pytest.approx(2 / 3)
    constant = Student(torch.ones(4, 4), text=[0, 0, 0, 0])
    retrieved = run(Retrieval(store="s", ks=[1]), constant, s=Store([0, 1, 2, 3], [0, 1, 2, 3], names=list("abcd")))
    assert retrieved["R@1"] == retrieved["R@1.chance"] == 0.25
