"""ExecuTorch: image.pte and text.pte, for phones and small boards. https://docs.pytorch.org/executorch

One picture or one text at a time; embeddings come out raw, not normalised. Beside them preprocessor_config.json and
tokenizer.json say what goes in.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillkit.errors import ExportError
from distillkit.exports._described import Described, Opened
from distillkit.exports._files import put
from distillkit.exports._graphs import plain_attention, quietly
from distillkit.exports._pictures import write_preprocessor
from distillkit.exports._programs import OpenedPrograms, lines_of
from distillkit.exports._tokens import write_tokenizer
from distillkit.system.wording import one_line


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
        return OpenedPrograms(folder, lambda tower: _asks(folder / f"{tower}.pte"), 1)

    def lines(self, student: Described) -> str:
        return lines_of(
            student,
            "import torch\nfrom executorch.runtime import Runtime\n",
            """\
program = Runtime.get().load_program("image.pte").load_method("forward")
(image,) = program.execute([torch.from_numpy(picture)])
""",
            """\
program = Runtime.get().load_program("text.pte").load_method("forward")
(text,) = program.execute([torch.from_numpy(tokens)])
""",
        )


def _write(network: nn.Module, example: Tensor, path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    network = network.eval().requires_grad_(False)
    with quietly(), plain_attention():
        try:
            traced = torch.export.export(network, (example,))
            program: Any = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()]).to_executorch()
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, TypeError, ValueError) as error:
            reason = one_line(error)[:200]
            raise ExportError(f"{path.name}: ExecuTorch cannot hold this network: {reason}") from error
    put(path, program.buffer)


def _asks(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    from executorch.runtime import Runtime

    program: Any = Runtime.get().load_program(path).load_method("forward")

    def ask(given: np.ndarray) -> np.ndarray:
        (said,) = program.execute([torch.from_numpy(given)])
        return np.array(said)  # what it says next lies in the same place

    return ask
