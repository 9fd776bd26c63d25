"""open_clip models as teachers: by name and tag, from a folder, from a hub that cannot be reached."""

import functools
import json
import re
import shutil

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from distillkit.errors import TeacherError
from distillkit.store.format.sameness import other_teacher
from distillkit.teachers import _openclip_network, openclip
from distillkit.teachers.openclip import Openclip
from tests.conftest import TEACHER, make_teacher

TEXTS = ["a", "a photo of a cat", "a very long text " * 8, "", "!!!", "zwei Füchse — 两只狐狸"]


def example(folder):
    return {"model": f"local-dir:{make_teacher(folder / 'toy')}", "device": "cpu"}


@pytest.fixture(scope="module")
def teacher(teacher_folder):
    return Openclip(model=f"local-dir:{teacher_folder}", device="cpu")


@pytest.fixture
def folder(teacher_folder, tmp_path):
    """A copy of the toy teacher, to be changed."""
    return shutil.copytree(teacher_folder, tmp_path / "changed")


def configure(folder, **model):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"] |= model
    path.write_text(json.dumps(config))


def refusal(model, **knobs):
    with pytest.raises(TeacherError) as caught:
        Openclip(model=str(model), **{"device": "cpu"} | knobs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# It says what open_clip says.


def test_it_is_open_clip_itself(teacher, teacher_folder):
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{teacher_folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{teacher_folder}")(TEXTS)
    image = preprocess(Image.new("RGB", (50, 40), (200, 100, 50)))
    with torch.inference_mode():
        model.eval()
        assert torch.allclose(teacher.forward(pixels=image[None]).image, model.encode_image(image[None]), atol=1e-6)
        assert torch.allclose(teacher.forward(tokens=tokens).text, model.encode_text(tokens), atol=1e-6)
    assert teacher.scale == pytest.approx(model.logit_scale.exp().item())


def test_trimmed_texts_say_the_same(teacher):
    tokens, lengths = teacher.tokenize(TEXTS)
    assert teacher.trims and lengths.tolist()[:2] == [3, 7] and lengths.max() <= 77
    whole = teacher.encode_text(tokens)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            teacher.encode_text(tokens[row : row + 1, :length])[0], whole[row], rtol=1e-4, atol=1e-5
        )


def test_trimming_leaves_the_tower_as_it_was(teacher):
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    tokens, _ = teacher.tokenize(["a cat"])
    whole = teacher.encode_text(tokens)
    teacher.encode_text(tokens[:, :4])
    with pytest.raises(IndexError):  # even when the tower fails in between
        teacher.encode_text(torch.full((1, 4), 10**6))
    assert torch.equal(teacher.encode_text(tokens), whole)
    after = teacher.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_towers_that_look_at_their_padding_are_not_trimmed(folder):
    """SigLIP's text tower has no causal mask and takes its last token, so padding changes what it says."""
    text = TEACHER["text_cfg"] | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    siglip = rebuilt(folder, custom_text=True, text_cfg=text)
    tokens, lengths = siglip.tokenize(["a cat", "a dog on a boat"])
    assert not siglip.trims and lengths.tolist() == [tokens.shape[1]] * 2


def test_coca_with_its_own_token_behind_the_text_works(folder):
    text = TEACHER["text_cfg"] | {"context_length": 76, "embed_cls": True, "output_tokens": True}
    vision = TEACHER["vision_cfg"] | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    heads = {"heads": 2, "layers": 1, "attn_pooler_heads": 2}
    multimodal = {"context_length": 76, "vocab_size": 49408, "width": 32} | heads
    coca = rebuilt(folder, text_cfg=text, vision_cfg=vision, multimodal_cfg=multimodal, custom_text=True)
    assert coca.encode_text(coca.tokenize(["a cat"])[0]).shape == (1, 32)
    assert coca.forward(pixels=torch.zeros(1, 3, 32, 32)).image.shape == (1, 32)
    assert coca.fields.keys() == {"image", "text"}  # its tokens are queries, not patches


def rebuilt(folder, **model):
    """The toy teacher with another architecture and random weights for it."""
    from open_clip.coca_model import CoCa
    from open_clip.model import CustomTextCLIP

    configure(folder, **model)
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    config.pop("custom_text", None)
    torch.manual_seed(0)
    made = (CoCa if "multimodal_cfg" in config else CustomTextCLIP)(**config)
    weights = {name: value.clone().contiguous() for name, value in made.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return Openclip(model=f"local-dir:{folder}", device="cpu")


def test_half_precision_computes_in_it_and_answers_in_float32(teacher_folder, teacher):
    half = Openclip(model=f"local-dir:{teacher_folder}", device="cpu", precision="bf16")
    tokens, _ = half.tokenize(["a cat"])
    one, other = half.encode_text(tokens), teacher.encode_text(tokens)
    assert one.dtype == torch.float32 and not torch.equal(one, other) and torch.allclose(one, other, atol=0.05)
    assert half.trims and half.fingerprint()["precision"] == "bf16"


def test_the_image_towers_weights_lie_rounded_as_autocast_would_round_them(teacher_folder, teacher, monkeypatch):
    def made():
        return Openclip(model=f"local-dir:{teacher_folder}", device="cpu", precision="bf16")

    torch.manual_seed(0)
    pixels, rounded = torch.rand(3, 3, 32, 32), made()
    monkeypatch.setattr(openclip, "lower", lambda *_: None)
    whole = made()
    assert rounded.model.visual.conv1.weight.dtype == torch.bfloat16 != whole.model.visual.conv1.weight.dtype
    # PyTorch has another way of attention for such weights on a CPU: the last of 8 bits may differ.
    one, other = (made.forward(pixels=pixels).patches for made in (rounded, whole))
    assert torch.allclose(one, other, rtol=2**-6, atol=2**-6)
    assert rounded.fingerprint() == whole.fingerprint() and rounded._sha256 == teacher._sha256


# Tokens.


@pytest.fixture(scope="module")
def shown():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_tokens_are_after_the_final_norm_and_before_the_projection(teacher, shown):
    visual = teacher.model.visual
    said = teacher.forward(pixels=shown)
    with torch.inference_mode():
        tokens = visual.ln_post(visual.transformer(visual._embeds(shown)))
    torch.testing.assert_close(said.cls, tokens[:, 0])
    torch.testing.assert_close(said.patches, tokens[:, 1:])
    torch.testing.assert_close(said.cls @ visual.proj, said.image)
    assert torch.equal(said.image, teacher.encode_image(shown))
    assert {name: list(getattr(said, name).shape[1:]) for name in ("image", "cls", "patches")} == {
        "image": [32],
        "cls": [64],
        "patches": [4, 64],
    }


def test_patches_are_pooled_to_a_grid(teacher_folder, teacher, shown):
    one = Openclip(model=f"local-dir:{teacher_folder}", device="cpu", grid=1)
    whole = teacher.forward(pixels=shown).patches
    torch.testing.assert_close(one.forward(pixels=shown).patches, whole.mean(1, keepdim=True))
    assert one.fingerprint() == teacher.fingerprint() and one.fields["patches"] == [1, 64]
    told = refusal(f"local-dir:{teacher_folder}", grid=3)
    assert 'teacher.grid = 3 does not divide its 2 x 2 patches; take one of: 1, 2, or "full"' in told


def test_nothing_is_computed_in_vain(teacher, shown, monkeypatch):
    """One forward of the tower for all fields of an image, and no tokens for a teacher that is asked for none."""
    looks, calls = [], type(teacher.model.visual).forward_intermediates
    monkeypatch.setattr(
        type(teacher.model.visual), "forward_intermediates", lambda *a, **k: looks.append(1) or calls(*a, **k)
    )
    tower = teacher.model.visual.transformer.resblocks[0]
    passes = []
    handle = tower.register_forward_hook(lambda *_: passes.append(1))
    teacher.forward(pixels=shown, fields=["image"])
    assert (len(looks), len(passes)) == (0, 1)
    teacher.forward(pixels=shown, fields=["image", "cls", "patches"])
    assert (len(looks), len(passes)) == (1, 2)
    handle.remove()


def test_timm_towers_give_tokens_too(folder, shown):
    """EVA and SigLIP towers come from timm; without a class token there is no cls."""
    vision = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "", "image_size": 160}
    siglip = rebuilt(folder, vision_cfg=vision, embed_dim=96, custom_text=True)
    pixels = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    said, trunk = siglip.forward(pixels=pixels), siglip.model.visual.trunk
    with torch.inference_mode():
        tokens = trunk.forward_features(pixels)
    assert torch.equal(said.patches, tokens[:, 1:])  # behind one register
    assert siglip.fields.keys() == {"image", "text", "patches"} and said.cls is None
    assert torch.equal(said.image, siglip.encode_image(pixels))


def test_towers_without_patches_give_none(folder):
    resnet = TEACHER["vision_cfg"] | {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
    assert rebuilt(folder, vision_cfg=resnet, custom_text=True).fields.keys() == {"image", "text"}


# The fingerprint.


def test_one_changed_weight_is_another_teacher(teacher, folder):
    weights = load_file(folder / "open_clip_model.safetensors")
    weights["visual.proj"][3, 4] += 1e-3
    save_file(weights, folder / "open_clip_model.safetensors")
    one, other = teacher.fingerprint(), Openclip(model=f"local-dir:{folder}", device="cpu").fingerprint()
    assert one["weights_sha256"] != other["weights_sha256"]
    assert {key for key in one if one[key] != other[key]} == {"weights_sha256", "model"}


def test_the_fingerprint_is_of_the_weights_not_of_their_file(teacher, folder):
    weights = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(dict(reversed(weights.items())), folder / "open_clip_pytorch_model.bin")
    other = Openclip(model=f"local-dir:{folder}", device="cpu")
    assert other.fingerprint()["weights_sha256"] == teacher.fingerprint()["weights_sha256"]


def test_preprocessing_and_activation_are_part_of_it(folder):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"] = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}
    config["model_cfg"]["quick_gelu"] = True
    path.write_text(json.dumps(config))
    fingerprint = Openclip(model=f"local-dir:{folder}", device="cpu").fingerprint()
    assert fingerprint["activation"] == "quick_gelu"
    assert fingerprint["preprocess"]["mean"] == [0.5] * 3 and fingerprint["preprocess"]["interpolation"] == "bilinear"


# Activations follow the tag.


@pytest.fixture
def published(teacher_folder, monkeypatch):
    """A toy architecture that open_clip knows by name, with two tags whose weights are already in the cache."""
    tags = {
        "old": {"url": "https://example.org/old.pt", "quick_gelu": True},
        "new": {"url": "https://example.org/new.pt"},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "toy", TEACHER)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "toy", tags)
    weights = str(teacher_folder / "open_clip_model.safetensors")
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: weights)


def test_a_tag_of_quick_gelu_weights_gets_quick_gelu(published, teacher_folder):
    old, new = (Openclip(model=f"toy/{tag}", device="cpu") for tag in ("old", "new"))
    assert old.fingerprint()["activation"] == "quick_gelu" and new.fingerprint()["activation"] == "gelu"
    assert old.fingerprint()["weights_sha256"] == new.fingerprint()["weights_sha256"]
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sigmoid = quick_gelu_by_hand(teacher_folder)
    assert not torch.allclose(old.encode_image(pixels), new.encode_image(pixels), atol=1e-5)
    assert torch.allclose(old.encode_image(pixels), sigmoid(pixels), atol=1e-5)


def quick_gelu_by_hand(folder):
    """The image tower of the toy teacher with x * sigmoid(1.702 x) in place of every GELU."""

    class ByHand(torch.nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    model = open_clip.create_model(f"local-dir:{folder}").eval()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.GELU):
                setattr(module, name, ByHand())
    return torch.inference_mode()(model.encode_image)


def test_a_file_of_weights_takes_the_activation_of_the_models_name(published, teacher_folder):
    weights = teacher_folder / "open_clip_model.safetensors"
    assert Openclip(model=f"toy/{weights}", device="cpu").fingerprint()["activation"] == "gelu"


def test_either_spelling_of_a_file_of_weights_is_the_same_teacher(published, teacher, teacher_folder):
    weights = str(teacher_folder / "open_clip_model.safetensors")
    spellings = ({"model": f"toy/{weights}"}, {"model": "toy", "weights": weights})
    one, other = (Openclip(**knobs, device="cpu").fingerprint() for knobs in spellings)
    assert other_teacher(one, other) is None
    assert one["weights_sha256"] == other["weights_sha256"] == teacher.fingerprint()["weights_sha256"]


# What cannot be had is one line that says what to do.


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ViT-B-33/openai", "open_clip has no model 'ViT-B-33', did you mean ViT-B-32 or "),
        ("zzzz/openai", "open_clip has no model 'zzzz', did you mean "),
        ("ViT-B-32/opnai", "'opnai' is neither a tag of ViT-B-32 nor a file, did you mean openai or "),
        ("ViT-B-32", "which weights? write ViT-B-32/TAG with one of: openai, laion400m_e31"),
        ("ViT-B-32/", "which weights?"),
        ("", "open_clip has no model ''"),
        (
            "local-dir:/nowhere",
            "local-dir:/nowhere: no such folder; it must hold open_clip_config.json and the weights",
        ),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(model, message):
    assert message in refusal(model) and len(refusal(model)) < 700


@pytest.mark.parametrize(
    ("model", "repository"),
    [
        ("ViT-B-32/openai", "timm/vit_base_patch32_clip_224.openai"),
        ("ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("hf-hub:somebody/something", "somebody/something"),
    ],
)
def test_without_a_network_it_says_what_to_fetch(model, repository, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = refusal(model)
    assert f"{model}: could not be fetched (" in message and len(message) < 600
    assert f'run: hf download {repository} --local-dir FOLDER, and set model = "local-dir:FOLDER"' in message


def test_a_lone_file_keeps_the_activation_of_its_tag(published, monkeypatch):
    """Weights of a quick_gelu tag, fetched by hand, must not be advised to be loaded with plain GELU."""

    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", unreachable)
    assert 'download https://example.org/old.pt, and set model = "toy-quickgelu/path/to/the/file"' in refusal("toy/old")
    assert 'download https://example.org/new.pt, and set model = "toy/path/to/the/file"' in refusal("toy/new")


def test_damaged_folders_are_named(folder):
    weights = folder / "open_clip_model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[:5000], b"rubbish" * 100, b""):
        weights.write_bytes(content)
        assert f"{folder}: cannot be loaded: " in refusal(f"local-dir:{folder}")
    weights.unlink()
    assert "no weights in that folder (.safetensors, .bin, .pth, .pt); put them there" in refusal(f"local-dir:{folder}")
    weights.write_bytes(whole)
    configure(folder, embed_dim=48)
    told = refusal(f"local-dir:{folder}")
    assert re.search(r"another network's: \d+ tensors of another shape \(first \S+: \[.*\] for \[.*\]\); name", told)
    assert "fetch" not in told
    configure(folder, embed_dim=32, unheard_of=1)
    assert "unexpected keyword argument 'unheard_of'" in refusal(f"local-dir:{folder}")
    for content in ("{", "{}"):
        (folder / "open_clip_config.json").write_text(content)
        assert "cannot be loaded: " in refusal(f"local-dir:{folder}")
    (folder / "open_clip_config.json").unlink()
    assert "no open_clip_config.json in that folder" in refusal(f"local-dir:{folder}")


def test_weights_that_could_run_code_are_refused(folder, tmp_path):
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"anything": tmp_path}, folder / "open_clip_pytorch_model.bin")
    assert "holds more than tensors, which is not safe to load" in refusal(f"local-dir:{folder}")


def test_devices_that_are_not_there_are_named(teacher_folder):
    for device in ("warp", "cuda:99", ""):
        assert f"teacher.device = {device!r}: " in refusal(f"local-dir:{teacher_folder}", device=device)


def test_folders_may_be_given_by_placeholders(teacher_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(teacher_folder.parent))
    assert Openclip(model=f"local-dir:~/{teacher_folder.name}", device="cpu").name == f"local-dir:{teacher_folder}"


def test_each_shape_is_compiled_once_and_the_last_batch_of_a_shard_is_filled_up(teacher_folder, shown, monkeypatch):
    """As of timm's: not for the one image that is asked first, nor for what is left over."""
    torch.compiler.reset()
    made = []

    def counted(graph, inputs):
        made.append([tuple(one.shape) for one in inputs if isinstance(one, torch.Tensor) and one.ndim == 4])
        return graph

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counted))
    asked = Openclip(model=f"local-dir:{teacher_folder}", device="cpu", compile=True)
    assert not made
    many = torch.cat([shown, shown, shown])
    for pixels in (many, many[:2], many[:1], many):
        assert len(asked.forward(pixels, fields=["image"]).image) == len(pixels)
    assert len(made) == 1


def test_a_compiled_image_tower_says_the_same(teacher_folder, teacher, shown, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    made = Openclip(model=f"local-dir:{teacher_folder}", device="cpu", compile=True)
    for fields in (["image"], ["image", "cls", "patches"], ["text"]):
        tokens = teacher.tokenize(TEXTS)[0] if fields == ["text"] else None
        one, other = (model.forward(shown, tokens, fields=fields) for model in (teacher, made))
        for field in fields:
            torch.testing.assert_close(getattr(other, field), getattr(one, field))
    assert made.fingerprint() == teacher.fingerprint()


def test_other_weights_than_expected_are_refused_naming_both(teacher_folder, teacher):
    is_so, model = teacher.fingerprint()["weights_sha256"], f"local-dir:{teacher_folder}"
    assert Openclip(model=model, device="cpu", sha256=is_so[:16]).fingerprint() == teacher.fingerprint()
    told = refusal(model, sha256="0" * 64)
    assert f"its weights have sha256 {is_so}, the recipe expects '{'0' * 64}'; mend teacher.sha256" in told


def test_nothing_is_said_on_the_way(teacher_folder, capfd, caplog):
    Openclip(model=f"local-dir:{teacher_folder}", device="cpu")
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_known_names_are_those_of_open_clip():
    for model, tag in (("ViT-L-14", "openai"), ("RN50", "yfcc15m"), ("ViT-B-16-SigLIP", "webli")):
        assert _openclip_network._known(f"{model}/{tag}") == (model, tag)
