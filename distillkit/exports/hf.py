"""transformers: `AutoModel.from_pretrained(FOLDER)`, zero-shot pipelines. https://github.com/huggingface/transformers

A pair becomes a CLIPModel, which SentenceTransformer(FOLDER) opens, too; an image tower a
CLIPVisionModelWithProjection, a text tower a CLIPTextModelWithProjection; an image tower of timm's a
TimmWrapperForImageClassification, whose logits are the embedding, or a TimmWrapperModel where it has no projection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from distillkit.errors import ExportError, MissingExtra
from distillkit.exports._batches import in_batches
from distillkit.exports._clip_names import text_weights, vision_weights
from distillkit.exports._described import Described, ImageTower, Opened, Pictures, TextTower
from distillkit.exports._files import Weights, write_json, write_weights
from distillkit.exports._pictures import OPENED, write_preprocessor
from distillkit.exports._tokens import write_tokenizer
from distillkit.exports.timm import timm_config
from distillkit.students._slim_blocks import plain

_END = 49407
# What makes a pair a SentenceTransformer. https://sbert.net/docs/sentence_transformer/usage/custom_models.html
_SENTENCES = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}


class Hf:
    """Plain transformers of open_clip are CLIP's; networks of timm keep their own form."""

    precisions = ("fp32", "fp16")

    def holds(self, student: Described) -> str | None:
        """Why transformers cannot hold this student; None where it can."""
        image, text = student.image, student.text
        if image is not None and image.timm is not None:
            return None if text is None else "transformers pairs no network of timm with texts; leave the texts out"
        if image is not None and not _plain_image(image.network):
            return (
                "its image tower is no plain vision transformer, the only one that CLIPModel knows; export it to onnx"
            )
        if text is not None and (text.tokenizer is not None or not _plain_text(text.network)):
            return "its text tower is not CLIP's own kind, the only one that CLIPModel knows; export it to onnx"
        return None if student.towers else "this student has no tower that stands for itself"

    def write(self, student: Described, folder: Path, precision: str, calibration: Any = None) -> None:
        image, text = student.image, student.text
        if image is not None and image.timm is not None:
            config = timm_config(image, student.licence)
            config |= {"model_type": "timm_wrapper", "architectures": [_timm_kind(image)]}
            write_json(folder / "config.json", config)
            network = {f"timm_model.{key}": value for key, value in image.network.state_dict().items()}
            write_weights(folder / "model.safetensors", network, precision)
            return
        weights: Weights = {}
        if image is not None:
            weights |= vision_weights(image.network)
            write_preprocessor(folder, image.shown)
        if text is not None:
            weights |= text_weights(text.network)
            write_tokenizer(folder, text)
        if image is not None and text is not None:
            scale = torch.tensor(1.0 if student.scale is None else student.scale)
            weights["logit_scale"] = scale.log()
            write_json(folder / "modules.json", [_SENTENCES])
        write_json(folder / "config.json", _config(student))
        write_weights(folder / "model.safetensors", weights, precision)

    def open(self, folder: Path) -> Opened:
        return _Opened(folder)

    def lines(self, student: Described) -> str:
        if student.image is not None and student.image.timm is not None:
            return _TIMM if _timm_kind(student.image).endswith("Classification") else _TIMM_BARE
        if student.text is None:
            return _IMAGE
        return _TEXT if student.image is None else _PAIR


_TIMM = f"""\
import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoModelForImageClassification

{OPENED}
model = AutoModelForImageClassification.from_pretrained(".").eval()
process = AutoImageProcessor.from_pretrained(".")
with torch.inference_mode():
    image = model(**process(opened("picture.png"), return_tensors="pt")).logits
"""
_TIMM_BARE = f"""\
import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoModel

{OPENED}
model = AutoModel.from_pretrained(".").eval()
process = AutoImageProcessor.from_pretrained(".")
with torch.inference_mode():
    image = model(**process(opened("picture.png"), return_tensors="pt")).pooler_output
"""
_IMAGE = f"""\
import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

{OPENED}
model = CLIPVisionModelWithProjection.from_pretrained(".").eval()
process = AutoImageProcessor.from_pretrained(".", backend="pil")  # resizes as in training; torchvision rounds otherwise
with torch.inference_mode():
    image = model(**process(opened("picture.png"), return_tensors="pt")).image_embeds
"""
_TEXT = """\
import torch
from transformers import AutoTokenizer, CLIPTextModelWithProjection

model = CLIPTextModelWithProjection.from_pretrained(".").eval()
tokenizer = AutoTokenizer.from_pretrained(".")
read = tokenizer(["a photo of a cat"], padding="max_length", truncation=True, return_tensors="pt")
with torch.inference_mode():
    text = model(**read).text_embeds
"""
_PAIR = f"""\
import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

{OPENED}
model, tokenizer = CLIPModel.from_pretrained(".").eval(), AutoTokenizer.from_pretrained(".")
process = AutoImageProcessor.from_pretrained(".", backend="pil")  # resizes as in training; torchvision rounds otherwise
seen = process(opened("picture.png"), return_tensors="pt")
read = tokenizer(["a photo of a cat"], padding="max_length", truncation=True, return_tensors="pt")
with torch.inference_mode():
    said = model(**seen, **read)
    image = said.image_embeds  # of length 1
    text = said.text_embeds
# transformers.pipeline("zero-shot-image-classification", model=".") and
# sentence_transformers.SentenceTransformer(".") open this folder, too.
"""


class _Opened:
    """By the classes that config.json names."""

    def __init__(self, folder: Path):
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("transformers", "export") from error
        self._folder, self._library = folder, transformers
        config: Any = transformers.AutoConfig.from_pretrained(folder)
        kind: Any = getattr(transformers, config.architectures[0])
        try:
            self._model = kind.from_pretrained(folder).eval()  # in the dtype that people get who name none
        except (RuntimeError, ValueError, OSError) as error:
            raise ExportError(f"transformers does not load it: {str(error).strip().splitlines()[-1]}") from error

    @torch.inference_mode()
    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        process: Any = self._library.AutoImageProcessor.from_pretrained(self._folder)
        return in_batches(pictures, lambda part: self._see(process(part, return_tensors="pt")["pixel_values"]))

    def _see(self, pixels: Tensor) -> Tensor:
        if hasattr(self._model, "timm_model"):
            said = self._model(pixels)
            return said.logits if hasattr(said, "logits") else said.pooler_output
        if hasattr(self._model, "get_image_features"):
            return self._model.visual_projection(self._model.vision_model(pixel_values=pixels).pooler_output)
        return self._model(pixel_values=pixels).image_embeds

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        tokenizer: Any = self._library.AutoTokenizer.from_pretrained(self._folder)
        return in_batches(texts, lambda part: self._read(tokenizer(part, padding="max_length", truncation=True)))

    def _read(self, tokens: Any) -> Tensor:
        ids = torch.tensor(tokens["input_ids"])
        if hasattr(self._model, "get_text_features"):
            return self._model.text_projection(self._model.text_model(input_ids=ids).pooler_output)
        return self._model(input_ids=ids).text_embeds


def _timm_kind(image: ImageTower) -> str:
    """A projection is a classifier to timm; what a student without one says, is pooled."""
    head: Any = image.network.get_classifier()  # type: ignore[operator]
    return "TimmWrapperForImageClassification" if isinstance(head, nn.Linear) else "TimmWrapperModel"


def _plain_image(tower: Any) -> bool:
    """A class token is pooled after a norm at either end, and there is nothing else in it."""
    plain_vit = isinstance(tower, VisionTransformer) and tower.attn_pool is None and tower.pool_type == "tok"
    return plain_vit and _plain_rest(tower, tower.ln_pre) and tower.proj is not None


def _plain_text(tower: Any) -> bool:
    """It is causal, and what it says stands at the end of the text."""
    plain_text = isinstance(tower, TextTransformer) and tower.cls_emb is None and tower.attn_mask is not None
    return plain_text and tower.pool_type == "argmax" and _plain_rest(tower, tower.ln_final)


def _plain_rest(tower: Any, norm: Any) -> bool:
    blocks = tower.transformer.resblocks
    return isinstance(norm, nn.LayerNorm) and all(plain(one) and isinstance(one.ls_1, nn.Identity) for one in blocks)


def _config(student: Described) -> dict[str, Any]:
    image, text = student.image, student.text
    vision = None if image is None else _vision_config(image)
    words = None if text is None else _text_config(text)
    if vision is not None and words is not None:
        whole = {"vision_config": vision, "text_config": words, "projection_dim": vision["projection_dim"]}
        return {"model_type": "clip", "architectures": ["CLIPModel"]} | whole
    if vision is not None:
        return {"architectures": ["CLIPVisionModelWithProjection"]} | vision
    assert words is not None
    return {"architectures": ["CLIPTextModelWithProjection"]} | words


def _shared(tower: Any, width: int) -> dict[str, Any]:
    block = tower.transformer.resblocks[0]
    return {
        "hidden_size": block.attn.embed_dim,
        "intermediate_size": block.mlp.c_fc.out_features,
        "num_hidden_layers": len(tower.transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": "quick_gelu" if type(block.mlp.gelu).__name__ == "QuickGELU" else "gelu",
        "layer_norm_eps": block.ln_1.eps,
        "projection_dim": width,
    }


def _vision_config(image: ImageTower) -> dict[str, Any]:
    tower: Any = image.network
    patch = tower.conv1.kernel_size[0]
    sizes = {"image_size": image.shown.size, "patch_size": patch, "model_type": "clip_vision_model"}
    return _shared(tower, image.width) | sizes


def _text_config(text: TextTower) -> dict[str, Any]:
    tower: Any = text.network
    read = {"vocab_size": tower.vocab_size, "max_position_embeddings": text.context_length}
    tokens = {"bos_token_id": _END - 1, "eos_token_id": _END, "pad_token_id": 0, "model_type": "clip_text_model"}
    return _shared(tower, text.width) | read | tokens
