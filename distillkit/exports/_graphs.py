"""Networks as ONNX graphs, and graphs in lower precision. https://onnx.ai"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import ExportError, MissingExtra

OPSET = 18
_QUANTIZED = ["Conv", "MatMul", "Gemm"]
_EXTRA = ("onnx", "onnxscript", "onnxruntime")


def refuse_without_converters() -> None:
    """MissingExtra where a package that converts is not installed."""
    from importlib.util import find_spec

    for package in _EXTRA:
        if find_spec(package) is None:
            raise MissingExtra(package, "export")


def write_graph(
    network: nn.Module, example: Tensor, path: Path, reads: str, says: Sequence[str], told: dict[str, str]
) -> None:
    """`network` as a graph whose batch may be of any size. `told`: its metadata.

    ExportError where the network cannot be written so: operations that ONNX lacks, a batch that is fixed.
    """
    refuse_without_converters()
    import onnx

    network = network.eval().requires_grad_(False)
    with quietly(), plain_attention():
        try:
            program: Any = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[reads],
                output_names=list(says),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                verbose=False,
                external_data=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise ExportError(f"{path.name}: ONNX cannot hold this network: {_reason(error)}") from error
    model = program.model_proto
    shape = model.graph.input[0].type.tensor_type.shape.dim[0]
    if shape.HasField("dim_value"):
        raise ExportError(f"{path.name}: this network's batch cannot be of any size in ONNX, only {shape.dim_value}")
    for entry in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        del entry.metadata_props[:]  # paths of this machine
    onnx.helper.set_model_props(model, told)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def lower(
    path: Path, precision: str, calibration: Float[np.ndarray, "n 3 h w"] | None, keep: str | None = None
) -> None:
    """The graph at `path` in another precision, under its own name. Inputs and outputs stay float32.

    int8 is static, channel by channel, over what `calibration` calls forth; without it, dynamic. `keep`: a pattern of
    names of nodes that stay in fp32.
    """
    import onnx

    model = onnx.load(path)
    kept = [node.name for node in model.graph.node if keep is not None and re.search(keep, node.name)]
    if keep is not None and not kept:
        raise ExportError(f"--keep fp32:{keep}: no node of {path.name} has such a name")
    with quietly():
        if precision == "fp16":
            from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

            # Norms square what they see, which overflows first; and onnxruntime 1.32 dies of one in fp16 on a CPU.
            wide = [*DEFAULT_OP_BLOCK_LIST, "LayerNormalization"]
            lowered = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept, op_block_list=wide)
            onnx.save(lowered, path)
        elif calibration is None:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(
                path, path, per_channel=True, op_types_to_quantize=[*_QUANTIZED, "Gather"], nodes_to_exclude=kept
            )
        else:
            from onnxruntime.quantization import quantize_static

            reader: Any = _Reader(model.graph.input[0].name, calibration)
            quantize_static(
                path, path, reader, per_channel=True, op_types_to_quantize=_QUANTIZED, nodes_to_exclude=kept
            )
    refuse_what_dies(path)


def refuse_what_dies(path: Path) -> None:
    """ExportError for a graph of which onnxruntime itself dies: tried in a process of its own."""
    code = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    if done.returncode:
        told = done.stderr.strip().splitlines()
        why = f"signal {-done.returncode}" if done.returncode < 0 else told[-1][:200] if told else "it says nothing"
        raise ExportError(f"{path.name}: onnxruntime cannot open it ({why}); take another precision")


class _Reader:
    """Calibration, some pictures at a time, as onnxruntime asks for it."""

    def __init__(self, name: str, pixels: Float[np.ndarray, "n 3 h w"]):
        self._parts: Iterator[Any] = iter([{name: part} for part in np.array_split(pixels, max(len(pixels) // 8, 1))])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._parts, None)


@contextmanager
def quietly() -> Iterator[None]:
    """Converters talk at length; what matters is what they made, and the gate asks that."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def plain_attention() -> Iterator[None]:
    """torch's own attention takes a way in evaluation that graphs have no name for."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
