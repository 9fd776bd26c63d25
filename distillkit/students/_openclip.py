"""Towers of open_clip without weights, and the tokens of their texts.

https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import _build_text_tower, _build_vision_tower
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from open_clip.transformer import TextTransformer, text_global_pool
from torch import Tensor, nn

from distillkit.errors import MissingExtra, RecipeError
from distillkit.students._configs import Config, openclip_config
from distillkit.system.wording import one_line


def configure(model: str | Config, *, embed_dim: int | None, image_size: int | None = None) -> Config:
    """The configuration of a name or table, with these two values in place of its own."""
    config = openclip_config(model)
    if "multimodal_cfg" in config:
        raise RecipeError(f"student: {model} is a CoCa, which also writes captions; take a model of two towers")
    config["embed_dim"] = embed_dim or config["embed_dim"]
    config["vision_cfg"] |= {"timm_model_pretrained": False} | ({"image_size": image_size} if image_size else {})
    config["text_cfg"] |= {"hf_model_pretrained": False}
    return config


def image_tower(config: Config) -> Any:
    """A randomly initialised image tower."""
    visual = _build(_build_vision_tower, config, "vision_cfg")
    if isinstance(visual, TimmModel):
        _fit_timm(visual, config)
    return visual


def text_tower(config: Config) -> Any:
    """A randomly initialised text tower."""
    try:
        return _build(_build_text_tower, config, "text_cfg")
    except (OSError, RuntimeError) as error:
        name = config["text_cfg"].get("hf_model_name")
        if name is None:
            raise
        raise RecipeError(f"student: the text tower {name} could not be configured: {error}"[:300]) from error


def _build(make: Callable[..., nn.Module], config: Config, part: str) -> nn.Module:
    try:
        return make(config["embed_dim"], config[part], config.get("quick_gelu", False))
    except TypeError as error:
        raise RecipeError(f"student: model.{part}: {error}") from error


def _fit_timm(visual: Any, config: Config) -> None:
    """open_clip forgets the image size, and that some networks (MobileNetV3) widen once more before their head."""
    size = config["vision_cfg"]["image_size"]
    if hasattr(visual.trunk, "set_input_size"):
        visual.trunk.set_input_size(size)
    width, last = getattr(visual.trunk, "head_hidden_size", None), getattr(visual.head, "proj", None)
    if isinstance(last, nn.Linear) and width and last.in_features != width:
        visual.head.proj = nn.Linear(width, last.out_features, bias=last.bias is not None)


def size_of(config: Config) -> int:
    """Pixels of a side."""
    size = config["vision_cfg"].get("image_size", 224)
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1:
        raise RecipeError(f"student: vision_cfg.image_size = {list(size)}: pictures are squares; give one number")
    return int(min(sides))


def mean_and_std(model: str | Config) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What weights of that name were trained with; for new architectures CLIP's own."""
    tags = open_clip.list_pretrained_tags_by_model(model) if isinstance(model, str) else []
    config = (open_clip.get_pretrained_cfg(model, tags[0]) or {}) if tags else {}
    return config.get("mean") or OPENAI_DATASET_MEAN, config.get("std") or OPENAI_DATASET_STD


class TextInput(NamedTuple):
    """What a text tower reads. `trims`: its tokens may end with the longest text, as what follows changes nothing."""

    context_length: int
    trims: bool
    hf_name: str | None
    hf_options: dict[str, Any]

    @classmethod
    def of(cls, tower: Any, config: Config) -> TextInput:
        text = config["text_cfg"]
        options = dict(text.get("tokenizer_kwargs") or {}) | {"tokenizer_mode": text.get("tokenizer_mode")}
        name = text.get("hf_tokenizer_name") or text.get("hf_model_name")
        return cls(text.get("context_length", 77), _causal(tower), name, options)

    def tokenize(self, texts: list[str]) -> Int[Tensor, "t l"]:
        """RecipeError where the tokenizer must be fetched and cannot be."""
        if self.hf_name is None:
            tokens = _simple()(texts, self.context_length)
        else:
            tokens = _hugging_face(self.hf_name, tuple(self.hf_options.items()))(texts, self.context_length)
        if not self.trims:
            return tokens
        # Up to the last token that is no padding: within a text 0 is a token, too, as the "!" of "hi!😀".
        ends = (tokens != 0).any(0) * torch.arange(1, tokens.shape[1] + 1)
        return tokens[:, : max(int(ends.max()), 1)]


@cache
def _simple() -> Any:
    return SimpleTokenizer()


@cache
def _hugging_face(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    try:
        return HFTokenizer(name, **dict(options))
    except ImportError as error:
        raise MissingExtra("transformers", "hf") from error
    except OSError as error:
        raise RecipeError(f"student: its tokenizer {name} could not be fetched: {one_line(error)}") from error


def _causal(tower: Any) -> bool:
    """Whether what follows a text's end cannot change what the tower says of it."""
    plain = isinstance(tower, TextTransformer) and tower.cls_emb is None and not tower.use_pad_mask
    return plain and tower.attn_mask is not None and tower.pool_type == "argmax"


def encode_text(tower: Any, tokens: Int[Tensor, "t l"]) -> Float[Tensor, "t d"]:
    """Texts of any length that the tower's positions allow; open_clip's own forward wants full rows."""
    if not _causal(tower):
        return tower(tokens)
    length = tokens.shape[1]
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = tower.ln_final(text_global_pool(x, tokens, tower.pool_type))
    if tower.text_projection is None:
        return x
    return tower.text_projection(x) if isinstance(tower.text_projection, nn.Linear) else x @ tower.text_projection
