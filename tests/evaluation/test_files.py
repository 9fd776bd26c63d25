"""Answers hang on what lies in the files that an eval names: masks, lists, names of classes."""

import json

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.evals import Answers, Measure
from distillkit.evaluation import files as files_of_evals
from distillkit.evaluation.asked import asked_of
from distillkit.evaluation.compared import _other_questions
from distillkit.evaluation.files import Contents
from distillkit.evaluation.measured import Asking
from distillkit.evaluation.result import changed_since
from distillkit.recipe import Component
from tests.evals.test_contract import PROMPTS, component_of
from tests.evals.worlds import Store
from tests.evaluation.test_counted import Said

READ = {
    "asymmetric_retrieval": "names.txt",
    "few_shot": "names.txt",
    "knn": "names.txt",
    "linear_depth": "0.png",
    "linear_probe": "names.txt",
    "linear_segmentation": "0.png",
    "multi_label": "a_test.txt",
    "patch_knn": "0.png",
    "sgd_probe": "names.txt",
    "zero_shot": "names.txt",
}


class Named:
    """An eval whose answers hang on these files."""

    def __init__(self, *files):
        self.named = {"lists": files}

    def files(self, open_store):
        return self.named


def said_of(component):
    """What is asked, in the small world of the evals' contract."""
    images = Said([0, 1, 2] * 4, [0, 1, 2] * 4, [0, 1, 2] * 4, ["a", "b", "c"] * 4)
    prompts = Said(None, [0, 1, 2], [0, 1, 2], PROMPTS.index["text"].to_pylist())
    images.class_numbers = {}
    (one,) = asked_of([component], {"images": images, "prompts": prompts}.__getitem__, {}, "x")
    return one


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_changes_makes_kept_answers_others_and_it_is_said_why(kind, tmp_path):
    component = component_of(kind, tmp_path)
    before = said_of(component)
    assert said_of(component).made_of == before.made_of and len(before.files) >= 1
    (tmp_path / "of nobody.png").write_bytes(b"beside them")
    assert said_of(component).made_of == before.made_of
    path = tmp_path / READ[kind]
    path.write_bytes(path.read_bytes() + b"\n")  # as far as the answers know, anything
    now = said_of(component)
    changed = [knob for knob in now.files if now.files[knob] != before.files[knob]]
    assert changed and now.made_of == before.made_of | {"files": now.files}
    told = _other_questions({"older": [_asking(before.made_of)], "newer": [_asking(now.made_of)]})
    assert f"older and newer were not asked the same (files: {min(changed)}: '" in told
    for kept, why in (
        (before.made_of, f"its files ({', '.join(changed)}) have changed since"),
        (_without_files(before), f"nothing was kept of what its files ({', '.join(now.files)}) held then"),
    ):
        (tmp_path / "evaluation.json").write_text(json.dumps({"networks": {}, "evals": {now.name: kept}}))
        assert changed_since(tmp_path, [now], {}) == [f"{now.name}: measured anew, as {why}"]


def _asking(made_of):
    return Asking(Answers(key=["a"], columns={"hit": np.ones(1)}, measures=(Measure("hit", "hit"),)), made_of)


def _without_files(asked):
    """As an older version kept it."""
    return {key: value for key, value in asked.made_of.items() if key != "files"}


def test_of_an_eval_that_names_no_file_all_is_as_ever():
    stores = {name: Said([0, 1], label=[0, 0]) for name in "st"}
    (one,) = asked_of([Component(kind="knn", store="s", train="t")], stores.__getitem__, {}, "x")
    assert one.files == {} and "files" not in one.made_of


def test_names_and_contents_count_and_neither_where_they_lie_nor_their_order(tmp_path):
    def said(folder, **content):
        for name, text in content.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(text)
        return Contents().of(Named(*(tmp_path / folder / name for name in content)), None)["lists"]

    first = said("one", a="cat", b="dog")
    assert said("other", b="dog", a="cat") == first
    others = [said("more", a="dog", b="cat"), said("more", a="cat", c="dog"), said("more", a="cat"), said("more")]
    assert len({first, *others}) == 5


def test_files_are_read_once_in_a_command_and_anew_in_the_next(tmp_path, monkeypatch):
    read, real = [], files_of_evals.file_digest
    monkeypatch.setattr(files_of_evals, "file_digest", lambda path: read.append(path) or real(path))
    component, other = (component_of(kind, tmp_path) for kind in ("patch_knn", "linear_segmentation"))
    images = Said([0] * 12, keys=[f"{n}.png" for n in range(12)])
    for _ in range(2):
        contents = Contents()
        for _ in range(2):  # as of two runs
            asked_of([component, other], lambda name: images, {}, "x", contents)
    assert len(read) == 2 * 12


def test_masks_are_those_of_the_images_that_are_learned_from_or_asked(tmp_path):
    component = component_of("patch_knn", tmp_path)
    keys = [f"{n}.png" for n in range(4)]
    stores = {"images": Store([0] * 4, keys=keys, files=keys), "some": Store([0], keys=keys[:1], files=keys[:1])}
    measure = Component(**component.model_dump() | {"store": "some"}).build("evals")
    found = {knob: [path.name for path in files] for knob, files in measure.files(stores.__getitem__).items()}
    assert found == {"train_masks": keys[1:], "masks": keys[:1]}


@pytest.mark.parametrize("what", ["folder", "nothing"])
def test_what_cannot_be_read_is_one_line(what, tmp_path):
    path = tmp_path if what == "folder" else tmp_path / "lost.txt"
    with pytest.raises(StoreError, match=r"cannot be read \(.*\); mend it, or name another") as error:
        Contents().of(Named(path), None)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
