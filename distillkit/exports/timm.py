"""timm: `timm.create_model("local-dir:FOLDER", pretrained=True)`. https://github.com/huggingface/pytorch-image-models"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from jaxtyping import Float
from timm.data import create_transform, resolve_model_data_config

from distillkit.errors import ExportError
from distillkit.exports._batches import in_batches
from distillkit.exports._described import Described, ImageTower, Opened, Pictures
from distillkit.exports._files import write_json, write_weights
from distillkit.exports._pictures import OPENED


class Timm:
    """An image tower of timm's; its classifier is the projection, so that `model(pixels)` is the embedding."""

    precisions = ("fp32", "fp16")

    def holds(self, student: Described) -> str | None:
        """Why timm cannot hold this student; None where it can."""
        if student.image is None:
            return "timm's models look at images, and this student has no image tower; export it to onnx"
        if student.image.timm is None:
            others = "onnx" if student.image.openclip is None else "open_clip or onnx"
            return f"its image tower is no network that timm can build; export it to {others}"
        return None

    def write(self, student: Described, folder: Path, precision: str, calibration: Any = None) -> None:
        assert student.image is not None
        write_json(folder / "config.json", timm_config(student.image, student.licence))
        write_weights(folder / "model.safetensors", student.image.network.state_dict(), precision)

    def open(self, folder: Path) -> Opened:
        """ExportError where timm itself does not load it."""
        try:
            model = timm.create_model(f"local-dir:{folder}", pretrained=True)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ExportError(f"timm builds another network from this student's configuration ({reason})") from error
        return _Opened(model.eval())

    def lines(self, student: Described) -> str:
        return f"""\
import timm, torch
from PIL import Image, ImageOps
from timm.data import create_transform, resolve_model_data_config

{OPENED}
model = timm.create_model("local-dir:.", pretrained=True).eval()
preprocess = create_transform(**resolve_model_data_config(model), is_training=False)
with torch.inference_mode():
    image = model(preprocess(opened("picture.png"))[None])
"""


class _Opened:
    def __init__(self, model: Any):
        self._model = model
        self._show: Any = create_transform(**resolve_model_data_config(model), is_training=False)

    @torch.inference_mode()
    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        return in_batches(pictures, lambda part: self._model(torch.stack([*map(self._show, part)])))

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        raise ExportError("timm has no text towers")


def timm_config(image: ImageTower, licence: str | None) -> dict[str, Any]:
    """config.json in timm's hub form."""
    assert image.timm is not None
    (name, options), shown, network = image.timm, image.shown, cast(Any, image.network)
    side = [3, shown.size, shown.size]
    classes = image.width if isinstance(network.get_classifier(), torch.nn.Linear) else 0
    return {
        "architecture": name,
        "num_classes": classes,
        "num_features": network.num_features,
        "model_args": options,
        "pretrained_cfg": {
            "input_size": side,
            "test_input_size": side,
            "fixed_input_size": "img_size" in options,
            "interpolation": shown.interpolation,
            "crop_pct": 1.0,
            "test_crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(shown.mean),
            "std": list(shown.std),
            "num_classes": classes,
            "license": licence,
        },
    }
