"""distillkit: run a frozen teacher once, train small CLIPs and DINOs from what it said.

import distillkit

distillkit.extract("pipelines/extract/demo.toml")
run = distillkit.train("pipelines/demo/dime_fm.toml", overrides=["optim.epochs=10.0"])
report = distillkit.evaluate(run)
page = distillkit.compare([run / "baseline", run])
store = distillkit.FeatureStore("stores/demo/images")
student = distillkit.load_student(run)
"""

import os
from importlib import import_module
from typing import Any

# cuBLAS reads it at the first matrix product of a process, whoever makes that: later is too late for
# `optim.deterministic` (https://docs.nvidia.com/cuda/cublas/#results-reproducibility). It asks for no more memory than
# PyTorch's default does.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

__version__ = "0.1.0"
__all__ = ["FeatureStore", "compare", "evaluate", "extract", "load_student", "mine", "train"]


def __getattr__(name: str) -> Any:
    """What is heavy is imported when it is first named: the five steps are callable modules."""
    if name in ("compare", "evaluate", "extract", "mine", "train"):
        return import_module(f"distillkit.{name}")
    if name == "FeatureStore":
        return import_module("distillkit.store.reading.reader").FeatureStore
    if name == "load_student":
        return import_module("distillkit.runfolder").load_student
    raise AttributeError(f"module 'distillkit' has no attribute {name!r}")
