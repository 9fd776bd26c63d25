"""suggest-scale on the toy stores: what is told, and what is refused."""

import json
import re
import shutil
import time

import pytest

from distillkit import extract
from distillkit.errors import StoreError
from distillkit.losses._sharpness import cosines, scale_for
from distillkit.store.reading.reader import FeatureStore
from distillkit.suggest import suggest_scale
from tests.conftest import EXTRACT, make_teacher


def test_every_kind_of_term_has_a_line_and_a_scale(toy_stores, run_cli):
    began = time.monotonic()
    code, out, err = run_cli("suggest-scale", toy_stores / "out/images", "--texts", toy_stores / "out/texts")
    assert code == 0, err
    assert time.monotonic() - began < 5
    assert "the teacher's own scale is 14.2" in out
    rows = [line for line in out.splitlines() if line.startswith("image and ")]
    assert [re.match(r"image and ([a-z ]+) \(", row)[1] for row in rows] == ["unpaired text", "own text", "image"]
    image = FeatureStore(toy_stores / "out/images").read("image", range(40))
    assert f"{scale_for(cosines(image, image)):.4g}" in rows[2]


def test_fewer_choices_are_taken_as_they_are_said(toy_stores):
    lines = suggest_scale(toy_stores / "out/images", toy_stores / "out/texts", batch=8, text_batch=20)
    assert any("unpaired text (20)" in line for line in lines) and any("image (8)" in line for line in lines)


def test_programs_have_it_as_json(toy_stores, run_cli):
    _, out, err = run_cli("suggest-scale", toy_stores / "out/images", "--texts", toy_stores / "out/texts", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["compared"] for one in found] == ["image and unpaired text", "image and own text", "image and image"]
    assert err == "" and found[-1]["choices"] == 40 and found[-1]["own"] == pytest.approx(14.29, abs=0.01)
    shares = [found[-1]["share"][scale] for scale in ("1.0", "10.0", "100.0")]
    assert 1 > shares[0] > shares[1] > shares[2] > 0


def test_a_store_of_texts_is_refused(toy_stores):
    with pytest.raises(StoreError, match="holds no image features"):
        suggest_scale(toy_stores / "out/texts")


def test_texts_of_another_teacher_are_refused(toy_stores, tmp_path):
    """Else its own entropies would be mixed of both: training refuses such texts, too."""
    other = make_teacher(tmp_path / "other", seed=5)
    (tmp_path / "x.toml").write_text(EXTRACT.format(out=tmp_path / "out", corpus=toy_stores / "corpus", teacher=other))
    extract(tmp_path / "x.toml", lambda line: None)
    for texts in ("texts", "images"):
        with pytest.raises(StoreError, match=r"were made by different teachers .*; extract both with one teacher"):
            suggest_scale(toy_stores / "out/images", tmp_path / "out" / texts)


def test_of_a_store_of_two_teachers_texts_are_those_of_the_one_that_is_asked_about(toy_stores, tmp_path):
    other = make_teacher(tmp_path / "other", seed=5)
    both, alone = tmp_path / "both", tmp_path / "alone"
    shutil.copytree(toy_stores / "out", both)
    for out in (both, alone):
        text = EXTRACT.format(out=out, corpus=toy_stores / "corpus", teacher=other)
        (tmp_path / "x.toml").write_text(text.replace("[teacher]", '[[teachers]]\nname = "second"'))
        extract(tmp_path / "x.toml", lambda line: None)
    found, wanted = (suggest_scale(out / "images", out / "texts", teacher="second") for out in (both, alone))
    assert found[1:] == wanted[1:]
