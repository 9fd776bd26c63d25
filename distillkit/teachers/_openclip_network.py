"""An open_clip model with its weights and its tokenizer: from a folder, the hub, a file, or by a tag of open_clip."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
from torch import nn

from distillkit.errors import MissingExtra, TeacherError
from distillkit.system.wording import one_line
from distillkit.teachers._frozen import FAILURES, OPEN_ANOTHER, nearest, reason, refuse_no_weights
from distillkit.teachers._hub import SCHEMES, how_to_fetch, refuse_a_path
from distillkit.teachers._names import not_its_tensors


def load(name: str) -> Any:
    """Both towers with their weights; TeacherError, or MissingExtra, says what to do where these cannot be had."""
    model, tag = find(name)
    try:
        # The tag says which activation its weights were trained with; open_clip only warns when the model differs.
        quick = bool(tag and (open_clip.get_pretrained_cfg(model, tag) or {}).get("quick_gelu", False))
        return open_clip.create_model(
            model, pretrained=tag, force_quick_gelu=quick, require_pretrained=True, weights_only=True
        )
    except FAILURES as error:
        if "pip install transformers" in str(error):
            raise MissingExtra("transformers", "hf") from error
        raise TeacherError(_explain(name, model, tag, error)) from error


def find(name: str) -> tuple[str, str | None]:
    """open_clip's own words for a model and its weights; TeacherError for what is not there. Loads nothing."""
    if not name.startswith(SCHEMES):
        return _known(name)
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not folder.is_dir():
            raise TeacherError(f"{name}: no such folder; it must hold open_clip_config.json and the weights")
        if not (folder / "open_clip_config.json").is_file():
            raise TeacherError(
                f"{name}: no open_clip_config.json in that folder; name one that has it, and the weights"
            )
        refuse_no_weights(name, folder)
    return name, None


def _known(name: str) -> tuple[str, str]:
    """(model, tag or checkpoint) of "NAME/TAG", or TeacherError with the nearest names."""
    model, _, tag = name.partition("/")
    models = open_clip.list_models()
    if model not in models:
        refuse_a_path(name)
        raise TeacherError(f"{name}: open_clip has no model {model!r}{nearest(model, models)}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tag:
        raise TeacherError(
            f"{name}: which weights? write {model}/TAG with one of: {', '.join(tags) or 'a checkpoint path'}"
        )
    if tag not in tags and not Path(tag).is_file():
        raise TeacherError(f"{name}: {tag!r} is neither a tag of {model} nor a file{nearest(tag, tags)}")
    return model, tag


def _explain(name: str, model: str, tag: str | None, error: Exception) -> str:
    if foreign := not_its_tensors(error, "open_clip", model):
        return f"{name}: {foreign}"
    if name.startswith("local-dir:") or (tag and Path(tag).is_file()):
        return f"{name}: cannot be loaded: {reason(error)}; {OPEN_ANOTHER}"
    source = (open_clip.get_pretrained_cfg(model, tag) or {}) if tag else {"hf_hub": name.removeprefix("hf-hub:")}
    # A folder brings its own activation and preprocessing; a lone file takes those of the model's name.
    if source.get("hf_hub"):
        fetch = how_to_fetch(source["hf_hub"].rstrip("/"), error)
    else:
        quick = f"{model}-quickgelu" if source.get("quick_gelu") and not model.endswith("-quickgelu") else model
        fetch = f'download {source.get("url")}, and set model = "{quick}/path/to/the/file"'
    told = textwrap.shorten(reason(error), 200, placeholder="...")
    return f"{name}: could not be fetched ({told}); with a network, {fetch}"


def tokenizer(name: str, context_length: int | None) -> Any:
    """What makes tokens of texts, at the length that the text tower reads unless another one is asked for."""
    identifier = name if name.startswith(SCHEMES) else name.partition("/")[0]
    try:
        return open_clip.get_tokenizer(identifier, context_length=context_length)
    except OSError as error:
        raise TeacherError(f"{name}: its tokenizer could not be fetched or read ({one_line(error)})") from error


def quick_gelu(model: nn.Module) -> bool:
    """Whether its activation is the fast approximation that OpenAI's weights were trained with."""
    return any(type(module).__name__ == "QuickGELU" for module in model.modules())


@contextmanager
def shortened(model: nn.Module, length: int) -> Iterator[None]:
    """open_clip's own text transformers want full-length rows; for now their mask and positions are cut to `length`."""
    tower: Any = getattr(model, "text", model)
    mask, positions = getattr(tower, "attn_mask", None), getattr(tower, "positional_embedding", None)
    length += getattr(tower, "cls_emb", None) is not None  # CoCa's has a token of its own behind the text
    if mask is None or positions is None or length == mask.shape[-1]:
        yield
        return
    whole = positions.data
    tower.attn_mask, positions.data = mask[:length, :length], whole[:length]
    try:
        yield
    finally:
        tower.attn_mask, positions.data = mask, whole
