"""What every teacher must do. A new kind is tested as soon as its file is there.

All it needs is tests/teachers/test_<kind>.py with `example(folder) -> knobs`, which makes a tiny teacher in `folder`.
"""

import importlib
import json

import pytest
import torch
from PIL import Image

from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from distillkit.types import Features


@pytest.fixture(scope="module", params=kinds("teachers"))
def component(request, tmp_path_factory):
    example = importlib.import_module(f"tests.teachers.test_{request.param}").example
    return Component(kind=request.param, **example(tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def teacher(component):
    component.check("teachers", "teacher")
    return component.build("teachers")


@pytest.fixture(scope="module")
def inputs(teacher):
    """Two images and three texts of different lengths, each where the teacher says that it can do something with it."""
    inputs = {}
    if teacher.fields.keys() - {"text"}:
        images = [Image.new("RGB", (40, 60), colour) for colour in ("red", "blue")]
        inputs["pixels"] = torch.stack([teacher.preprocess(image) for image in images])
    if "text" in teacher.fields:
        inputs["tokens"] = teacher.tokenize(["a cat", "a dog on a long red boat", ""])[0]
    return inputs


@pytest.fixture(scope="module")
def said(teacher, inputs):
    return teacher.forward(**inputs)


def test_it_says_what_its_fields_promise(teacher, said):
    assert isinstance(said, Features) and teacher.fields
    for name, shape in teacher.fields.items():
        values = getattr(said, name)
        assert values.shape == (3 if name == "text" else 2, *shape)
        dtype = getattr(torch, getattr(teacher, "dtypes", {}).get(name, "float32"))
        assert values.dtype == dtype and values.device.type == "cpu" and values.isfinite().all()
        assert not values.requires_grad and (values[0] != values[1]).any()


def test_embeddings_are_raw(teacher, said):
    for name in teacher.fields.keys() & {"image", "text"}:
        assert not torch.allclose(getattr(said, name).norm(dim=-1), torch.ones(1))


def test_what_it_gives_is_known_before_its_weights_are_read(teacher, component):
    outline = resolve("teachers", component.kind).outline(**component.knobs)
    assert outline.fields == teacher.fields and outline.dtypes == getattr(teacher, "dtypes", {})
    for fact in ("size", "interpolation", "shows", "share", "pixels", "reduced"):
        assert getattr(outline.preprocess, fact) == getattr(teacher.preprocess, fact)


def test_it_says_no_more_than_it_is_asked_and_each_field_as_if_alone(teacher, inputs, said):
    for name in teacher.fields:
        alone = teacher.forward(**inputs, fields=[name])
        torch.testing.assert_close(getattr(alone, name), getattr(said, name), rtol=1e-5, atol=1e-6)
        assert all(getattr(alone, other) is None for other in teacher.fields.keys() - {name})


def test_its_scale_is_a_multiplier(teacher, said):
    if teacher.scale is None:  # no texts to compare with
        assert "text" not in teacher.fields and said.scale is None
        return
    assert said.scale.item() == pytest.approx(teacher.scale) and teacher.scale > 1


def test_it_is_frozen_and_repeats_itself(teacher, component, said):
    again = component.build("teachers")
    image = Image.new("RGB", (40, 60), "red")
    for name in teacher.fields.keys() & {"image"}:
        one, other = (made.forward(pixels=made.preprocess(image)[None]) for made in (teacher, again))
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert again.fingerprint() == teacher.fingerprint()


def test_its_fingerprint_can_be_written_down(teacher):
    fingerprint = teacher.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert fingerprint.keys() >= {"kind", "model", "weights_sha256", "preprocess", "activation", "precision", "tensors"}
    assert len(fingerprint["weights_sha256"]) == 64
