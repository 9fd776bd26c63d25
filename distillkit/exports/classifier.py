"""One ONNX graph: a picture in, scores over your classes out. What the text tower said of them is its last matrix.

    classifier.onnx    pixel_values [b, 3, h, w] -> scores [b, c], sum 1; logits [b, c], cosines times the scale

The names of the classes are in its metadata, and in classes.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import ExportError
from distillkit.exports._batches import in_batches
from distillkit.exports._described import Classes, Described, Opened, Pictures
from distillkit.exports._files import write_json
from distillkit.exports._graphs import write_graph
from distillkit.exports._lowering import Graphs, refuse_nothing_kept
from distillkit.exports._pictures import LINES, pixels_of, read_preprocessor, write_preprocessor
from distillkit.exports.onnx import session

_FILE = "classifier.onnx"


class Classifier:
    """An image tower and a matrix of class embeddings in one graph, which onnxruntime runs."""

    precisions = ("fp32", "fp16", "int8")
    towers = ("image",)
    answers_classes = True

    def __init__(self, *, keep: str | None = None):
        self.keep, self._graphs = keep, Graphs()

    def holds(self, student: Described) -> str | None:
        """An image tower, and classes whose vectors are as wide."""
        if student.image is None:
            return "a classifier looks at images, and this student has no image tower"
        if student.classes is None:
            return "no classes are known; name a store of class prompts with --classes"
        width = student.classes.vectors.shape[1]
        if width != student.image.width:
            return f"its images have {student.image.width} numbers, the vectors of its classes {width}"
        return None

    def write(
        self, student: Described, folder: Path, precision: str, calibration: Float[np.ndarray, "n 3 h w"] | None = None
    ) -> None:
        assert student.image is not None and student.classes is not None
        classes, side = student.classes, student.image.shown.size
        scale = student.scale or 1.0
        told = {"classes": json.dumps(classes.names, ensure_ascii=False), "scale": f"{scale:.8g}"}
        network = _Scores(student.image.network, classes, scale)
        pixels = torch.randn(2, 3, side, side)
        kept = self._graphs.write(
            folder / _FILE,
            precision,
            calibration,
            self.keep,
            lambda path: write_graph(network, pixels, path, "pixel_values", ["scores", "logits"], told),
        )
        refuse_nothing_kept(self.keep, kept)
        write_preprocessor(folder, student.image.shown)
        write_json(folder / "classes.json", {"names": classes.names, "scale": scale})

    def blocks(self, precision: str) -> list[str]:
        """Of what was written last."""
        return self._graphs.blocks(precision)

    def open(self, folder: Path) -> Opened:
        return _Opened(folder)

    def lines(self, student: Described) -> str:
        return (
            "import onnxruntime\n"
            + LINES
            + """
session = onnxruntime.InferenceSession("classifier.onnx")
names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
scores, logits = session.run(None, {"pixel_values": pixels(opened("picture.png"))})
for place in scores[0].argsort()[::-1][:5]:
    print(f"{scores[0][place]:.1%} {names[place]}")
"""
        )


class _Scores(nn.Module):
    def __init__(self, network: nn.Module, classes: Classes, scale: float):
        super().__init__()
        self.network = network
        self.register_buffer("vectors", classes.vectors.clone())
        self.scale = scale

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        vectors: Tensor = self.vectors  # type: ignore[assignment]
        logits = self.scale * F.normalize(self.network(x), dim=-1) @ vectors.T
        return logits.softmax(-1), logits


class _Opened:
    """Its "embedding" is a row of cosines, one for each class."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._scale = float(json.loads((folder / "classes.json").read_bytes())["scale"])

    def images(self, pictures: Pictures) -> Float[np.ndarray, "n c"]:
        network, config = session(self._folder / _FILE), read_preprocessor(self._folder)
        return in_batches(
            pictures, lambda part: network.run(["logits"], {"pixel_values": pixels_of(part, config)})[0] / self._scale
        )

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        raise ExportError("a classifier reads no texts")
