"""What every target promises: a student leaves for it whole, or one line says why not; and it opens without us."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.parity.reference import Reference, teacher_says
from distillkit.recipe.registry import kinds, resolve
from distillkit.runfolder import RunFolder
from tests.exports.world import STUDENTS, card_of, say_alone

# Which students a target holds as they are; all others are refused.
EVERY = set(STUDENTS)
HOLDS = {
    "classifier": set(),  # no classes are named here; see test_classifier.py
    "executorch": EVERY if find_spec("executorch") else set(),  # an extra that nothing else here needs
    "hf": EVERY,
    "onnx": EVERY,
    "open_clip": {"pair", "slim"},
    "timm": {"image", "tokens", "slim_image", "prompted"},
    "torch": EVERY,
    "web": set(),  # no runtime is named here; see test_web.py
}
# Tracing takes seconds for each network: of these targets one student for each kind of tower, the others slow.
TRACED, TRIED = {"executorch", "onnx", "torch"}, {"pair", "tokens"}
EACH = [(name, to) for to in sorted(HOLDS) for name in sorted(STUDENTS)]
QUICK = [(name, to) for name, to in EACH if to not in TRACED or name in TRIED]
HELD = [one for one in QUICK if one[0] in HOLDS[one[1]]]
SLOW = [(name, to) for name, to in EACH if (name, to) not in QUICK and name in HOLDS[to]]


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """Export a student to a target, once: its folder, or the refusal."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def leave(name, to):
        if (name, to) not in made:
            try:
                made[name, to] = export(runs(name), to, out=folder / name / to, say=lambda line: None)
            except ExportError as refusal:
                made[name, to] = refusal
                assert not (folder / name / to).exists()
        return made[name, to]

    return leave


def test_every_target_is_tried_here():
    assert set(HOLDS) == set(kinds("exports"))


@pytest.mark.parametrize(("name", "to"), QUICK + [pytest.param(*one, marks=pytest.mark.slow) for one in SLOW])
def test_leaves_whole_or_says_why_not(exported, name, to):
    done = exported(name, to)
    assert (name in HOLDS[to]) == (not isinstance(done, ExportError)), done
    if isinstance(done, ExportError):
        assert "\n" not in str(done) and f"cannot be exported to {to}: " in str(done)
    else:
        card = card_of(done)
        assert "worst cosine 1.00000" in card or "worst cosine 0.99999" in card
        assert "weights sha256" in card and "R@1" in card and "Made with" in card
        assert re.search(r"## How to open it\n\nRun this inside this folder: .*\.\n\n```", card)


@pytest.fixture(scope="module")
def beside(runs, tmp_path_factory):
    """Image students with their teacher's text tower."""
    folder = tmp_path_factory.mktemp("beside")
    return {
        (name, "teacher"): export(
            runs(name), "open_clip", text_tower="teacher", out=folder / name, say=lambda line: None
        )
        for name in ("image", "tower")
    }


@pytest.fixture(scope="module")
def alone(exported, beside):
    """A picture, and what exported students say of it and of a text, where nobody can import distillkit."""
    folders = {one: exported(*one) for one in HELD} | beside
    picture, said = say_alone(list(folders.values()))
    return picture, dict(zip(folders, said, strict=True))


@pytest.fixture(scope="module")
def slowly_alone(exported):
    picture, said = say_alone([exported(*one) for one in SLOW])
    return picture, dict(zip(SLOW, said, strict=True))


def refuse_other_answers(picture, said, student):
    reference = Reference(student)
    assert said
    if "image" in said:
        torch.testing.assert_close(unit(said["image"]), unit(reference.images([picture])), rtol=0, atol=1e-5)
    if "text" in said:
        torch.testing.assert_close(unit(said["text"]), unit(reference.texts(["a photo of a cat"])), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "to"), HELD)
def test_opens_without_us(alone, runs, name, to):
    refuse_other_answers(alone[0], alone[1][name, to], RunFolder(runs(name)).load_student())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "to"), SLOW)
def test_every_other_opens_without_us(slowly_alone, runs, name, to):
    refuse_other_answers(slowly_alone[0], slowly_alone[1][name, to], RunFolder(runs(name)).load_student())


def unit(vectors):
    return torch.nn.functional.normalize(torch.tensor(np.asarray(vectors), dtype=torch.float64), dim=-1)


@pytest.mark.parametrize("name", ["image", "tower"])
def test_a_teachers_text_tower_stands_beside_an_image_student(alone, beside, runs, name):
    picture, said = alone
    fingerprint = RunFolder(runs(name)).facts()["teacher"]
    expected = teacher_says(fingerprint)(["a photo of a cat"])
    torch.testing.assert_close(unit(said[name, "teacher"]["text"]), unit(expected), rtol=0, atol=1e-5)
    seen = Reference(RunFolder(runs(name)).load_student()).images([picture])
    torch.testing.assert_close(unit(said[name, "teacher"]["image"]), unit(seen), rtol=0, atol=1e-5)
    assert fingerprint["model"].endswith("/toy") and "| text tower | local-dir:toy |" in card_of(
        beside[name, "teacher"]
    )


def test_a_teacher_whose_weights_changed_is_not_put_beside_it(runs, tmp_path, pictures):
    from distillkit.exports._describe import teacher_texts

    fingerprint = RunFolder(runs("image")).facts()["teacher"]
    with pytest.raises(ExportError, match="has other weights now"):
        teacher_texts(fingerprint | {"weights_sha256": "0" * 64})
    with pytest.raises(ExportError, match="no text tower"):
        teacher_texts(fingerprint | {"kind": "timm"})


def test_half_precision_is_half_the_size(runs, tmp_path):
    whole = export(runs("pair"), "open_clip", out=tmp_path / "whole", say=lambda line: None)
    half = export(runs("pair"), "open_clip", precision="fp16", out=tmp_path / "half", say=lambda line: None)
    sizes = [(folder / "open_clip_model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.51 * sizes[0]


def test_the_same_export_twice_is_the_same_bytes(runs, tmp_path):
    for place in ("one", "two"):
        export(runs("slim"), "open_clip", out=tmp_path / place, say=lambda line: None)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_contracts_are_whole():
    for kind in kinds("exports"):
        target = resolve("exports", kind)()
        assert target.precisions[0] == "fp32"
        assert all(callable(getattr(target, name)) for name in ("holds", "write", "open", "lines"))
