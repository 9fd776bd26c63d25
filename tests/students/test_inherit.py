"""Weight inheritance: which tensors a student is cut out of, and whole students that start as parts of others."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from distillkit.errors import RecipeError, TeacherError
from distillkit.students._configs import openclip_config
from distillkit.students._heads import Heads, heads_of
from distillkit.students._inherit import inherit, inherit_from, inherited_layers
from distillkit.students.openclip_image import OpenclipImage
from distillkit.students.openclip_pair import OpenclipPair
from distillkit.students.openclip_slim import OpenclipSlim
from distillkit.students.openclip_text import OpenclipText
from distillkit.students.prompted import Prompted
from distillkit.students.timm_image import TimmImage
from distillkit.students.timm_slim import TimmSlim
from tests.students.small import IMAGES, PAIR, RESNET, TEXTS


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [(12, 6, [0, 2, 4, 6, 8, 10]), (12, 9, list(range(9))), (9, 6, list(range(6))), (12, 3, [0, 4, 8]), (2, 2, [0, 1])],
)
def test_layers_at_even_intervals_from_the_front(teacher, student, expected):
    assert inherited_layers(teacher, student) == expected


def test_more_layers_than_the_teacher_are_refused():
    with pytest.raises(RecipeError, match="13 layers, the teacher only 12"):
        inherited_layers(12, 13)


def test_heads_of_query_key_and_value_are_cut_each():
    # 3 heads of width 2: the rows of q are 0..5, of k 10..15, of v 20..25; the student has 2 heads.
    rows = torch.tensor([*range(6), *range(10, 16), *range(20, 26)]).float()
    teacher = {"blocks.0.attn.qkv.weight": rows[:, None].expand(18, 6), "blocks.0.attn.qkv.bias": rows}
    student = {"blocks.0.attn.qkv.weight": (12, 4), "blocks.0.attn.qkv.bias": (12,)}
    cut = inherit(teacher, student, {"blocks.0.attn.qkv.": Heads(3, 2)})
    expected = [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert cut["blocks.0.attn.qkv.bias"].tolist() == expected
    assert cut["blocks.0.attn.qkv.weight"].shape == (12, 4)
    assert cut["blocks.0.attn.qkv.weight"][:, 3].tolist() == expected


def test_stages_choose_their_layers_each():
    # Two stages of 2 and 4 blocks; the student keeps 1 and 2 of them. The numbers of an MLP's layers stay.
    teacher = {
        f"layers.{stage}.blocks.{block}.mlp.{part}.weight": torch.tensor([100.0 * stage + 10 * block + part])
        for stage, blocks in ((0, 2), (1, 4))
        for block in range(blocks)
        for part in (0, 2)
    }
    student = {
        f"layers.{stage}.blocks.{block}.mlp.{part}.weight": (1,)
        for stage, blocks in ((0, 1), (1, 2))
        for block in range(blocks)
        for part in (0, 2)
    }
    found = {name: value.item() for name, value in inherit(teacher, student, {}).items()}
    assert sorted(found.values()) == [0, 2, 100, 102, 120, 122]
    assert found["layers.1.blocks.1.mlp.2.weight"] == 122


def test_inherited_tensors_are_copies_and_scalars_come_whole():
    teacher = {"logit_scale": torch.tensor(4.6), "proj": torch.ones(4, 4)}
    cut = inherit(teacher, {"logit_scale": (), "proj": (2, 3)}, {})
    cut["proj"].zero_()
    assert teacher["proj"].sum() == 16
    assert cut["logit_scale"] == teacher["logit_scale"]


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"proj": (5, 2)}, r"proj is \[5, 2\] in the student, but \[4, 4\]"),
        ({"proj": (2,)}, "another kind of layer; take a student of the teacher's family"),
        ({"other": (2, 2)}, "the teacher has no 'other'"),
        ({"attn.in_proj_bias": (9,)}, "no whole heads of 2"),
        ({"conv1.weight": (4, 3, 8, 8)}, r"conv1.weight has a kernel of \[8, 8\], the teacher's \[16, 16\]"),
    ],
    ids=str,
)
def test_what_cannot_be_inherited_is_refused(student, message):
    teacher = {"proj": torch.ones(4, 4), "attn.in_proj_bias": torch.ones(12), "conv1.weight": torch.ones(4, 3, 16, 16)}
    with pytest.raises(RecipeError, match=message):
        inherit(teacher, student, {"attn.in_proj_": Heads(3, 2)})


# Whole students. The teacher is an open_clip folder, or a run that is finished.

HALF = PAIR | {
    "vision_cfg": PAIR["vision_cfg"] | {"width": 16, "layers": 1},
    "text_cfg": PAIR["text_cfg"] | {"width": 16, "heads": 1, "layers": 1},
}


def openclip_folder(folder, config, preprocess=None):
    """An open_clip teacher with random weights, all of them other than a new student's."""
    from open_clip.model import CLIP

    torch.manual_seed(11)
    teacher = CLIP(**config).eval()
    for value in teacher.parameters():
        value.data += 0.02 * torch.randn_like(value)
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}}))
    save_file(teacher.state_dict(), folder / "open_clip_model.safetensors")
    return teacher, f"local-dir:{folder}"


def finished_run(folder, kind, student, **knobs):
    """What evaluation needs of a run, as RunFolder leaves it."""
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps({"recipe": {"student": {"kind": kind, **knobs}}}))
    save_file(
        {name: value.contiguous() for name, value in student.state_dict().items()}, folder / "student.safetensors"
    )
    return f"run:{folder}"


@pytest.mark.parametrize("config", [PAIR, RESNET], ids=["ViT", "ResNet"])
def test_a_pair_as_large_as_its_teacher_is_its_teacher(tmp_path, config):
    teacher, name = openclip_folder(tmp_path / "teacher", config, {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]})
    student = OpenclipPair(model=config, inherit=name).eval()
    student.begin()
    pixels = IMAGES / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    expected = teacher.encode_image(pixels / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1))
    torch.testing.assert_close(student.embed(IMAGES), expected, rtol=1e-4, atol=1e-5)
    tokens = student.tokenize(TEXTS)
    full = torch.nn.functional.pad(tokens, (0, 10 - tokens.shape[1]))
    torch.testing.assert_close(student.embed_text(tokens), teacher.encode_text(full))
    assert torch.equal(student.logit_scale, teacher.logit_scale)


def test_one_tower_alone_inherits_as_in_the_pair(tmp_path):
    _, name = openclip_folder(tmp_path / "teacher", PAIR)
    pair, image, text = (kind(model=HALF, inherit=name).eval() for kind in (OpenclipPair, OpenclipImage, OpenclipText))
    for student in (pair, image, text):
        student.begin()
    torch.testing.assert_close(image.embed(IMAGES), pair.embed(IMAGES))
    tokens = pair.tokenize(TEXTS)
    torch.testing.assert_close(text.embed_text(tokens), pair.embed_text(tokens))


def test_a_smaller_pair_has_first_channels_heads_and_layers(tmp_path):
    teacher, name = openclip_folder(tmp_path / "teacher", PAIR)
    student = OpenclipPair(model=HALF, inherit=name)
    student.begin()
    theirs, ours = teacher.visual.transformer.resblocks[0], student.visual.transformer.resblocks[0]
    q_k_v = theirs.attn.in_proj_weight.unflatten(0, (3, 32))[:, :16, :16].flatten(0, 1)
    assert torch.equal(ours.attn.in_proj_weight, q_k_v)
    assert torch.equal(ours.mlp.c_fc.weight, theirs.mlp.c_fc.weight[:64, :16])
    assert torch.equal(student.visual.conv1.weight, teacher.visual.conv1.weight[:16])
    assert torch.equal(student.visual.proj, teacher.visual.proj[:16])
    assert torch.equal(student.text.token_embedding.weight, teacher.token_embedding.weight[:, :16])


def test_a_text_tower_may_read_fewer_tokens_an_image_tower_may_not_see_fewer_patches(tmp_path):
    _, name = openclip_folder(tmp_path / "teacher", PAIR)
    short = OpenclipText(model=PAIR | {"text_cfg": PAIR["text_cfg"] | {"context_length": 6}}, inherit=name)
    short.begin()
    assert short.tokenize(TEXTS).shape == (3, 6)
    with pytest.raises(RecipeError, match=r"the student has 17 positions .*, the teacher 5; choose image_size"):
        OpenclipPair(model=PAIR, image_size=64, inherit=name).begin()


def test_heads_of_other_width_are_refused(tmp_path):
    _, name = openclip_folder(tmp_path / "teacher", PAIR)
    with pytest.raises(RecipeError, match="heads are 8 and 16 wide in student and teacher"):
        OpenclipImage(model=PAIR | {"vision_cfg": PAIR["vision_cfg"] | {"head_width": 8}}, inherit=name).begin()


def test_another_family_is_refused(tmp_path):
    _, name = openclip_folder(tmp_path / "teacher", PAIR)
    with pytest.raises(RecipeError, match="the teacher"):
        OpenclipImage(model=RESNET, inherit=name).begin()


def test_building_needs_no_teacher():
    """Only a fresh run begins: evaluation and resumption build the student where the teacher is long gone."""
    OpenclipPair(model=PAIR, inherit="local-dir:/nowhere")
    TimmImage(model="resnet18", image_size=32, inherit="run:/nowhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("local-dir:/nowhere", "/nowhere"),
        ("run:/nowhere", "no finished run is there"),
        ("ViT-B-32", "cannot be loaded"),
        ("ViT-B-33/openai", "did you mean ViT-B-32"),
    ],
)
def test_teachers_that_are_not_there(name, message):
    with pytest.raises((TeacherError, RecipeError), match=message) as caught:
        OpenclipPair(model=PAIR, inherit=name).begin()
    assert "\n" not in str(caught.value)


TIMM = {"model": "vit_tiny_patch16_224", "image_size": 32}


def test_a_later_stage_inherits_from_an_earlier_run(tmp_path):
    options = {"embed_dim": 32, "depth": 4, "num_heads": 2}
    first = TimmImage(**TIMM, embed_dim=8, options=options).eval()
    torch.nn.init.normal_(first.trunk.blocks[2].attn.qkv.bias)
    name = finished_run(tmp_path / "first", "timm_image", first, **TIMM, embed_dim=8, options=options)
    second = TimmImage(**TIMM, options=options | {"depth": 2, "embed_dim": 16, "num_heads": 1}, inherit=name)
    second.begin()
    expected = first.trunk.blocks[2].attn.qkv.bias.unflatten(0, (3, 32))[:, :16].flatten()  # layers 0 and 2 of four
    assert torch.equal(second.trunk.blocks[1].attn.qkv.bias, expected)


def test_a_timm_trunk_as_large_as_its_teacher_is_its_teacher(tmp_path):
    first = TimmImage(**TIMM, options={"depth": 2}).eval()
    file = tmp_path / "weights.safetensors"
    save_file(first.trunk.state_dict(), file)
    second = TimmImage(**TIMM, inherit=f"vit_tiny_patch16_224/{file}", options={"depth": 2}).eval()
    with pytest.raises(TeacherError, match=r"the file lacks .* and 119 more"):
        second.begin()  # the file has two of twelve layers
    whole = TimmImage(**TIMM).eval()
    save_file(whole.trunk.state_dict(), file)
    copy = TimmImage(**TIMM, inherit=f"vit_tiny_patch16_224/{file}").eval()
    copy.begin()
    torch.testing.assert_close(copy.embed(IMAGES), whole.embed(IMAGES))
    second.begin()
    assert torch.equal(second.trunk.blocks[1].mlp.fc1.weight, whole.trunk.blocks[6].mlp.fc1.weight)


@pytest.mark.parametrize("options", [{"depth": 2}, {"depth": 1}], ids=["whole", "part"])
def test_a_timm_student_normalises_as_those_whose_weights_it_takes_over(tmp_path, options):
    """The same network by another name, which was trained with another mean and deviation."""
    first = TimmImage(model="deit_tiny_patch16_224", image_size=32, options={"depth": 2}).eval()
    of = {"model": "deit_tiny_patch16_224", "image_size": 32, "options": {"depth": 2}}
    run = finished_run(tmp_path / "first", "timm_image", first, **of)
    second = TimmImage(**TIMM, embed_dim=8, options=options, inherit=run)
    assert not torch.equal(second.normalise.mean, first.normalise.mean)
    second.begin()
    assert torch.equal(second.normalise.mean, first.normalise.mean)
    assert torch.equal(second.normalise.std, first.normalise.std)
    whole = TimmImage(model="deit_tiny_patch16_224", image_size=32)
    save_file(whole.trunk.state_dict(), tmp_path / "weights.safetensors")
    for kind, more in ((TimmImage, {}), (TimmSlim, {"masks": False})):
        file = kind(**TIMM, **more, embed_dim=8, inherit=f"deit_tiny_patch16_224/{tmp_path}/weights.safetensors")
        file.begin()
        assert torch.equal(file.normalise.mean, first.normalise.mean)


QUICK = {"quick_gelu": True}


@pytest.mark.parametrize(
    "build",
    [
        OpenclipPair,
        OpenclipImage,
        OpenclipText,
        lambda **knobs: OpenclipSlim(**knobs, masks=True),
        lambda **knobs: Prompted(**knobs, image={"kind": "timm_image", **TIMM, "options": {"depth": 1}}, context=2),
    ],
    ids=["pair", "image", "text", "slim", "prompted"],
)
def test_weights_go_with_the_activation_that_they_were_trained_with(tmp_path, build):
    """OpenAI's CLIPs have QuickGELU: with another one their weights say other things, and nothing would tell."""
    _, plain = openclip_folder(tmp_path / "plain", PAIR)
    _, quick = openclip_folder(tmp_path / "quick", PAIR | QUICK)
    for config, name, cure in (
        (PAIR, quick, 'add "-quickgelu" to the name of student.model, or quick_gelu = true to its table'),
        (PAIR | QUICK, plain, "set student.model to a network with the same"),
    ):
        with pytest.raises(RecipeError, match=cure):
            build(model=config, inherit=name).begin()
    build(model=PAIR | QUICK, inherit=quick).begin()


def test_pairs_of_papers_have_that_activation_by_a_name_as_those_of_open_clip_do():
    for name in ("TinyCLIP-ViT-8M-16-Text-3M", "ViT-B-16"):
        plain, quick = openclip_config(name), openclip_config(f"{name}-quickgelu")
        assert quick == plain | QUICK
    with pytest.raises(RecipeError, match="no open_clip model 'nobody-quickgelu'"):
        openclip_config("nobody-quickgelu")


def test_convolutional_stages_inherit_each(tmp_path):
    teacher = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    teacher[1].running_mean.copy_(torch.arange(8.0))
    student = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5))
    inherit_from(teacher, student, "toy")
    assert torch.equal(student[0].weight, teacher[0].weight[:5])
    assert student[1].running_mean.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ("ViT-B-16", "TinyCLIP-ViT-39M-16-Text-19M"),
        ("ViT-B-16", "TinyCLIP-ViT-8M-16-Text-3M"),
        ("TinyCLIP-ViT-39M-16-Text-19M", "TinyCLIP-ViT-8M-16-Text-3M"),
        ("ViT-B-32", "TinyCLIP-ViT-61M-32-Text-29M"),
        ("TinyCLIP-ViT-61M-32-Text-29M", "TinyCLIP-ViT-40M-32-Text-19M"),
        ("RN50", "TinyCLIP-ResNet-30M-Text-29M"),
        ("TinyCLIP-ResNet-30M-Text-29M", "TinyCLIP-ResNet-19M-Text-19M"),
    ],
)
def test_the_papers_stages_fit(teacher, student):
    with torch.device("meta"):
        large, small = OpenclipPair(model=teacher), OpenclipPair(model=student)
    inherit_from(large.visual, small.visual, teacher)
    inherit_from(large.text, small.text, teacher, all_positions=False)


def test_other_patches_are_refused():
    with torch.device("meta"):
        large, small = OpenclipImage(model="ViT-B-32"), OpenclipImage(model="TinyCLIP-ViT-39M-16-Text-19M")
    with pytest.raises(RecipeError, match=r"the student has 197 positions .* the teacher 50"):
        inherit_from(large.visual, small.visual, "ViT-B-32")


FAMILIES = [
    ("swin_small_patch4_window7_224", "swin_tiny_patch4_window7_224"),
    ("swin_base_patch4_window7_224", "swin_tiny_patch4_window7_224"),
    ("swinv2_base_window8_256", "swinv2_tiny_window8_256"),
    ("tiny_vit_21m_224", "tiny_vit_5m_224"),
    ("convnext_base", "convnext_tiny"),
    ("convnextv2_base", "convnextv2_nano"),
    ("mobilenetv3_large_100", "mobilenetv3_large_075"),
    ("mobilenetv2_140", "mobilenetv2_050"),
    ("efficientnet_b1", "efficientnet_b0"),
    ("pvt_v2_b2", "pvt_v2_b1"),
    ("maxvit_small_tf_224", "maxvit_tiny_tf_224"),
]


@pytest.mark.parametrize(("teacher", "student"), FAMILIES, ids=[f"{large}-{small}" for large, small in FAMILIES])
def test_families_with_stages_inherit_depth_channels_and_heads(teacher, student):
    with torch.device("meta"):
        large, small = (timm.create_model(name, num_classes=0) for name in (teacher, student))
    theirs = {name: torch.zeros(value.shape) for name, value in large.state_dict().items()}
    for name, (parts, width) in heads_of(large).items():
        rows = theirs[f"{name}weight"]
        number = torch.arange(len(rows)).view(-1, *[1] * (rows.ndim - 1))
        rows += number % (len(rows) // parts) // width  # each row tells its head, in each part
    ours = {name: tuple(value.shape) for name, value in small.state_dict().items()}
    made = inherit(theirs, ours, heads_of(small))
    assert {name: tuple(value.shape) for name, value in made.items()} == ours
    for name, (parts, width) in heads_of(small).items():
        heads = made[f"{name}weight"].flatten(1)[:, 0].view(parts, -1, width)
        assert (heads == torch.arange(heads.shape[1]).view(1, -1, 1)).all(), name
    inherit_from(large, small, teacher)


def test_pairs_that_cannot_inherit_say_which_layer_is_of_another_kind():
    for teacher, student, reason in (
        ("mobilenetv3_large_100", "mobilenetv3_small_050", "take a student whose blocks are of the teacher's kind"),
        ("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "has 18 layers, the teacher only 6"),
        ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "the teacher"),
        ("pvt_v2_b1", "pvt_v2_b0", "heads are 32 and 64 wide"),
        ("levit_128", "levit_256", "take a smaller one"),
    ):
        with torch.device("meta"):
            large, small = (timm.create_model(name, num_classes=0) for name in (teacher, student))
        with pytest.raises(RecipeError, match=reason):
            inherit_from(large, small, teacher)
