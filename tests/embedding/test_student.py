"""A student at work: paths or pictures, texts by its own tower or its teacher's, on any device, without gradients."""

import numpy as np
import pytest
import torch
from PIL import Image

import distillkit
from distillkit.embedding.teacher import Teacher
from distillkit.errors import DistillkitError, SourceError, TeacherError, TrainError
from distillkit.originals import Originals
from distillkit.parity.reference import Reference
from distillkit.pixels import decode
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from tests.embedding.conftest import STUDENTS, make_run
from tests.weights import replace_weights


def test_pictures_are_embedded_as_an_evaluation_does(runs, photos):
    student = distillkit.load_student(runs["image"])
    paths = sorted(photos.rglob("*.png"))
    said = student.embed_images(paths, batch_size=5)
    wanted = Reference(RunFolder(runs["image"]).load_student()).images([decode(path) for path in paths])
    torch.testing.assert_close(said, torch.from_numpy(wanted), rtol=1e-5, atol=1e-5)
    assert said.dtype == torch.float32 and not said.requires_grad and not said.is_inference()
    opened = [Image.open(path) for path in paths]
    torch.testing.assert_close(student.embed_images([str(paths[0]), *opened[1:]]), said, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(student.embed_images(paths[0]), said[:1], rtol=1e-4, atol=1e-5)
    units = student.embed_images(paths, normalise=True)
    torch.testing.assert_close(units.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(units, torch.nn.functional.normalize(said), rtol=1e-4, atol=1e-5)


def test_pictures_of_any_kind_are_seen_as_files_are(runs, tmp_path):
    student = distillkit.load_student(runs["image"])
    layer = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8), "RGBA")
    layer.save(tmp_path / "layer.png")
    turned = Image.effect_noise((50, 40), 90).convert("RGB")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("layer.png", "turned.png"):
        with Image.open(tmp_path / name) as opened:
            one, other = student.embed_images([opened]), student.embed_images([tmp_path / name])
        torch.testing.assert_close(one, other)


def test_texts_are_its_own_where_it_has_a_tower(runs):
    student = distillkit.load_student(runs["pair"])
    texts = ["a red bicycle", "a circle", "two stars"]
    wanted = Reference(RunFolder(runs["pair"]).load_student()).texts(texts)
    torch.testing.assert_close(student.embed_texts(texts, batch_size=2), torch.from_numpy(wanted), rtol=1e-4, atol=1e-5)
    assert "teacher" not in vars(student)


@pytest.mark.parametrize(("kind", "field"), [("image", "text"), ("text", "image")])
def test_what_it_has_no_tower_for_is_its_teachers(runs, toy_stores, kind, field):
    """To the very rows that the store keeps."""
    student, store = distillkit.load_student(runs[kind]), FeatureStore(toy_stores / "out/images")
    assert "teacher" not in vars(student)  # it may be large, and is loaded when it is first asked
    rows = store.ok_rows[:5]
    if field == "text":
        said = student.embed_texts(store.values("text", rows))
    else:
        files = Originals(store, None)
        said = student.embed_images([files.open(int(row))[0] for row in rows])
    torch.testing.assert_close(said, store.read(field, rows).float(), rtol=2e-3, atol=2e-3)


def test_a_teacher_of_other_weights_is_refused(tmp_path, toy_stores):
    run = make_run(tmp_path / "run", STUDENTS["image"], toy_stores / "out", weights_sha256="0" * 64)
    with pytest.raises(TeacherError, match=r"is now another one \(weights_sha256: '0000.*bring back the one"):
        distillkit.load_student(run).embed_texts(["a"])


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ({"model": "local-dir:gone"}, "its teacher cannot be loaded: local-dir:gone: no such folder"),
        ({"kind": "imported"}, "cannot be run: its features were imported"),
        ({"kind": "timm", "model": "vit_tiny_patch16_224"}, "gives no text embeddings; ask by a picture"),
        ({"kind": "no.such:Teacher"}, "its teacher cannot be loaded: "),
    ],
)
def test_a_teacher_that_is_not_at_hand_is_one_line(tmp_path, toy_stores, teacher, told):
    run = make_run(tmp_path / "run", STUDENTS["image"], toy_stores / "out", **teacher)
    with pytest.raises(TeacherError) as refused:
        distillkit.load_student(run).embed_texts(["a"])
    assert told in str(refused.value) and "\n" not in str(refused.value) and str(run) in str(refused.value)


def test_a_run_as_a_teacher_is_asked_again(runs, tmp_path, toy_stores):
    """A store that a student made names its run, which is found again."""
    from distillkit.recipe import Component

    record = Component(kind="run", run=str(runs["pair"]), device="cpu").build("teachers").fingerprint()
    said = Teacher(record, "somebody", "cpu").embed_texts(["a red bicycle"])
    torch.testing.assert_close(said, distillkit.load_student(runs["pair"]).embed_texts(["a red bicycle"]))


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "not an image"), (None, "no such file"), ("folder", "no plain file")]
)
def test_a_broken_picture_is_named(runs, photos, content, told):
    path = photos / "broken.png"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=f"broken.png: .*{told}"):
        distillkit.load_student(runs["image"]).embed_images([*sorted(photos.rglob("0*.png")), path])


def test_the_network_itself_stays_at_hand(runs):
    student = distillkit.load_student(runs["pair"], device="cpu")
    pixels = torch.randint(0, 256, (2, 3, student.image_size, student.image_size), dtype=torch.uint8)
    assert isinstance(student.module, torch.nn.Module) and not student.module.training
    torch.testing.assert_close(student.embed(pixels), student.module.embed(pixels).detach())
    assert any(value.requires_grad for value in student.module.parameters())


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(TrainError, match=r"nothing: is no run folder; make one with: distillkit train-student"):
        distillkit.load_student(tmp_path / "nothing")


def test_a_student_that_has_diverged_says_so(tmp_path, toy_stores):
    from safetensors.torch import load_file

    run = make_run(tmp_path / "run", STUDENTS["image"], toy_stores / "out")
    weights = load_file(run / "student.safetensors")
    replace_weights(run, {name: value * float("nan") for name, value in weights.items()})
    with pytest.raises(TrainError, match="gives NaN or infinity; it has diverged"):
        distillkit.load_student(run).embed_images([Image.new("RGB", (40, 40))])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"a.png", "embed_images: b'a.png': one of them"),
        ([b"a.png"], "embed_images: picture 0 is b'a.png' (bytes)"),
        (torch.zeros(1, 3, 4, 4), "embed_images: picture 0 is tensor("),
        ([np.zeros((4, 4, 3), np.uint8)], "embed_images: picture 0 is array("),
        ([Image.new("RGB", (4, 4)), None], "embed_images: picture 1 is None"),
        (float("nan"), "embed_images: nan: one of them"),
    ],
)
def test_what_is_no_picture_is_one_line(runs, given, told):
    with pytest.raises(DistillkitError) as refused:
        distillkit.load_student(runs["pair"]).embed_images(given)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [b"a cat", 3, [None], ["a cat", float("nan")], {"a cat": 1, 2: 3}])
def test_what_is_no_text_is_one_line(runs, given):
    with pytest.raises(DistillkitError, match=r"^embed_texts: .* (needed)$"):
        distillkit.load_student(runs["pair"]).embed_texts(given)


@pytest.mark.parametrize("many", [iter, tuple, np.array, lambda values: (one for one in values), dict.fromkeys])
def test_what_holds_them_changes_nothing(runs, photos, many):
    student, paths = distillkit.load_student(runs["pair"]), [str(path) for path in sorted(photos.rglob("*.png"))]
    assert torch.equal(student.embed_images(many(paths)), student.embed_images(paths))
    assert torch.equal(student.embed_texts(many(["a cat", "a red dog"])), student.embed_texts(["a cat", "a red dog"]))


def test_numbers_of_numpy_are_numbers_and_a_flag_is_none(runs, photos):
    found = [distillkit.search(runs["pair"], "a dot", within=photos, top=top) for top in (3, np.int64(3), np.uint8(3))]
    assert found[0].hits == found[1].hits == found[2].hits
    with pytest.raises(DistillkitError, match="search: top = True: a whole number is needed"):
        distillkit.search(runs["pair"], "a dot", within=photos, top=True)
