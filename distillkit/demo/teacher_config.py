"""open_clip_config.json of the demo's teacher, and what happens when its folder is moved.

open_clip builds a Hugging Face text tower from `hf_model_name`: a hub name, or a path that it takes as it stands,
relative to wherever the process was started (the tokenizer, in contrast, it looks for in the folder it was given). So
that the teacher loads offline from anywhere, the folder names itself by its absolute path. After a move, any
`distillkit data prepare demo` writes the new path; only this one file changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distillkit.demo import manifest
from distillkit.system.atomic import parsed_json, write_json

CONFIG = "open_clip_config.json"


def preprocessing() -> dict[str, Any]:
    """What the image tower was trained with, in open_clip's words."""
    table = manifest.load()["image_tower"]
    return {
        "mean": table["mean"],
        "std": table["std"],
        "interpolation": table["interpolation"],
        "resize_mode": "shortest",
    }


def config_for(folder: Path) -> dict[str, Any]:
    """The configuration of a teacher that lies at `folder`."""
    tables = manifest.load()
    return {
        "model_cfg": {
            "embed_dim": tables["projection"]["width"],
            "vision_cfg": {
                "timm_model_name": tables["image_tower"]["timm_model"],
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": tables["images"]["size"],
            },
            "text_cfg": {
                "hf_model_name": str(folder.resolve()),
                "hf_tokenizer_name": str(folder.resolve()),
                "hf_pooler_type": "mean_pooler",
                "hf_proj_type": "linear",
                "context_length": tables["text_tower"]["context_length"],
            },
        },
        "preprocess_cfg": preprocessing(),
    }


def point_at_itself(folder: Path) -> bool:
    """Mend the configuration of a teacher folder that was moved, or damaged; True when there was something to mend."""
    try:
        if parsed_json((folder / CONFIG).read_bytes()) == config_for(folder):
            return False
    except (FileNotFoundError, ValueError):
        pass  # gone or damaged: it is known what it must say
    write_json(folder / CONFIG, config_for(folder))
    return True
