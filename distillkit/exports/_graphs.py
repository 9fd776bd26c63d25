"""Networks as ONNX graphs. https://onnx.ai"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.errors import ExportError, MissingExtra
from distillkit.system.atomic import make_folder

OPSET = 18
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

    Nodes are named by tower and module, as "image/blocks.2.0.conv_dw/node_conv2d_5".

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
            for cause in _causes(error):
                if isinstance(cause, OSError) and cause.errno is not None:
                    raise cause from error  # no fault of the network: a disk that is full, no temporary folder
            raise ExportError(f"{path.name}: ONNX cannot hold this network: {_reason(error)}") from error
    model = program.model_proto
    shape = model.graph.input[0].type.tensor_type.shape.dim[0]
    if shape.HasField("dim_value"):
        raise ExportError(f"{path.name}: this network's batch cannot be of any size in ONNX, only {shape.dim_value}")
    tower = "text" if reads == "input_ids" else "image"
    for node in model.graph.node:
        node.name = "/".join([tower, *_module_of(node), node.name])
    for entry in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        del entry.metadata_props[:]  # paths of this machine
    onnx.helper.set_model_props(model, told)
    make_folder(path.parent)
    onnx.save(model, path)


def _module_of(node: Any) -> list[str]:
    """The path of the module that a node comes from; nothing where it comes from none."""
    told = {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "[]")
    return [scope for scope in ast.literal_eval(told)[:-1] if scope][-1:]


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


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
