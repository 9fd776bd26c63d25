"""timm networks as teachers: from a folder, a file of weights, a name whose weights cannot be had."""

import functools
import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from distillkit.errors import TeacherError
from distillkit.system.progress import heard_by
from distillkit.teachers._preprocess import normalised
from distillkit.teachers.timm import Timm

# DINOv2 with registers, as small as can be: 14-pixel patches, one class token, four registers.
DINO = {"embed_dim": 32, "depth": 1, "num_heads": 2}
NAME = "vit_small_patch14_reg4_dinov2"


def make_dino(folder, seed=0, pixels=28, name=NAME):
    """A timm folder with random weights."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = timm.create_model(name, img_size=pixels, num_classes=0, **DINO)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    shown = {"input_size": [3, pixels, pixels], "mean": mean, "std": std, "interpolation": "bicubic", "crop_pct": 0.8}
    config = {"architecture": name, "num_classes": 0, "model_args": DINO, "pretrained_cfg": shown | {"num_classes": 0}}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


def example(folder):
    return {"model": f"local-dir:{make_dino(folder / 'dino')}", "image_size": 28, "device": "cpu"}


def teacher(model, weights=None, **knobs):
    return Timm(model=model, weights=weights and str(weights), **{"device": "cpu", "image_size": 32} | knobs)


def refusal(model, **knobs):
    with pytest.raises(TeacherError) as caught:
        teacher(model, **knobs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return make_dino(tmp_path_factory.mktemp("timm") / "dino", pixels=56)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory):
    """timm's own test network with its classifier, as a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "supervised.safetensors"
    save_file(timm.create_model("test_vit", img_size=32).state_dict(), path)
    return path


PIXELS = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))


# It says what timm says.


def test_it_is_timm_itself(dino):
    network = timm.create_model(NAME, img_size=56, num_classes=0, **DINO).eval()
    network.load_state_dict(load_file(dino / "model.safetensors"))
    made = teacher(f"local-dir:{dino}", image_size=56)
    with torch.inference_mode():
        tokens, said = network.forward_features(PIXELS), made.forward(PIXELS)
        assert torch.equal(said.image, network(PIXELS))
    assert torch.equal(said.cls, tokens[:, 0]) and torch.equal(said.patches, tokens[:, 5:])
    assert made.fields == {"image": [32], "cls": [32], "patches": [16, 32]} and said.scale is None
    only = made.forward(PIXELS, fields=["cls"])
    assert torch.equal(only.cls, said.cls) and only.image is None and only.patches is None


def test_patches_are_pooled_cell_by_cell(dino):
    full = teacher(f"local-dir:{dino}", image_size=56).forward(PIXELS).patches.reshape(2, 4, 4, 32)
    half, one = (teacher(f"local-dir:{dino}", image_size=56, grid=grid) for grid in (2, 1))
    assert half.fields["patches"] == [4, 32] and one.fields["patches"] == [1, 32]
    cells = [full[:, :2, :2], full[:, :2, 2:], full[:, 2:, :2], full[:, 2:, 2:]]
    by_hand = torch.stack([cell.reshape(2, 4, 32).mean(1) for cell in cells], 1)
    torch.testing.assert_close(half.forward(PIXELS).patches, by_hand)
    torch.testing.assert_close(one.forward(PIXELS).patches[:, 0], full.mean((1, 2)))
    assert half.fingerprint() == one.fingerprint()  # the grid is in the shape of the field


def test_the_embedding_is_before_the_classifier(supervised):
    network = timm.create_model("test_vit", img_size=32).eval()
    network.load_state_dict(load_file(supervised))
    made = teacher("test_vit", weights=supervised)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(PIXELS[:, :, :32, :32]), pre_logits=True)
    assert torch.equal(made.forward(PIXELS[:, :, :32, :32]).image, expected)
    assert made.fields == {"image": [64], "cls": [64], "patches": [4, 64]}


@pytest.mark.parametrize(
    ("name", "fields"),
    [("test_resnet", {"image"}), ("test_vit3", {"image", "patches"}), ("test_convnext", {"image"})],
)
def test_every_family_says_what_it_can(name, fields, tmp_path):
    torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pth")
    made = teacher(name, weights=tmp_path / "weights.pth", image_size=160)
    said = made.forward(torch.zeros(1, 3, 160, 160))
    assert made.fields.keys() == fields
    assert all(list(getattr(said, field).shape[1:]) == shape for field, shape in made.fields.items())


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "crossvit_9_240"])
def test_a_network_of_other_habits_is_asked_like_any(name, tmp_path):
    """XCiT has one number for both sides of a patch; CrossViT gives the tokens of its branches as a list."""
    size = int(name[-3:])
    torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pth")
    made = teacher(name, weights=tmp_path / "weights.pth", image_size=size)
    pixels = torch.rand(1, 3, size, size)
    with torch.inference_mode():
        assert torch.equal(made.forward(pixels).image, made.model.forward(pixels))
    assert made.fields.keys() == {"image"}


def test_tokens_of_a_network_that_norms_only_what_it_has_pooled_are_as_the_last_block_leaves_them(tmp_path):
    folder = make_dino(tmp_path / "beit", name="beit_base_patch16_224", pixels=32)
    made = teacher(f"local-dir:{folder}")
    with torch.inference_mode():
        seen = made.model.forward_features(torch.zeros(1, 3, 32, 32))
        said = made.forward(torch.zeros(1, 3, 32, 32))
        assert torch.equal(said.patches, seen[:, 1:]) and torch.equal(said.cls, seen[:, 0])
        assert torch.allclose(said.image, made.model.fc_norm(said.patches.mean(1)), atol=1e-6)


def test_half_precision_computes_in_it_and_answers_in_float32(dino):
    whole, half = (
        teacher(f"local-dir:{dino}", image_size=56, precision=precision).forward(PIXELS).patches
        for precision in ("fp32", "bf16")
    )
    assert half.dtype == torch.float32 and not torch.equal(whole, half) and torch.allclose(whole, half, atol=0.1)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_that_lie_rounded_are_those_that_autocast_would_round(dino, precision, monkeypatch):
    def made():
        return teacher(f"local-dir:{dino}", image_size=56, precision=precision)

    rounded = made()
    monkeypatch.setattr("distillkit.teachers.timm.lower", lambda *_, **__: None)
    whole = made()
    assert rounded.model.blocks[0].attn.qkv.weight.dtype != whole.model.blocks[0].attn.qkv.weight.dtype
    assert torch.equal(rounded.forward(PIXELS).patches, whole.forward(PIXELS).patches)
    assert rounded.fingerprint() == whole.fingerprint(), "of the weights as they came"


def test_dinov3_has_a_class_token_four_registers_and_rotary_positions(tmp_path):
    made = teacher(f"local-dir:{make_dino(tmp_path / 'v3', name='vit_small_patch16_dinov3')}")
    assert made.fields == {"image": [32], "cls": [32], "patches": [4, 32]} and made.prefix_tokens == 5


# Classes.


@pytest.mark.parametrize("weights", ["safetensors", "pth"])
def test_the_classifier_is_kept_where_it_is_asked_for(supervised, tmp_path, weights):
    network = timm.create_model("test_vit", img_size=32).eval()
    network.load_state_dict(load_file(supervised))
    file = tmp_path / f"weights.{weights}"
    (save_file if weights == "safetensors" else torch.save)(network.state_dict(), file)
    pixels = PIXELS[:, :, :32, :32]
    with torch.inference_mode():
        expected = network(pixels)
    dense, best = (teacher("test_vit", weights=file, top_k=top_k) for top_k in ("all", 7))
    assert torch.equal(dense.forward(pixels).logits, expected) and dense.fields["logits"] == [1000]
    said = best.forward(pixels)
    assert best.fields["logits"] == best.fields["classes"] == [7] and said.classes.dtype == torch.int32
    chances, places = expected.softmax(1).topk(7)
    assert torch.equal(said.classes.long(), places)
    torch.testing.assert_close(said.logits.exp(), chances)  # of all classes: what the seven leave of 1 is known
    headless = teacher("test_vit", weights=file).fingerprint()
    assert best.fingerprint()["classes"] == 1000 and "classes" not in headless
    assert best.fingerprint()["weights_sha256"] != headless["weights_sha256"]


def test_a_classifier_may_have_any_number_of_classes(tmp_path):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", img_size=32, num_classes=30).state_dict(), tmp_path / "30.safetensors")
    assert teacher("test_vit", weights=tmp_path / "30.safetensors", top_k=9).classes == 30
    told = refusal("test_vit", weights=tmp_path / "30.safetensors", top_k=31)
    assert 'teacher.top_k = 31, its classes are 30; take fewer, or "all"' in told


def test_no_classifier_no_classes(dino):
    assert "has no classifier; leave teacher.top_k out" in refusal(f"local-dir:{dino}", image_size=28, top_k=5)


# The weights that are meant, and no others.


def test_other_weights_than_expected_are_refused_naming_both(dino):
    model = f"local-dir:{dino}"
    is_so = teacher(model, image_size=28).fingerprint()["weights_sha256"]
    for expected in (is_so, is_so[:12], is_so.upper()):
        teacher(model, image_size=28, sha256=expected)
    for expected in ("0" * 64, is_so[:7], is_so + "0"):
        told = refusal(model, image_size=28, sha256=expected)
        assert f"its weights have sha256 {is_so}, the recipe expects '{expected}'; mend teacher.sha256" in told


def test_a_compiled_network_says_the_same(dino, monkeypatch):
    """Through the first half of torch.compile alone: what its second half makes of it is its own affair, and slow."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    one, other = (teacher(f"local-dir:{dino}", image_size=56, compile=fast) for fast in (False, True))
    for images in (2, 1):
        torch.testing.assert_close(other.forward(PIXELS[:images]).patches, one.forward(PIXELS[:images]).patches)
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.slow
def test_a_network_that_is_compiled_to_the_end_says_the_same(dino):
    one, other = (teacher(f"local-dir:{dino}", image_size=56, compile=fast) for fast in (False, True))
    torch.testing.assert_close(other.forward(PIXELS).patches, one.forward(PIXELS).patches, rtol=1e-4, atol=1e-5)


def test_a_compiler_that_does_not_work_is_one_line(dino, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    made = teacher(f"local-dir:{dino}", image_size=56, compile=True)
    with pytest.raises(TeacherError, match=r"torch\.compile does not work here \(") as caught:
        made.forward(PIXELS)
    assert "\n" not in str(caught.value)


def test_each_shape_is_compiled_once_and_the_last_batch_of_a_shard_is_filled_up(dino, monkeypatch):
    """Compiling takes a minute on a GPU: not for the one image that is asked first, nor for what is left over."""
    torch.compiler.reset()
    made = []

    def counted(graph, inputs):
        made.append([tuple(one.shape) for one in inputs if isinstance(one, torch.Tensor) and one.ndim == 4])
        return graph

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counted))
    one, other = (teacher(f"local-dir:{dino}", image_size=56, compile=fast) for fast in (False, True))
    assert not made
    for pixels in (PIXELS, PIXELS[:2], PIXELS[:1], PIXELS):
        for field in ("image", "patches", "cls"):
            theirs, ours = (getattr(who.forward(pixels), field) for who in (one, other))
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert len(made) == 1


# Resolution and preprocessing are explicit.


def test_the_image_size_is_the_recipes_and_positions_follow(dino):
    """Half the size: every position is what timm's resampling makes of the four that lie there."""
    made = teacher(f"local-dir:{dino}", image_size=28)
    from timm.layers import resample_abs_pos_embed

    positions = load_file(dino / "model.safetensors")["pos_embed"]
    expected = resample_abs_pos_embed(positions, new_size=(2, 2), num_prefix_tokens=0, antialias=True)
    assert torch.allclose(made.model.pos_embed, expected, atol=1e-6)
    assert made.fingerprint()["image_size"] == 28 and made.fingerprint()["preprocess"]["input_size"] == [3, 28, 28]
    assert Timm.__init__.__kwdefaults__["image_size"] == 224


def test_positions_that_timm_does_not_resample_want_the_size_that_they_were_trained_at(tmp_path):
    folder = make_dino(tmp_path / "cait", name="cait_xxs24_224", pixels=32)
    assert teacher(f"local-dir:{folder}", image_size=32).fields.keys() == {"image", "cls", "patches"}
    told = refusal(f"local-dir:{folder}", image_size=64)
    assert "its weights are of another image size" in told and "another network" not in told
    assert "(1 tensor of another shape (first pos_embed: [1, 4, 32] for [1, 16, 32])); set teacher.image_size" in told


@pytest.mark.parametrize(("size", "told"), [(28, 1), (56, 0)])
def test_another_image_size_than_it_was_made_for_is_told_with_the_knob(dino, size, told):
    heard = []
    with heard_by(heard.append):
        teacher(f"local-dir:{dino}", image_size=size)
    line = f"teacher local-dir:{dino}: was made for images of 56 pixels and is shown 28; teacher.image_size = 56"
    assert [one.startswith(line) for one in heard if "made for" in one] == [True] * told, heard


def test_preprocessing_by_hand(dino):
    """crop_pct 0.8: the short side to 28 / 0.8 = 35 pixels, the middle 28, mean and std."""
    made = teacher(f"local-dir:{dino}", image_size=28)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8))
    shown = np.asarray(image.resize((45, 35), Image.Resampling.BICUBIC).crop((8, 4, 36, 32)), np.float32) / 255
    expected = (shown - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    seen = normalised(made.preprocess(image)[None], [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], made.device)
    np.testing.assert_allclose(seen[0].numpy(), expected.transpose(2, 0, 1), atol=0.02)
    fingerprint = made.fingerprint()["preprocess"]
    assert fingerprint["crop_pct"] == 0.8 and fingerprint["interpolation"] == "bicubic"
    assert fingerprint["crop_mode"] == "center" and fingerprint["mean"] == [0.485, 0.456, 0.406]


# The fingerprint.


def test_one_changed_weight_is_another_teacher(dino, tmp_path):
    other = make_dino(tmp_path / "other", pixels=56)
    one = teacher(f"local-dir:{dino}", image_size=56).fingerprint()
    assert teacher(f"local-dir:{other}", image_size=56).fingerprint()["weights_sha256"] == one["weights_sha256"]
    weights = load_file(other / "model.safetensors")
    weights["blocks.0.ls1.gamma"][3] += 1e-3
    save_file(weights, other / "model.safetensors")
    changed = teacher(f"local-dir:{other}", image_size=56).fingerprint()
    assert {key for key in one if one[key] != changed[key]} == {"weights_sha256", "model"}
    assert one["activation"] == "gelu" and one["parameters"] == {"image": sum(map(torch.numel, weights.values()))}


# Weights from a file.


def test_a_file_may_hold_more_than_the_network(supervised, tmp_path):
    """SynCLR's checkpoints hold the backbone as `visual.`, beside heads that only its training needs."""
    weights = load_file(supervised)
    held = {f"module.visual.{name}": value for name, value in weights.items()} | {"module.head.w": torch.zeros(1)}
    torch.save({"model": held, "epoch": 3}, tmp_path / "synclr.pth")
    made = teacher("test_vit", weights=tmp_path / "synclr.pth", prefix="visual.")
    plain = teacher("test_vit", weights=supervised)
    assert made.fingerprint()["weights_sha256"] == plain.fingerprint()["weights_sha256"]
    told = refusal("test_vit", weights=tmp_path / "synclr.pth")
    assert " tensors (first visual." in told and "set teacher.prefix = 'visual.', with which its names begin" in told
    told = refusal("test_vit", weights=tmp_path / "synclr.pth", prefix="vis.")
    assert "no tensor in it begins with 'vis.'" in told


def test_nothing_is_left_to_chance(supervised, tmp_path):
    weights = load_file(supervised)
    del weights["norm.bias"]
    save_file(weights, tmp_path / "less.safetensors")
    told = refusal("test_vit", weights=tmp_path / "less.safetensors")
    assert "another network's: 1 tensor (first norm.bias) of the network not in the file; name a file of this" in told
    for content in (supervised.read_bytes()[:5000], b"", b"rubbish" * 100):
        (tmp_path / "damaged.safetensors").write_bytes(content)
        assert "cannot be loaded: " in refusal("test_vit", weights=tmp_path / "damaged.safetensors")
        (tmp_path / "damaged.pth").write_bytes(content)
        assert "cannot be loaded: " in refusal("test_vit", weights=tmp_path / "damaged.pth")


def test_a_whole_file_with_other_names_or_shapes_is_not_called_damaged(supervised, tmp_path):
    weights = load_file(supervised)
    save_file({name.replace("blocks", "_blocks"): one for name, one in weights.items()}, tmp_path / "named.safetensors")
    told, moved = refusal("test_vit", weights=tmp_path / "named.safetensors"), sum("blocks" in one for one in weights)
    assert "named.safetensors': the file can be read, but its tensors are another network's: " in told
    assert f"{moved} tensors (first _blocks.0." in told and f"{moved} tensors (first blocks.0." in told
    assert "rename them to timm's names, which timm.create_model('test_vit').state_dict() lists, or name anoth" in told
    weights["norm.bias"] = torch.zeros(3)
    save_file(weights, tmp_path / "shaped.safetensors")
    told = refusal("test_vit", weights=tmp_path / "shaped.safetensors")
    assert "1 tensor of another shape (first norm.bias: [3] for [64]); name a file of this network" in told
    assert "fetch its files again" not in told


def test_weights_that_could_run_code_are_refused(tmp_path):
    torch.save({"anything": tmp_path}, tmp_path / "weights.pth")
    told = refusal("test_vit", weights=tmp_path / "weights.pth")
    assert "holds more than tensors, which is not safe to load" in told


def test_files_may_be_given_by_placeholders(supervised, monkeypatch):
    monkeypatch.setenv("HOME", str(supervised.parent))
    made = teacher("test_vit", weights=f"~/{supervised.name}")
    assert made.fingerprint()["weights"] == f"~/{supervised.name}"


# What cannot be had is one line that says what to do.


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"model": "vit_smal_patch14_dinov2"}, "timm has no model 'vit_smal_patch14_dinov2', did you mean vit_small_"),
        ({"model": ""}, "timm has no model ''"),
        ({"model": f"{NAME}.lvd142"}, f"{NAME} has no weights 'lvd142', did you mean lvd142m?"),
        ({"model": "test_vit4"}, "timm knows the network but no weights for it; set weights = 'path/to/the/file'"),
        ({"model": "local-dir:/nowhere"}, "/nowhere: no such folder; it must hold config.json and the weights"),
        ({"model": "test_vit", "weights": "/nowhere"}, "test_vit: weights = '/nowhere': no such file"),
        ({"model": "hf-hub:a/b", "weights": "x"}, "with `weights`, give `model` as a name of timm's"),
        ({"model": "test_vit", "device": "warp"}, "device = 'warp': cannot be used here"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    assert message in refusal(**knobs)


def test_sizes_and_grids_that_do_not_fit(dino):
    assert "image_size = 30 is no multiple of its patches of 14 x 14 pixels" in refusal(
        f"local-dir:{dino}", image_size=30
    )
    for grid in (3, 0, 8):
        told = refusal(f"local-dir:{dino}", image_size=56, grid=grid)
        assert f'teacher.grid = {grid} does not divide its 4 x 4 patches; take one of: 1, 2, 4, or "full"' in told


@pytest.mark.parametrize("model", [f"{NAME}.lvd142m", "hf-hub:timm/vit_small_patch14_reg4_dinov2.lvd142m"])
def test_without_a_network_it_says_what_to_fetch(model, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    told = refusal(model)
    assert f"{model}: could not be fetched (" in told and len(told) < 600
    assert f'run: hf download timm/{NAME}.lvd142m --local-dir FOLDER, and set model = "local-dir:FOLDER"' in told


def test_nothing_is_said_on_the_way(dino, capfd, caplog):
    teacher(f"local-dir:{dino}", image_size=28)
    assert capfd.readouterr() == ("", "") and not caplog.records
