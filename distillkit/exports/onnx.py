"""ONNX: a graph for each tower, in the folders where transformers.js and clip servers look. https://onnxruntime.ai

    onnx/vision_model.onnx    pixel_values [b, 3, h, w] -> image_embeds [b, d], raw: not normalised
    onnx/text_model.onnx      input_ids [t, l] -> text_embeds [t, d], raw; l is the context length
    config.json, preprocessor_config.json, tokenizer.json

In fp16 files end in _fp16, in int8 in _quantized.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from distillkit.exports._batches import BATCH
from distillkit.exports._described import Described, Opened
from distillkit.exports._files import write_json
from distillkit.exports._graphs import write_graph
from distillkit.exports._lowering import Graphs, refuse_nothing_kept
from distillkit.exports._pictures import write_preprocessor
from distillkit.exports._programs import OpenedPrograms, lines_of
from distillkit.exports._tokens import write_tokenizer

ENDINGS = {"fp32": "", "fp16": "_fp16", "int8": "_quantized"}


class Onnx:
    """A graph for each tower, which onnxruntime runs."""

    precisions = ("fp32", "fp16", "int8")

    def __init__(self, *, keep: str | None = None):
        self.keep, self._graphs = keep, Graphs()

    def holds(self, student: Described) -> str | None:
        """Every tower that there is; what cannot be written as a graph says so when it is tried."""
        return None if student.towers else "this student has no tower that stands for itself"

    def write(
        self, student: Described, folder: Path, precision: str, calibration: Float[np.ndarray, "n 3 h w"] | None = None
    ) -> None:
        told = {"embeddings": "raw, not normalised"} | ({"scale": f"{student.scale:.8g}"} if student.scale else {})
        image, text, ending, kept = student.image, student.text, ENDINGS[precision], 0
        if image is not None:
            pixels = torch.randn(2, 3, image.shown.size, image.shown.size)
            kept += self._graphs.write(
                folder / f"onnx/vision_model{ending}.onnx",
                precision,
                calibration,
                self.keep,
                lambda path: write_graph(image.network, pixels, path, "pixel_values", ["image_embeds"], told),
            )
            write_preprocessor(folder, image.shown)
        if text is not None:
            tokens = torch.zeros(2, text.context_length, dtype=torch.int64)
            tokens[:, 1] = 1
            kept += self._graphs.write(
                folder / f"onnx/text_model{ending}.onnx",
                precision,
                None,
                self.keep,
                lambda path: write_graph(text.network, tokens, path, "input_ids", ["text_embeds"], told),
            )
            write_tokenizer(folder, text)
        refuse_nothing_kept(self.keep, kept)
        write_json(folder / "config.json", _config(student))

    def blocks(self, precision: str) -> list[str]:
        """Of what was written last."""
        return self._graphs.blocks(precision)

    def open(self, folder: Path) -> Opened:
        return OpenedPrograms(folder, lambda tower: _asks(folder, tower), BATCH)

    def lines(self, student: Described) -> str:
        """Python with onnxruntime, numpy, Pillow and tokenizers."""
        return lines_of(
            student,
            "from pathlib import Path\nimport onnxruntime\n",
            """\
session = onnxruntime.InferenceSession(str(next(Path("onnx").glob("vision_model*.onnx"))))
(image,) = session.run(None, {"pixel_values": picture})
""",
            """\
session = onnxruntime.InferenceSession(str(next(Path("onnx").glob("text_model*.onnx"))))
(text,) = session.run(None, {"input_ids": tokens})
""",
        )


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _asks(folder: Path, tower: str) -> Callable[[np.ndarray], Any]:
    file, reads = {"image": ("vision", "pixel_values"), "text": ("text", "input_ids")}[tower]
    network = session(next((folder / "onnx").glob(f"{file}_model*.onnx")))
    return lambda given: network.run(None, {reads: given})[0]


def _config(student: Described) -> dict[str, Any]:
    """What programs that load such a folder want to know first: which class of model it is."""
    kind = {("image", "text"): "clip", ("image",): "clip_vision_model", ("text",): "clip_text_model"}
    config: dict[str, Any] = {"model_type": kind[tuple(student.towers)]}
    vision = {} if student.image is None else {"image_size": student.image.shown.size, "num_channels": 3}
    text = {} if student.text is None else {"max_position_embeddings": student.text.context_length}
    if student.image is not None and student.text is not None:
        config |= {"vision_config": vision, "text_config": text}
    widths = {tower.width for tower in (student.image, student.text) if tower is not None}
    return config | vision | text | {"projection_dim": max(widths)}
