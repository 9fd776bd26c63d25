"""A pair in the programs that stand on transformers: its zero-shot pipeline, and sentence-transformers."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from distillkit.export import export
from distillkit.exports._pictures import pixels_of, read_preprocessor
from distillkit.parity.reference import Reference
from distillkit.runfolder import RunFolder
from tests.exports.world import STUDENTS, card_of, finish, lines_of, say_alone

LABELS = ["cat", "small red circle", "square"]


@pytest.fixture(scope="module")
def pair(runs, tmp_path_factory):
    return export(runs("pair"), "hf", out=tmp_path_factory.mktemp("hf") / "out", say=lambda line: None)


@pytest.fixture(scope="module")
def picture():
    image = Image.new("RGB", (48, 48), "white")
    ImageDraw.Draw(image).ellipse((6, 10, 30, 40), fill="red")
    return image


def unit(vectors):
    return torch.nn.functional.normalize(torch.tensor(np.asarray(vectors), dtype=torch.float64), dim=-1)


def test_the_zero_shot_pipeline_gives_the_students_scores(pair, runs, picture):
    from transformers import pipeline

    told = pipeline("zero-shot-image-classification", model=str(pair))(picture, candidate_labels=LABELS)
    student = RunFolder(runs("pair")).load_student()
    reference = Reference(student)
    texts = reference.texts([f"This is a photo of {label}." for label in LABELS])
    scores = (student.logit_scale.detach().exp() * unit(reference.images([picture])) @ unit(texts).T).softmax(-1)[0]
    assert {one["label"]: one["score"] for one in told} == pytest.approx(
        dict(zip(LABELS, scores.tolist(), strict=True)), abs=1e-4
    )


def test_sentence_transformers_opens_it(pair, runs, picture):
    sentences = pytest.importorskip("sentence_transformers")
    model = sentences.SentenceTransformer(str(pair), device="cpu")
    reference = Reference(RunFolder(runs("pair")).load_student())
    torch.testing.assert_close(unit(model.encode(LABELS)), unit(reference.texts(LABELS)), rtol=0, atol=1e-5)
    torch.testing.assert_close(unit(model.encode([picture])), unit(reference.images([picture])), rtol=0, atol=1e-5)


def test_the_card_has_the_lines_of_one_program(pair):
    assert "AutoTokenizer" in lines_of(pair) and "SentenceTransformer" in card_of(pair)


def test_its_lines_see_the_pixels_by_which_students_are_trained(pair, monkeypatch):
    """To a level: torchvision, by which transformers resizes unless told, rounds some values to another one."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 90, 90, 3), np.uint8)
    pictures, config = [Image.fromarray(one) for one in noise], read_preprocessor(pair)
    monkeypatch.chdir(pair)
    (made,) = (line for line in lines_of(pair).splitlines() if line.startswith("process = "))
    said = {}
    exec(f"from transformers import AutoImageProcessor\n{made}", said)
    seen = said["process"](pictures, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(seen, pixels_of(pictures, config), rtol=0, atol=1e-5)


def test_a_network_of_timms_without_a_projection_is_pooled(pictures, tmp_path):
    """As Proteus trains them: its class token is its embedding."""
    bare = {name: value for name, value in STUDENTS["tokens"].items() if name != "embed_dim"}
    run = finish(tmp_path / "run", pictures, bare)
    folder = export(run, "hf", out=tmp_path / "out", say=lambda line: None)
    picture, (said,) = say_alone([folder])
    expected = Reference(RunFolder(run).load_student()).images([picture])
    torch.testing.assert_close(unit(said["image"]), unit(expected), rtol=0, atol=1e-5)
