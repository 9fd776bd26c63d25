"""Learned context before the class: what the tower sees, what is trained, what teaches and what does not."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.recipe import Term
from distillkit.students.openclip_pair import OpenclipPair
from distillkit.students.prompted import Prompted
from distillkit.training.objective import Objective
from distillkit.types import Batch, Features, Widths
from tests.students.small import IMAGES, PAIR
from tests.students.test_inherit import openclip_folder

IMAGE = {"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32, "embed_dim": 8}
CLASSES = ["a cat", "a dog"]


def prompted(context=2, **knobs):
    torch.manual_seed(0)
    return Prompted(image=IMAGE, model=PAIR, context=context, **knobs)


def test_without_context_it_says_what_the_tower_says_of_the_words(tmp_path):
    _, name = openclip_folder(tmp_path / "teacher", PAIR)
    student, pair = prompted(context=0, inherit=name), OpenclipPair(model=PAIR, inherit=name)
    student.begin()
    pair.begin()
    tokens = pair.tokenize(CLASSES)
    torch.testing.assert_close(student.embed_text(tokens), pair.embed_text(tokens))


def test_context_stands_between_the_start_and_the_words():
    """A context made of the embeddings of "a big" is the text "a big cat"."""
    student = prompted()
    words = student.tokenize(["a big cat", "a big dog"])
    with torch.no_grad():
        student.context.copy_(student.text.token_embedding(words[0, 1:3]))
    plain = OpenclipPair(model=PAIR)
    plain.text = student.text
    torch.testing.assert_close(student.embed_text(student.tokenize(["cat", "dog"])), plain.embed_text(words))


def test_long_names_lose_their_end_and_keep_the_end_of_text():
    student = prompted()
    tokens = student.tokenize(["a very long name of a class that never ends"])
    assert tokens.shape == (1, PAIR["text_cfg"]["context_length"] - 2) and tokens[0, -1] == 49407


def test_images_and_context_learn_the_tower_does_not():
    student = prompted().train()
    before = {name: value.clone() for name, value in student.named_parameters()}
    teacher = Features(image=torch.randn(3, 8), scale=torch.tensor(14.0))
    losses = [
        Term(kind="contrastive", text="student", directions="rows"),
        Term(kind="affinity", between="image, student text", directions="rows", logit_scale=14.0),
    ]
    objective = Objective(losses, Widths(student.widths, {"image": 8, "scale": 1}))
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-2)
    totals = []
    for _ in range(20):
        batch = Batch(pixels=IMAGES, tokens=student.tokenize(CLASSES), match=torch.tensor([0, 1, 1]), teacher=teacher)
        total, _ = objective(batch, student(batch))
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]
    moved = {name for name, value in student.named_parameters() if not torch.equal(value, before[name])}
    assert "context" in moved and not any(name.startswith("text.") for name in moved)


def test_the_teachers_side_teaches_the_context_nothing():
    """The student's image is a constant here, so all that could move the context is its own side."""
    torch.manual_seed(0)
    text = torch.randn(4, 8, requires_grad=True)
    image = torch.randn(3, 8)
    loss = Objective(
        [Term(kind="affinity", between="image, student text", directions="rows")],
        Widths({"image": 8, "text": 8}, {"image": 8}),
    )
    total, _ = loss(Batch(teacher=Features(image=image)), Features(image=image, text=text))
    total.backward()
    assert text.grad.norm() < 1e-5  # both sides are equal: the divergence is at its minimum, if one side is constant


def test_only_image_students_are_prompted():
    with pytest.raises(RecipeError, match="text tower of its own"):
        Prompted(image={"kind": "openclip_pair", "model": PAIR}, model=PAIR)
    with pytest.raises(RecipeError, match="needs a kind"):
        Prompted(image={"model": "resnet18"}, model=PAIR)
