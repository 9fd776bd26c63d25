"""Tokens of image towers, and their second forwards: patches hidden, patches dropped."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.students._masking import keep_some
from distillkit.students.openclip_image import OpenclipImage
from distillkit.students.timm_image import TimmImage
from distillkit.types import Batch
from tests.students.small import IMAGES, PAIR

VIT = {"model": "vit_tiny_patch16_224", "image_size": 32, "options": {"embed_dim": 24, "depth": 2, "num_heads": 3}}


def timm_vit(**knobs):
    torch.manual_seed(0)
    return TimmImage(**VIT, **knobs).eval()


def openclip_vit(**knobs):
    torch.manual_seed(0)
    return OpenclipImage(model=PAIR, **knobs).eval()


both = pytest.mark.parametrize("vit", [timm_vit, openclip_vit])


def test_masking_keeps_the_tokens_of_least_noise():
    tokens = torch.arange(5.0)[None, :, None]
    kept, gone, place = keep_some(tokens, torch.tensor([[0.9, 0.1, 0.5, 0.2, 0.7]]), 0.5)
    assert kept.flatten().tolist() == [1, 3]  # int(5 * 0.5) = 2
    assert gone.tolist() == [[True, False, True, False, True]]
    restored = torch.cat([kept, torch.full((1, 3, 1), -1.0)], dim=1).take_along_dim(place[:, :, None], dim=1)
    assert restored.flatten().tolist() == [-1, 1, -1, 3, -1]


def test_timm_tokens_are_those_after_the_final_norm():
    student = timm_vit(tokens=True, embed_dim=6)
    found = student(Batch(pixels=IMAGES))
    whole = student.trunk.forward_features(student.normalise(IMAGES))
    torch.testing.assert_close(found.cls, whole[:, 0])
    torch.testing.assert_close(found.patches, whole[:, 1:])
    torch.testing.assert_close(found.image, student.projection(whole[:, 0]))
    assert (student.grid, student.patches) == ((2, 2), 4)


def test_openclip_tokens_are_those_before_the_projection():
    student = openclip_vit(tokens=True)
    found = student(Batch(pixels=IMAGES))
    torch.testing.assert_close(found.image, student.visual(student.normalise(IMAGES)))
    torch.testing.assert_close(found.image, found.cls @ student.visual.proj)
    torch.testing.assert_close(found.patches.mean(-1), torch.zeros(3, 4), atol=1e-5, rtol=0)  # after the norm


def test_a_timm_tower_inside_openclip_has_tokens_too():
    vision = {"timm_model_name": "vit_tiny_patch16_224", "image_size": 32, "timm_pool": "", "timm_proj": "linear"}
    student = OpenclipImage(model=PAIR | {"vision_cfg": vision}, tokens=True)
    found = student(Batch(pixels=IMAGES))
    assert found.patches.shape == (3, 4, 192)
    torch.testing.assert_close(found.image, student.visual(student.normalise(IMAGES)))


def test_registers_are_no_patches():
    options = {"embed_dim": 24, "depth": 1, "num_heads": 3, "reg_tokens": 4}
    student = TimmImage(model="vit_tiny_patch16_224", image_size=32, options=options, tokens=True)
    assert student(Batch(pixels=IMAGES)).patches.shape == (3, 4, 24)


@both
def test_nothing_hidden_changes_nothing(vit):
    student = vit(tokens=True)
    found = student(Batch(pixels=IMAGES, mask=torch.zeros(3, 4, dtype=torch.bool)))
    torch.testing.assert_close(found.masked, found.patches)


@both
def test_hidden_patches_are_the_learned_token_at_their_place(vit):
    student = vit(tokens=True)
    mask = torch.tensor([[True, False, False, False]] * 3)
    repainted = IMAGES.clone()
    repainted[:, :, :16, :16] = 7  # the first patch of four
    first, second = (student(Batch(pixels=pixels, mask=mask)) for pixels in (IMAGES, repainted))
    torch.testing.assert_close(first.masked, second.masked)
    assert not torch.allclose(first.patches, second.patches)
    with torch.no_grad():
        student.mask_token += 1
    assert not torch.allclose(student(Batch(pixels=IMAGES, mask=mask)).masked, first.masked)


@both
def test_the_mask_token_starts_at_zero_and_learns(vit):
    student = vit(tokens=True)
    assert (student.mask_token == 0).all()
    student(Batch(pixels=IMAGES, mask=torch.ones(3, 4, dtype=torch.bool))).masked.square().sum().backward()
    assert student.mask_token.grad.norm() > 0


@both
def test_a_mask_for_another_grid_is_refused(vit):
    with pytest.raises(RecipeError, match="its grid is 2 x 2, the mask has 9 patches"):
        vit(tokens=True)(Batch(pixels=IMAGES, mask=torch.zeros(3, 9, dtype=torch.bool)))


@both
def test_dropped_patches_are_not_seen_at_all(vit):
    student = vit(drop_patches=0.9)  # int(4 * 0.1): none is left
    found = student(Batch(pixels=IMAGES))
    torch.testing.assert_close(found.masked_image, found.masked_image[:1].expand(3, -1))
    assert not torch.allclose(found.image, found.image[:1].expand(3, -1), atol=1e-4)


@both
def test_patches_are_dropped_at_random_and_only_in_the_second_forward(vit):
    student = vit(drop_patches=0.5)
    first, second = (student(Batch(pixels=IMAGES)) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert not torch.allclose(first.masked_image, second.masked_image)
    torch.manual_seed(5)
    third = student(Batch(pixels=IMAGES))
    torch.manual_seed(5)
    assert torch.equal(student(Batch(pixels=IMAGES)).masked_image, third.masked_image)


def test_a_part_of_a_patch_is_a_whole_one():
    student = timm_vit(drop_patches=0.01)  # int(4 * 0.99) = 3 of 4 stay
    found = student(Batch(pixels=IMAGES))
    assert not torch.allclose(found.masked_image, found.image)


@pytest.mark.parametrize("knobs", [{"tokens": True}, {"drop_patches": 0.5}], ids=str)
def test_what_is_no_vit_has_no_tokens(knobs):
    with pytest.raises(RecipeError, match="resnet18 is no vision transformer"):
        TimmImage(model="resnet18", image_size=32, **knobs)


def test_a_vit_whose_positions_turn_cannot_drop_patches():
    options = {"depth": 1}
    assert TimmImage(model="eva02_tiny_patch14_224", image_size=28, options=options, tokens=True).patches == 4
    with pytest.raises(RecipeError, match="leave out drop_patches"):
        TimmImage(model="eva02_tiny_patch14_224", image_size=28, options=options, drop_patches=0.5)


def test_logits_are_a_linear_map_of_what_is_pooled():
    student = timm_vit(classes=5, embed_dim=6)
    found = student(Batch(pixels=IMAGES))
    assert found.logits.shape == (3, 5)
    torch.testing.assert_close(found.logits, student.classifier(student.trunk(student.normalise(IMAGES))))


def test_layer_scale_and_drop_path_reach_the_trunk():
    student = timm_vit(layer_scale=0.5, drop_path=0.3)
    assert (student.trunk.blocks[1].ls1.gamma == 0.5).all()
    assert student.trunk.blocks[1].drop_path1.drop_prob == pytest.approx(0.3)
