"""The demo's teacher as an open_clip network: both pretrained towers in place, the projections not learned yet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from open_clip.model import CustomTextCLIP

from distillkit.demo import manifest
from distillkit.demo.teacher_config import config_for
from distillkit.demo.towers import load_image_tower, load_text_tower


def assembled(folder: Path) -> CustomTextCLIP:
    """The network, built from `folder`, into which the tokenizer's files come first."""
    source = manifest.package_folder("text_tower") / "model"
    for name in manifest.load()["text_tower"]["files"]:
        shutil.copyfile(source / name, folder / name)
    model = _untrained(config_for(folder)).eval()
    load_image_tower(model.visual.trunk)
    load_text_tower(model.text.transformer)
    return model


def _untrained(config: dict[str, Any]) -> CustomTextCLIP:
    model = config["model_cfg"]
    return CustomTextCLIP(**model | {"text_cfg": model["text_cfg"] | {"hf_model_pretrained": False}})
