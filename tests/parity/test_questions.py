"""What an exported student is asked: pictures and texts of a folder, and the evals of its run."""

import resource
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from distillkit.errors import ExportError
from distillkit.evals.retrieval import Retrieval
from distillkit.parity import questions
from distillkit.parity.questions import _measured
from distillkit.parity.samples import questions_of_folder
from tests.evals.worlds import Store

RECIPE = SimpleNamespace()


def retrieval_of(store):
    return _measured(Retrieval(store="s", ks=[1]), store, np.arange(len(store.ok_rows)), RECIPE)


def test_images_without_a_caption_are_not_asked_for_theirs():
    """Kind G: and the captions that are there are those of their images."""
    measure = retrieval_of(Store([0, 1, 2, 3], [0, 1, 2, 3], names=["b", None, "a", "b"]))
    assert measure.pictures == [0, 2, 3] and measure.right.tolist() == [0, 1, 0]
    assert measure.answers(None).argmax(1).tolist() == [0, 2]
    assert measure.answers(lambda names: np.eye(4)[[ord(name) - ord("a") for name in names]]).argmax(1).tolist() == [
        1,
        0,
    ]
    assert retrieval_of(Store([0, 1], [0, 1], names=[None, ""])) is None


def test_of_an_image_with_several_captions_each_row_is_asked_and_the_measure_is_called_so():
    """As the report does, whose R@1 counts an image once."""
    names, features = ["a", "b", "c"], [0, 1, 2]
    assert (
        retrieval_of(Store(features, features, names=names, files=["x.png", "x.png", "y.png"])).name == "R@{} per row"
    )
    assert retrieval_of(Store(features, features, names=names, files=["x.png", "z.png", "y.png"])).name == "R@{}"


def test_of_a_picture_with_several_captions_a_tower_is_asked_once(monkeypatch):
    store = Store([0, 0, 1, 2], [0, 1, 2, 3], names=list("abcd"), files=["x.png", "x.png", "y.png", "z.png"])
    store.values = lambda column, rows: store.index[column].take(pa.array(rows)).to_pylist()
    monkeypatch.setattr(questions, "open_store", lambda *_: store)
    monkeypatch.setattr(questions, "_originals", lambda store, kept, recipe: kept.tolist())
    monkeypatch.setattr(questions, "LEAST", 2)
    data = SimpleNamespace(images="s", mix=[], texts=None, classes=None)
    recipe = SimpleNamespace(evals=[SimpleNamespace(build=lambda room: Retrieval(store="s", ks=[1]))], data=data)
    asked = questions.questions_of_run(recipe, "run")
    assert len(asked.pictures) == 3 and asked.pictures._places == [0, 2, 3]
    assert asked.measure.pictures == [0, 0, 1, 2] and asked.measure.items == "caption"
    assert len(asked.measure.seen()) == 4 and questions._trained_with(recipe, 9) == [0, 2, 3]


def test_kind_i_captions_are_not_padded_to_the_longest():
    names, features = [f"caption {n}" for n in range(1999)] + ["page " * 40_000], torch.randn(2000, 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measure = retrieval_of(Store(features, features, names=names))
    assert len(measure.answers(None)) == 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # KiB


def test_no_picture_is_asked_about_twice(monkeypatch):
    """Where the eval's store is the one of training, or holds some of its pictures."""

    def store(rows):
        index = pa.table({"image": [f"{row}.png" for row in range(rows)]})
        return SimpleNamespace(
            ok_rows=np.arange(rows), index=index, values=lambda column, rows: [f"{row}.png" for row in rows]
        )

    monkeypatch.setattr(questions, "open_store", lambda *_: store(300))
    monkeypatch.setattr(questions, "_originals", lambda store, kept, recipe: kept.tolist())
    recipe = SimpleNamespace(data=SimpleNamespace(images="trained"))
    found = questions._trained_with(recipe, 56, but=store(200))
    assert len(set(found)) == 56 and min(found) >= 200
    assert questions._trained_with(recipe, 56, but=store(300)) == []
    assert len(set(questions._trained_with(recipe, 56))) == 56


def test_kind_c_a_folder_of_samples_is_walked_as_a_corpus_is(tmp_path):
    for name in ("a.png", "deep/b.PNG", "c.jfif", "._a.png", ".thumbs/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    (tmp_path / "said.txt").write_text("one\ntwo\u2028still two\n\none\n", "utf-8")
    found = questions_of_folder(tmp_path, print)
    assert len(found.pictures) == 3 and found.pictures[2].size == (8, 8)
    assert found.texts == ["one", "two\u2028still two"]
    with pytest.raises(ExportError, match="nowhere: no such folder; name one of pictures"):
        questions_of_folder(tmp_path / "nowhere", print)


def test_samples_that_cannot_be_read_are_left_out_and_told(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "words.jpg").write_text("no picture")
    said = []
    found = questions_of_folder(tmp_path, said.append)
    assert len(found.pictures) == 2 and len(list(found.pictures)) == 2
    assert (
        len(said) == 1 and "left out 2 pictures that cannot be read, the first" in said[0] and "torn.png: " in said[0]
    )


@pytest.mark.parametrize("towers", [["image", "text"], ["image"]])
def test_what_samples_must_have_is_told_of_every_tower_at_once(towers):
    """A folder of the texts alone that were missing was refused for its pictures, and only then."""
    few = questions.Questions(pictures=[None] * 3, texts=["a"] * 3, measure=None, told="here")
    with pytest.raises(ExportError) as caught:
        few.enough(towers)
    told = " and ".join(["256 pictures", "256 different texts (a .txt, one a line)"][: len(towers)])
    assert str(caught.value).endswith(f"--samples (it is asked in place of the stores, so it must hold {told})")
