"""The gate refuses what exports of others got wrong, and lets sound ones through."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.parity.gate import compare
from distillkit.parity.questions import Measure, Pictures, Questions, middle
from tests.exports.world import STUDENTS, card_of, finish
from tests.weights import replace_weights

FAULTS = ["NoCausalMask", "OtherInterpolation", "OtherMean", "Bgr", "NoProjection", "QuickGelu", "Stretched"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_and_nothing_is_written(runs, tmp_path, fault):
    with pytest.raises(ExportError, match="answers differ from its student's: ") as refusal:
        export(runs("pair"), f"tests.parity.faults:{fault}", out=tmp_path / "out", say=lambda line: None)
    assert "\n" not in str(refusal.value) and not any(tmp_path.iterdir())


def test_without_a_fault_it_passes(runs, tmp_path):
    assert export(runs("pair"), "tests.parity.faults:Sound", out=tmp_path / "out", say=lambda line: None).is_dir()


def test_what_is_allowed_all_the_same_is_said_in_the_card(runs, tmp_path):
    folder = export(
        runs("pair"), "tests.parity.faults:Bgr", out=tmp_path / "out", allow_parity_loss=True, say=lambda line: None
    )
    assert "Written although it answers otherwise:** worst cosine of the image tower" in card_of(folder)


def test_half_precision_that_overflows_is_refused(pictures, tmp_path):
    """A text tower whose weights go beyond 65,504 has no numbers in fp16; in fp32 it has."""
    run = finish(tmp_path / "run", pictures, STUDENTS["pair"])
    _scale(run, "text.transformer.resblocks.1.mlp.c_proj.weight", 1e6)
    assert export(run, "open_clip", out=tmp_path / "whole", say=lambda line: None).is_dir()
    with pytest.raises(ExportError, match=r"worst cosine of the text tower -1\.0"):
        export(run, "open_clip", precision="fp16", out=tmp_path / "half", say=lambda line: None)


def test_hf_in_half_precision_is_asked_as_its_card_opens_it(pictures, tmp_path):
    """transformers computes in what the weights are kept in: sums that overflow there are fine in fp32."""
    run = finish(tmp_path / "run", pictures, STUDENTS["tower"])
    weights = load_file(run / "student.safetensors")["visual.conv1.weight"]
    _scale(run, "visual.conv1.weight", 2e4 / float(weights.abs().max()))
    with pytest.raises(ExportError, match=r"worst cosine of the image tower -1\.0"):
        export(run, "hf", precision="fp16", out=tmp_path / "half", say=lambda line: None)
    assert export(run, "hf", out=tmp_path / "whole", say=lambda line: None).is_dir()


def _scale(run, name, factor):
    weights = load_file(run / "student.safetensors")
    weights[name] = weights[name] * factor
    replace_weights(run, weights)


class Says:
    """Answers that are given beforehand."""

    def __init__(self, images, texts):
        self._images, self._texts = images, texts
        self.tells, self.sees = self.texts, True

    def images(self, pictures):
        return self._images[: len(pictures)]

    def texts(self, texts):
        return self._texts[: len(texts)]


def asked(vectors, texts):
    count = len(vectors)
    every = list(range(count))
    measure = Measure(
        (1,), "R@{}", "picture", every, torch.arange(count), lambda tell: torch.from_numpy(tell(texts)), list
    )
    blank = np.zeros((4, 4, 3), np.uint8)
    from PIL import Image

    pictures = Pictures(range(count), lambda place: Image.fromarray(blank))
    return Questions(pictures, texts, measure, "here")


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    images = random.normal(size=(300, 16)).astype(np.float32)
    return images, images + 0.3 * random.normal(size=images.shape).astype(np.float32)


def judged(before, after, precision, towers=("image", "text")):
    questions = asked(before[0], [f"text {n}" for n in range(len(before[1]))])
    return compare(questions, Says(*before), Says(*after), towers, precision)


def test_thresholds_are_those_that_are_promised(vectors):
    images, texts = vectors
    for precision, least in (("fp32", 1 - 1e-5), ("fp16", 0.999), ("int8", 0.98)):
        for cosine, passes in ((1 - (1 - least) * 0.5, True), (1 - (1 - least) * 2, False)):
            turned = images.copy()
            turned[7] = _turned(images[7], cosine)
            found = judged(vectors, (turned, texts), precision, ("image",))
            assert found.towers[0].worst == pytest.approx(cosine, abs=1e-6)
            refused = found.towers[0].refusal(precision) or ""
            assert ("worst cosine" in refused) != passes


def _turned(vector, cosine):
    across = np.random.default_rng(1).normal(size=vector.shape)
    across -= vector * (across @ vector) / (vector @ vector)
    across *= np.linalg.norm(vector) / np.linalg.norm(across)
    return vector * cosine + across * np.sqrt(1 - cosine**2)


def test_no_numbers_and_another_width_are_refused(vectors):
    images, texts = vectors
    spoilt = images.copy()
    spoilt[0, 0] = np.nan
    for wrong in (spoilt, images[:, :8]):
        assert "worst cosine" in (judged(vectors, (wrong, texts), "int8", ("image",)).refusal or "")


def test_changed_orders_are_refused_in_full_precision_and_ties_are_not():
    """Two answers at the same distance may change places; two that are apart may not."""
    random = np.random.default_rng(0)
    texts = random.normal(size=(300, 64)).astype(np.float32)
    texts[1] = texts[0]
    same = texts + np.float32(1e-6) * random.normal(size=texts.shape).astype(np.float32)
    assert judged((texts, texts), (same, same), "fp32").refusal is None
    moved = texts * 1.0
    moved[5] = texts[5] * 0.9 + texts[6] * 0.1
    assert judged((texts, texts), (moved, texts), "fp32", ("image",)).towers[0].changed >= 1


def test_why_a_measure_differs_where_no_answers_changed_places_is_told():
    """The measure is of whole pictures and of the one first answer; the towers see alike and leave ties aside."""
    random = np.random.default_rng(0)
    texts = random.normal(size=(300, 64)).astype(np.float32)
    texts[1] = texts[0]
    other = texts + np.float32(1e-6) * random.normal(size=texts.shape).astype(np.float32)
    found = judged((texts, texts), (other, other), "fp32")
    assert found.numbers[0].before != found.numbers[0].after and not any(one.changed for one in found.towers)
    assert "300 asked, in 0 of them the nearest answers changed places beyond ties" in found.lines[0]
    assert any(line.startswith("a measure may differ where no answers changed places") for line in found.lines)
    assert not any("may differ" in line for line in judged((texts, texts), (texts, texts), "fp32").lines)


def test_a_measure_that_suffers_is_refused_though_cosines_are_fine(vectors):
    """Everybody's right answer moved just behind another: cosines hardly change, recall is lost."""
    images, _ = vectors
    texts = images + np.float32(1e-3)
    near = np.roll(images, 1, 0)
    before = (np.float32(0.5) * (images + near) + np.float32(0.02) * images, texts)
    after = (np.float32(0.5) * (images + near) - np.float32(0.02) * images, texts)
    found = judged(before, after, "int8", ("image",))
    assert found.towers[0].worst > 0.98 and found.numbers[0].apart
    assert re.search(r"R@1: .* which is no chance", found.refusal)


def test_the_middle_of_a_picture_is_cut_at_whole_pixels():
    from PIL import Image

    picture = Image.fromarray(np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3))
    assert np.array_equal(np.asarray(middle(picture)), np.asarray(picture)[:, 1:6])
