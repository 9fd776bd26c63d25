"""ExecuTorch: image.pte and text.pte, for phones and small boards. https://docs.pytorch.org/executorch

One picture or one text at a time; embeddings come out raw, not normalised. Beside them preprocessor_config.json and
tokenizer.json say what goes in.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import ExportError
from distillkit.exports._described import Described, Opened, Pictures
from distillkit.exports._graphs import plain_attention, quietly
from distillkit.exports._pictures import LINES, pixels_of, read_preprocessor, write_preprocessor
from distillkit.exports._tokens import read_tokens, write_tokenizer


class Executorch:
    """A program for each tower, its heavy parts by XNNPACK."""

    precisions = ("fp32",)

    def holds(self, student: Described) -> str | None:
        """Every tower that there is, where the converter is installed."""
        if find_spec("executorch") is None:
            return 'executorch is not installed; run: pip install "distillkit[executorch]"'
        return None if student.towers else "this student has no tower that stands for itself"

    def write(self, student: Described, folder: Path, precision: str, calibration: Any = None) -> None:
        if student.image is not None:
            side = student.image.shown.size
            _write(student.image.network, torch.randn(1, 3, side, side), folder / "image.pte")
            write_preprocessor(folder, student.image.shown)
        if student.text is not None:
            tokens = torch.zeros(1, student.text.context_length, dtype=torch.int64)
            tokens[:, 1] = 1
            _write(student.text.network, tokens, folder / "text.pte")
            write_tokenizer(folder, student.text)

    def open(self, folder: Path) -> Opened:
        return _Opened(folder)

    def lines(self, student: Described) -> str:
        image = """
program = Runtime.get().load_program("image.pte").load_method("forward")
(image,) = program.execute([torch.from_numpy(pixels(Image.open("picture.png")))])
"""
        text = """
program = Runtime.get().load_program("text.pte").load_method("forward")
(text,) = program.execute([torch.tensor([Tokenizer.from_file("tokenizer.json").encode("a photo of a cat").ids])])
"""
        parts = ["import torch\nfrom executorch.runtime import Runtime\n"]
        parts += [LINES.replace("import onnxruntime\n", "")] if student.image else []
        parts += ["from tokenizers import Tokenizer\n"] if student.text else []
        return "".join([*parts, image if student.image else "", text if student.text else ""])


def _write(network: nn.Module, example: Tensor, path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    network = network.eval().requires_grad_(False)
    with quietly(), plain_attention():
        try:
            traced = torch.export.export(network, (example,))
            program: Any = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()]).to_executorch()
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ExportError(f"{path.name}: ExecuTorch cannot hold this network: {reason}") from error
    path.write_bytes(program.buffer)


class _Opened:
    def __init__(self, folder: Path):
        self._folder = folder

    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        program, config = self._load("image"), read_preprocessor(self._folder)
        every = (pixels_of([pictures[place]], config) for place in range(len(pictures)))
        return np.concatenate([_asked(program, one) for one in every])

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        program, rows = self._load("text"), read_tokens(self._folder, texts)
        return np.concatenate([_asked(program, rows[place : place + 1]) for place in range(len(rows))])

    def _load(self, tower: str) -> Any:
        from executorch.runtime import Runtime

        return Runtime.get().load_program(self._folder / f"{tower}.pte").load_method("forward")


def _asked(program: Any, given: np.ndarray) -> Float[np.ndarray, "1 d"]:
    (said,) = program.execute([torch.from_numpy(given)])
    return said.clone().numpy()
