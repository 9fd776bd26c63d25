"""open_clip: `open_clip.create_model_and_transforms("local-dir:FOLDER")`. https://github.com/mlfoundations/open_clip"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float
from open_clip.tokenizer import HFTokenizer

from distillkit.errors import ExportError
from distillkit.exports._batches import in_batches
from distillkit.exports._described import Described, ImageTower, Opened, Pictures
from distillkit.exports._files import Weights, by_number, write_json, write_weights
from distillkit.exports._pictures import OPENED

_WIDTHS = "embed_dim"


class OpenClip:
    """A pair: an image tower and the text tower beside it, the teacher's where the student has none."""

    precisions = ("fp32", "fp16")

    def holds(self, student: Described) -> str | None:
        """Why open_clip cannot hold this student; None where it can."""
        if student.image is None or student.text is None:
            lacks, cure = ("text", _beside(student, self.holds)) if student.image else ("image", "export it to onnx")
            return f"open_clip's models are pairs, and this student has no {lacks} tower; {cure}"
        vision, text = _vision(student.image), student.text.openclip
        if vision is None:
            return "open_clip has no configuration for an image tower of these layers or options; export it to onnx"
        if text is None:
            return "open_clip has no configuration for a text tower of these layers; export it to onnx"
        if text["text_cfg"].get("hf_model_name"):
            return (
                "its text tower is a network of transformers, whose layers open_clip looks up where they were when it "
                "was made, on a hub or in a folder of that machine, and never in the exported folder; export it to onnx"
            )
        if _quick(student.image.openclip or text) != _quick(text):
            return "its towers have different activations (GELU and QuickGELU), open_clip has one for both"
        if student.image.width != student.text.width:
            return f"its towers end in {student.image.width} and {student.text.width} numbers, open_clip's in as many"
        return None

    def write(self, student: Described, folder: Path, precision: str, calibration: Any = None) -> None:
        assert student.image is not None and student.text is not None and student.text.openclip is not None
        shown, text = student.image.shown, student.text.openclip
        config: dict[str, Any] = {
            _WIDTHS: student.image.width,
            "vision_cfg": _vision(student.image),
            "text_cfg": {key: value for key, value in text["text_cfg"].items() if not key.startswith("hf_")},
            "quick_gelu": _quick(text),
            "custom_text": True,
        }
        if student.text.tokenizer is not None:
            config["text_cfg"] |= {"hf_tokenizer_name": _write_tokenizer(student.text.tokenizer, folder)}
        preprocess = {key: value for key, value in asdict(shown).items() if key != "size"} | {"resize_mode": "shortest"}
        write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})
        trunk = "trunk." if student.image.timm else ""
        weights: Weights = {"logit_scale": torch.tensor(1.0 if student.scale is None else student.scale).log()}
        weights |= {f"visual.{trunk}{key}": value for key, value in student.image.network.state_dict().items()}
        weights |= {f"text.{key}": value for key, value in student.text.network.state_dict().items()}
        write_weights(folder / "open_clip_model.safetensors", weights, precision)

    def open(self, folder: Path) -> Opened:
        """ExportError where open_clip itself does not load it."""
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)  # open_clip logs what it then raises
        try:
            model, _, show = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ExportError(
                f"open_clip builds another network from this student's configuration ({reason})"
            ) from error
        finally:
            logging.disable(before)
        return _Opened(model.eval(), show, open_clip.get_tokenizer(f"local-dir:{folder}"))

    def lines(self, student: Described) -> str:
        return f"""\
import open_clip, torch
from PIL import Image, ImageOps

{OPENED}
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:.")
tokenizer = open_clip.get_tokenizer("local-dir:.")
with torch.inference_mode():
    image = model.eval().encode_image(preprocess(opened("picture.png"))[None])
    text = model.encode_text(tokenizer(["a photo of a cat"]))
"""


def _write_tokenizer(name: str, folder: Path) -> str:
    """The very tokenizer beside the weights, where open_clip looks for it; returns what its configuration calls it."""
    with by_number(folder):
        HFTokenizer(name).tokenizer.save_pretrained(str(folder))
    return "." if Path(name).is_dir() else name  # in a folder any name means the files there


def _beside(student: Described, holds: Callable[[Described], str | None]) -> str:
    """What to do about a text tower that lacks."""
    why = student.cannot_be_beside(holds)
    return (
        f"nor can the teacher's stand beside it: {why}"
        if why
        else 'put the teacher\'s beside it with "--text-tower teacher"'
    )


class _Opened:
    def __init__(self, model: Any, show: Any, tokenizer: Any):
        self._model, self._show, self._tokenizer = model, show, tokenizer

    @torch.inference_mode()
    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        return in_batches(pictures, lambda part: self._model.encode_image(torch.stack([*map(self._show, part)])))

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        return in_batches(texts, lambda part: self._model.encode_text(self._tokenizer(part)))


def _vision(tower: ImageTower) -> dict[str, Any] | None:
    """`vision_cfg` of a tower; a network of timm's has its projection as classifier, which open_clip allows."""
    if tower.openclip is not None:
        return dict(tower.openclip["vision_cfg"])
    if tower.timm is None:
        return None
    name, options = tower.timm
    told = {"drop_path_rate": "timm_drop_path"}
    if set(options) - {*told, "img_size"} or options.get("img_size", _own_size(name)) != _own_size(name):
        return None
    pool = getattr(tower.network, "global_pool", "avg")
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool if isinstance(pool, str) else getattr(pool, "pool_type", "avg"),
        "timm_proj": "",
        "image_size": tower.shown.size,
    } | {told[key]: value for key, value in options.items() if key in told}


def _own_size(name: str) -> int:
    """The pixels of a side that timm builds a network for when nobody says."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config else 224


def _quick(config: dict[str, Any]) -> bool:
    return bool(config.get("quick_gelu", False))
