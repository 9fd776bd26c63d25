"""A timm network with its weights: from a folder, the hub, a file; every tensor of it is loaded, and every one used."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import timm
from timm.models import load_state_dict
from torch import nn

from distillkit.errors import TeacherError
from distillkit.system.progress import hearer
from distillkit.teachers._frozen import FAILURES, OPEN_ANOTHER, nearest, reason, refuse_no_weights
from distillkit.teachers._hub import SCHEMES, expanded, how_to_fetch, refuse_a_path
from distillkit.teachers._names import not_its_tensors


def load(name: str, file: str | None, prefix: str, image_size: int, classifies: bool) -> Any:
    """The network, with its classifier if that is asked for. All of it comes from the weights, all of them are used.

    Images of another size than it was made for are told, as nobody sees that its positions are resampled.
    """
    refuse_absent(name, file)
    source = expanded(name)
    try:
        options = _from_file(name, file, prefix, classifies) if file else {}
        model: Any = _create(source, image_size, {"pretrained": True} | options)
        if not classifies:
            model.reset_classifier(0)
    except FAILURES as error:
        raise TeacherError(_explain(name, file, error)) from error
    made_for = int(model.pretrained_cfg.get("input_size", (3, image_size, image_size))[-1])
    if made_for != image_size and (say := hearer()):
        say(
            f"teacher {name}: was made for images of {made_for} pixels and is shown {image_size}; "
            f"teacher.image_size = {made_for} shows it those"
        )
    return model


def empty(name: str, image_size: int, classifies: bool) -> Any:
    """The network without its weights; of a repository of the hub its configuration is read."""
    model: Any = _create(expanded(name), image_size, {"pretrained": False})
    if not classifies:
        model.reset_classifier(0)
    return model


def refuse_absent(name: str, file: str | None) -> None:
    """TeacherError for a name that timm does not know and for files that are not there. Loads nothing."""
    source, whole = expanded(name), name.startswith(SCHEMES)
    if whole and file:
        raise TeacherError(f"{name}: brings its own weights; with `weights`, give `model` as a name of timm's")
    if source.startswith("local-dir:"):
        folder = Path(source.removeprefix("local-dir:"))
        if not folder.is_dir():
            raise TeacherError(f"{name}: no such folder; it must hold config.json and the weights")
        if not (folder / "config.json").is_file():
            raise TeacherError(f"{name}: no config.json in that folder; name one that has it, and the weights")
        refuse_no_weights(name, folder)
    if not whole:
        _refuse_unknown(name, file)
    if file and not Path(file).is_file():
        raise TeacherError(f"{name}: weights = {file!r}: no such file; mend teacher.weights in the recipe")


def _refuse_unknown(name: str, file: str | None) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        refuse_a_path(name)
        raise TeacherError(f"{name}: timm has no model {architecture!r}{nearest(architecture, timm.list_models())}")
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in known:
        raise TeacherError(f"{name}: {architecture} has no weights {tag!r}{nearest(tag, known)}")
    if not file and not timm.is_model_pretrained(name):
        raise TeacherError(f"{name}: timm knows the network but no weights for it; set weights = 'path/to/the/file'")


def _from_file(name: str, file: str, prefix: str, classifies: bool) -> dict[str, Any]:
    """Arguments that make timm load `file` strictly, into a network without classifier if that is not asked for."""
    tensors = {
        key.removeprefix(prefix): value
        for key, value in load_state_dict(file, weights_only=True).items()
        if key.startswith(prefix)
    }
    if not tensors:
        raise ValueError(f"no tensor in it begins with {prefix!r}")
    told = timm.get_pretrained_cfg_value(name, "classifier") or ()
    heads = (told,) if isinstance(told, str) else told
    classes = 0
    for head in heads:
        held = {key for key in tensors if key.startswith(f"{head}.")}
        if classifies and f"{head}.bias" in held:
            classes = len(tensors[f"{head}.bias"])
        elif not classifies:
            tensors = {key: value for key, value in tensors.items() if key not in held}
    return {"num_classes": classes, "pretrained_cfg_overlay": {"state_dict": tensors, "num_classes": classes}}


def _create(name: str, image_size: int, options: dict[str, Any]) -> nn.Module:
    """Transformers are told the image size, convolutional networks do not know it. TeacherError for a network that
    gives nothing of a whole image, as the encoders of models of language (qwen3_vit_88m_enc).
    """
    model = _of_size(name, image_size, options)
    if not hasattr(model, "reset_classifier"):
        raise TeacherError(
            f"{name}: is the encoder of a larger model and pools nothing, so it says nothing of a whole image; name "
            "a network of timm's that classifies images, or is made to"
        )
    return model


def _of_size(name: str, image_size: int, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, img_size=image_size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    return timm.create_model(name, **options)


def _explain(name: str, file: str | None, error: Exception) -> str:
    told = textwrap.shorten(reason(error), 200, placeholder="...")
    of = f"weights = {file!r}: " if file else ""
    if foreign := not_its_tensors(error, "timm", name):
        return f"{name}: {of}{foreign}"
    if file:
        return f"{name}: weights = {file!r} cannot be loaded: {told}; {OPEN_ANOTHER}"
    if name.startswith("local-dir:"):
        return f"{name}: cannot be loaded: {told}; {OPEN_ANOTHER}"
    repository, url = name.removeprefix("hf-hub:"), None
    if not name.startswith("hf-hub:"):
        repository, url = (timm.get_pretrained_cfg_value(name, key) for key in ("hf_hub_id", "url"))
    by_hand = f'download {url}, and set weights = "path/to/the/file"'
    fetch = how_to_fetch(repository, error) if repository else by_hand
    return f"{name}: could not be fetched ({told}); with a network, {fetch}"
