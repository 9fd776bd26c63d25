"""From a finished student to its description; from a teacher's fingerprint to the text tower that goes beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from open_clip.factory import _get_hf_config
from open_clip.model import convert_to_custom_text_state_dict

from distillkit.errors import ExportError
from distillkit.exports._described import Described, TextTower
from distillkit.exports._towers import image_of, text_of, text_tower_of
from distillkit.recipe import Component
from distillkit.students._configs import openclip_config
from distillkit.students._openclip import TextInput, text_tower
from distillkit.teachers._frozen import quiet, weights_sha256
from distillkit.teachers._hub import SCHEMES, expanded
from distillkit.teachers._openclip_network import load, quick_gelu


def describe(
    name: str,
    student: Any,
    component: Component,
    *,
    licence: str | None = None,
    texts: TextTower | None = None,
    scale: float | None = None,
) -> Described:
    """`student` is used up: masks are made part of its weights, and its towers become those of their library.

    `texts`: a text tower to stand beside an image student. `scale`: what cosines are multiplied by where the student
    has no scale of its own.
    """
    if hasattr(student, "fuse"):
        student.fuse()
    own = getattr(student, "logit_scale", None)
    image = image_of(student, component.knobs)
    text, why = text_of(student, component.knobs)
    return Described(
        name,
        image,
        text or texts,
        scale=float(own.detach().exp()) if own is not None else scale,
        licence=licence,
        missing=() if why is None or texts is not None else (why,),
    )


def teacher_texts(fingerprint: dict[str, Any]) -> TextTower:
    """The text tower of an open_clip teacher, by what a run remembers of it.

    ExportError where the teacher has none, or its weights are others now than those that the student learned from.
    """
    if fingerprint.get("kind") != "openclip":
        told = fingerprint.get("model", "of an import")
        raise ExportError(f"--text-tower teacher: the teacher {told} has no text tower of open_clip to put beside it")
    with quiet():
        return _texts_of(str(fingerprint["model"]), str(fingerprint["weights_sha256"]))


def _texts_of(name: str, sha256: str) -> TextTower:
    teacher: Any = load(expanded(name)).eval().requires_grad_(False)
    if weights_sha256(teacher) != sha256:
        raise ExportError(
            f"--text-tower teacher: {name} has other weights now than those that the student learned from"
        )
    config = _config_of(name) | {"quick_gelu": quick_gelu(teacher)}
    network = text_tower(config | {"text_cfg": config["text_cfg"] | {"hf_model_pretrained": False}})
    whole = convert_to_custom_text_state_dict(dict(teacher.state_dict()))
    weights = {key.removeprefix("text."): value for key, value in whole.items() if key.startswith("text.")}
    network.load_state_dict(weights)
    reads = TextInput.of(network, config)
    if reads.hf_name is not None and name.startswith("local-dir:"):  # open_clip looks for its files there
        reads = reads._replace(hf_name=expanded(name).removeprefix("local-dir:"))
    return text_tower_of(network.eval(), config, name, reads)


def _config_of(name: str) -> dict[str, Any]:
    """open_clip's configuration behind a teacher's name."""
    scheme = next((one for one in SCHEMES if name.startswith(one)), None)
    if scheme is None:
        return openclip_config(name.partition("/")[0])
    if scheme == "hf-hub:":
        return dict(_get_hf_config(name.removeprefix(scheme))["model_cfg"])
    folder = Path(expanded(name).removeprefix(scheme))
    return dict(json.loads((folder / "open_clip_config.json").read_bytes())["model_cfg"])
