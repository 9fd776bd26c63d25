"""What a student was trained on is what it was trained on: of a view its rows, and of then."""

import html
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.evaluation.measured import Asking
from distillkit.evaluation.rows import read_rows
from distillkit.report import overlap
from distillkit.report.answers import listed
from distillkit.report.heard import heard
from distillkit.report.named import called_answers, called_classes
from distillkit.report.then import as_then
from distillkit.report.training import looked_at
from distillkit.runfolder import RunFolder
from distillkit.store.format.classes import write_classes
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from tests.records import without_checksum
from tests.report.conftest import written
from tests.store.conftest import make_toy  # noqa: F401


def seen(*stores):
    """What a headline says."""
    return overlap.seen(*stores)[0]


def test_of_a_view_only_its_rows_were_trained_on(world):
    base, train, held = (FeatureStore(world / name) for name in ("images", "train", "held"))
    assert seen(held, train) == "on images it never saw" == seen(train, held)
    assert seen(base, train) == "on images of which it was trained on 40"
    assert seen(held, base) == seen(train, train) == "on images it was trained on"
    assert seen(held, train, held) == "on images it was trained on"


def test_copies_of_what_a_view_has_are_told_and_of_what_it_has_not_are_not(world, tmp_path):
    """The same files below another folder are copies."""
    shutil.copytree(world / "images", tmp_path / "copies")
    manifest = json.loads((tmp_path / "copies/manifest.json").read_text())
    manifest["source"]["root"] = "/elsewhere"
    (tmp_path / "copies/manifest.json").write_text(json.dumps(manifest))
    copies = FeatureStore(tmp_path / "copies")
    assert (
        seen(copies, FeatureStore(world / "train")) == "on images of which 40 look to the teacher like one in training"
    )
    select(tmp_path / "copies", np.arange(39, 45), tmp_path / "few")
    few = FeatureStore(tmp_path / "few")
    assert seen(few, FeatureStore(world / "train")) == "on images of which 1 looks to the teacher like one in training"


def test_a_report_on_another_view_of_the_store_says_that_it_never_saw_them(out):
    for text in written(out):
        assert "on images it never saw" in text and "it was trained on" not in text
        assert "another one than at training" not in text
        assert "was asked once about 70 images (40 of them in training)" in text and "has changed since" not in text


def test_rows_of_one_image_are_not_told_as_images(out, monkeypatch):
    """Every caption of an image may be a row."""
    monkeypatch.setattr("distillkit.system.one_image.images_of", lambda store, rows: np.asarray(rows) // 2)
    for text in written(out):
        assert "was asked once about 70 rows of 35 images (40 of the rows in training)" in text
    base, train = (FeatureStore(out / name) for name in ("images", "train"))
    assert seen(base, train) == "on images of which it was trained on 20"
    select(out / "images", np.arange(50), out / "train")
    for text in written(out):
        assert "was asked once about 70 rows of images (40 of the rows in training)" in text


def test_an_eval_of_another_file_by_the_same_name_is_told_by_its_own_store(out):
    path = out / "run/evaluation.json"
    path.write_text(path.read_text().replace(f'"{out}/held"', f'"{out}/train"'))
    assert all("on images it was trained on" in text for text in written(out))


def test_of_a_view_made_again_with_more_rows_the_report_tells_those_of_then(out):
    select(out / "images", np.arange(50), out / "train")
    for text in written(out):
        assert "was asked once about 70 images (40 of them in training)" in text and "on images it never saw" in text
        assert "/train has changed since the student was trained (digest " in text
        assert "; 40 rows then, 50 now)" in text
        (line,) = (
            line for line in text.splitlines() if "a view of 50 of the 70 rows" in line and "no pass" not in line
        )
        assert "another one than at training: 40 rows then, 50 now" in line
        assert text.count("another one than at training") == 1


def test_of_a_view_made_again_with_other_rows_nobody_knows_what_was_trained_on(out):
    select(out / "images", np.arange(5, 60), out / "train")
    for text in written(out):
        assert "was asked once about 70 images (40 of them in training)" in text
        assert f"on images that it may have been trained on, as {out}/train has changed since" in text


def test_a_run_that_did_not_record_how_many_rows_its_stores_had_says_so(out):
    path = out / "run/student.json"
    facts = json.loads(path.read_text())
    assert facts.pop("asked") == {"images": 70, "texts": 160}
    path.write_text(without_checksum(facts))
    for text in written(out):
        assert "was asked once about 70 images (40 of them in training)" in text
    select(out / "images", np.arange(50), out / "train")
    for text in written(out):
        assert "about every image of its store (how many then was not recorded; 40 of them in training)" in text


def test_classes_of_a_view_are_called_as_its_store_calls_them(out):
    write_classes(out / "images", {"zoo": 0, "cats": 1})
    assert called_classes(out / "held") == called_classes(out / "images") == {"0": "zoo", "1": "cats"}
    rows = read_rows(out / "run/evaluation/retrieval.arrow")
    evaluation = json.loads((out / "run/evaluation.json").read_text())
    answers = {who: replace(one, names=[str(n) for n in range(len(one.names))]) for who, one in rows.answers.items()}
    asked = rows.made_of | {"eval": {"kind": "knn", "store": str(out / "held")}}
    numbered = replace(rows, answers=answers, made_of=asked)
    assert {one["text"] for one in listed(numbered, evaluation, shown=30).images} >= {"zoo", "cats", "2"}
    # A caption that is a number stays one.
    asked = rows.made_of | {"eval": {"kind": "retrieval", "store": str(out / "held")}}
    captions = listed(replace(numbered, made_of=asked), evaluation, shown=30)
    assert "zoo" not in {one["text"] for one in captions.images}

    asking = Asking(numbered.answers["student"], numbered.made_of)
    run = SimpleNamespace(rows={("knn", ""): asking}, teacher={})
    arm = SimpleNamespace(name="toy", runs=[run])
    (one,) = heard(SimpleNamespace(arms=[arm], baseline=arm, apart={}))
    assert {one.truth(place) for place in range(30)} >= {"zoo", "cats", "2"}


@pytest.mark.parametrize(
    ("source", "prompts", "names"),
    [
        ({"templates": ["an icon of {}.", "{}"]}, ["an icon of big cats.", "an icon of cats."], ["big cats", "cats"]),
        ({}, ["a bad photo of a tench.", "a bad photo of a great tench."], ["tench", "great tench"]),
        ({"templates_file": "t"}, ["an icon of actions.", "an icon of some people."], ["actions", "some people"]),
        ({"templates": ["other {}"]}, ["actions of an icon", "people of an icon"], ["actions", "people"]),
        (None, ["the actions", "the people seen"], ["actions", "people seen"]),
        (None, ["actions", "people"], ["actions", "people"]),
        (None, ["a cat", "a cat there"], ["cat", "cat there"]),
        (None, ["the only one"], ["the only one"]),
    ],
)
def test_classes_are_called_by_their_names_and_not_by_their_first_prompt(monkeypatch, source, prompts, names):
    """Of prompts whose store is gone too (None): by what tells them apart."""

    def store(name):
        if source is None:
            raise StoreError("gone")
        return SimpleNamespace(manifest=SimpleNamespace(source={"kind": "class_prompts", "knobs": source}))

    monkeypatch.setattr("distillkit.report.named.FeatureStore", store)
    asked = {"kind": "zero_shot", "store": "images", "prompts": "prompts"}
    assert called_answers(asked, prompts) == dict(zip(prompts, names, strict=True))
    assert called_answers({"kind": "retrieval", "store": "images"}, prompts) == {}


def test_how_to_make_it_again_has_the_views_too(out):
    select(out / "images", np.arange(40), out / "train", f"distillkit store view images {out}/train --keys my.txt")
    for text in written(out):
        before, told, after = text.partition(f"distillkit store view images {out}/train --keys my.txt")
        assert told and "extract-teacher" in before and "train-student" in after
        made = f"# distillkit store view {out}/images {out}/held --keys FILE"
        assert f"{made}  (how it was made was not recorded; its rows are in {out}/held/rows.npy)" in text
    (out / "held/selection.json").write_text("{}")  # as select-texts writes
    for text in written(out):
        assert f"# distillkit select-texts RECIPE  (its command was not recorded; it made {out}/held)" in text


def test_views_come_in_the_order_in_which_they_were_made(out):
    """One is of the rows that another lacks."""
    select(out / "images", np.arange(40), out / "train", f"distillkit store view images {out}/train --other-than held")
    select(out / "images", np.arange(40, 70), out / "held", f"distillkit store view images {out}/held --share 0.4")
    for text in written(out):
        assert text.index("--other-than held") < text.index("--share 0.4")
    os.utime(out / "held/view.json", (0, 0))
    for text in written(out):
        assert text.index("--other-than held") > text.index("--share 0.4")


def test_where_the_title_speaks_of_something_else_it_is_told_all_the_same(out, monkeypatch):
    """Whether images that were measured on, or copies of them, were trained on."""
    for text in written(out):
        assert text.count("on images it never saw") == 1
    monkeypatch.setattr(sys.modules["distillkit.report.page"], "headline", lambda *told: "The teacher is at chance")
    for text in written(out):
        assert "retrieval was measured on images it never saw." in text


def measured_on(out, store, names=("retrieval",)):
    """The run's evaluation, as if these had been asked of that store."""
    path = out / "run/evaluation.json"
    evaluation = json.loads(path.read_text())
    eval_, results = evaluation["evals"].pop("retrieval"), evaluation["results"].pop("retrieval")
    eval_["eval"]["store"] = str(store)
    evaluation["evals"], evaluation["results"] = dict.fromkeys(names, eval_), dict.fromkeys(names, results)
    path.write_text(without_checksum(evaluation))


def test_images_that_were_trained_on_are_told_of_every_eval_and_how_to_hold_them_out(out):
    measured_on(out, out / "images", ["retrieval", "again"])
    cure = f"to hold them out, train on: distillkit store view {out}/train VIEW --other-than {out}/few"
    select(out / "images", np.arange(30, 70), out / "few")
    measured_on_few = [
        ("few", f"of which it was trained on 10, such as 'images/030.png', 'images/031.png', 'images/032.png'; {cure}")
    ]
    hold = (
        f"to hold some out: distillkit store view {out}/train HELD-OUT --share 0.2, and train on --other-than HELD-OUT"
    )
    for store, told in (*measured_on_few, ("train", f"it was trained on; {hold}")):
        path = out / "run/evaluation.json"
        evaluation = json.loads(path.read_text())
        for one in evaluation["evals"].values():
            one["eval"]["store"] = str(out / store)
        path.write_text(without_checksum(evaluation))
        for text in written(out):
            assert f"retrieval and again were measured on images {told}." in html.unescape(text)


def test_a_caption_of_an_image_that_was_trained_on_is_the_same_image(make_toy, tmp_path):  # noqa: F811
    """Rows 0:4 are two captions of two images; training has one caption of each, and another image."""
    toy = make_toy(rows=12, failed=())
    toy.captions = 2
    store = toy.write().path
    select(store, np.arange(4), tmp_path / "measured")
    select(store, np.array([1, 3, 4]), tmp_path / "trained")
    select(store, np.array([2, 3, 4, 5]), tmp_path / "half")
    measured, trained, half = (FeatureStore(tmp_path / name) for name in ("measured", "trained", "half"))
    assert seen(measured, trained) == "on images it was trained on"
    assert seen(measured, half) == "on images of which it was trained on 1"


def test_prompts_of_classes_were_asked_too():
    rows = {"images": 70, "classes": 30}
    assert looked_at(rows) == "70 images and 30 class prompts"
    assert looked_at(rows | {"texts": 1}, asked={"classes": (Path(), 60)}) == (
        "70 images, 1 unpaired text and 60 class prompts (30 of them in training)"
    )


def test_of_an_older_run_no_number_is_made_up(out):
    path = out / "run/student.json"
    facts = json.loads(path.read_text())
    path.write_text(without_checksum({key: value for key, value in facts.items() if key not in ("rows", "keys")}))
    run = RunFolder(out / "run")
    assert looked_at({name: one.number for name, one in as_then(run).items()}) == "40 images and 160 unpaired texts"
    select(out / "images", np.arange(50), out / "train")
    for text in written(out):
        assert "was asked once about images (how many was not recorded) and 160 unpaired texts" in text
        assert "that it may have been trained on" in text
