"""One graph from a picture to scores over classes: the same answers as the student beside its texts."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from distillkit import extract
from distillkit.errors import ExportError, StoreError
from distillkit.evals._classes import class_embeddings
from distillkit.export import export
from distillkit.exports._pictures import pixels_of, read_preprocessor
from distillkit.parity.classes import _names
from distillkit.parity.reference import Reference
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from tests.conftest import WORDS, make_teacher
from tests.exports.world import STUDENTS, card_of, finish


def test_scores_are_those_of_the_student_beside_the_teachers_texts(classified, pictures):
    run, folder, _ = classified
    session = onnxruntime.InferenceSession(str(folder / "classifier.onnx"))
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == list(WORDS)
    picture = next(iter(sorted((pictures.parent / "corpus/images").glob("000.png"))))
    from PIL import Image

    square = [Image.open(picture).convert("RGB").crop((0, 8, 40, 48))]
    scores, logits = session.run(None, {"pixel_values": pixels_of(square, read_preprocessor(folder))})
    vectors = class_embeddings(FeatureStore(f"{pictures}/prompts"))
    image = torch.nn.functional.normalize(torch.from_numpy(Reference(RunFolder(run).load_student()).images(square)))
    expected = float(told["scale"]) * image @ vectors.T
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    np.testing.assert_allclose(scores, expected.softmax(-1), atol=1e-4)
    assert float(told["scale"]) == pytest.approx(RunFolder(run).facts()["teacher"]["logit_scale"], rel=1e-6)


def test_its_accuracy_is_the_runs_measure(classified):
    _, folder, lines = classified
    assert any(line.startswith("classifier fp32: top-1: ") for line in lines) and "- top-1: " in card_of(folder)


def test_classes_of_another_width_are_refused(runs, pictures, tmp_path):
    run = finish(tmp_path / "run", pictures, STUDENTS["tokens"] | {"embed_dim": 16})
    with pytest.raises(ExportError, match="16 numbers, the vectors of its classes 32"):
        export(run, "classifier", classes=f"{pictures}/prompts", out=tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()


def test_classes_as_another_teacher_said_them_are_refused(runs, pictures, tmp_path, teacher_folder):
    """As wide, so nobody would notice: the gate asks both by the same vectors."""
    other = make_teacher(tmp_path / "other", seed=7)
    recipe = (pictures.parent / "extract.toml").read_text().replace(str(teacher_folder), str(other))
    (tmp_path / "extract.toml").write_text(recipe.replace(f'out = "{pictures}"', f'out = "{tmp_path}/stores"'))
    extract(tmp_path / "extract.toml", lambda line: None)
    with pytest.raises(StoreError, match="prompts: made by another teacher than the student learned from") as refusal:
        export(runs("image"), "classifier", classes=f"{tmp_path}/stores/prompts", out=tmp_path / "out")
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()
    assert export(runs("pair"), "classifier", classes=f"{tmp_path}/stores/prompts", out=tmp_path / "own").is_dir()


SOURCE = """
[[corpora]]
name = "{name}"
source = {{ kind = "class_prompts", file = "{names}", {templates} }}
fields = ["text"]
"""


@pytest.mark.parametrize("templates", ['templates = "simple_imagenet"', 'templates_file = "{folder}/templates.txt"'])
def test_classes_are_called_what_their_prompts_call_them_whatever_lies_in_the_file_by_now(
    pictures, tmp_path, templates
):
    names, own = tmp_path / "names.txt", tmp_path / "templates.txt"
    names.write_text("cat\nsea star\n\u0153uf\n")
    own.write_text("a {c}.\nmany {c} here\n")
    recipe = (pictures.parent / "extract.toml").read_text().partition("[[corpora]]")[0]
    recipe += SOURCE.format(name="few", names=names, templates=templates.format(folder=tmp_path))
    (tmp_path / "extract.toml").write_text(recipe.replace(str(pictures), str(tmp_path / "out")))
    extract(tmp_path / "extract.toml", lambda line: None)
    store = FeatureStore(tmp_path / "out/few")
    called = ["cat", "sea star", "\u0153uf"]
    names.write_text("\u0153uf\nsea star\ncat\n")
    assert _names(store, 3) == called
    names.unlink()
    assert _names(store, 3) == called
    own.write_text("one {c}\nmany {c} here\n")
    if "templates_file" in templates:
        with pytest.raises(StoreError, match=r"few: 'a cat\.' is not what its templates make of a class name; put the"):
            _names(store, 3)
