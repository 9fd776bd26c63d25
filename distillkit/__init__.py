"""distillkit: run a frozen teacher once, train small CLIPs and DINOs from what it said.

import distillkit

distillkit.extract("pipelines/extract/demo.toml", say=print)
run = distillkit.train("pipelines/demo/dime_fm.toml", overrides=["optim.epochs=10.0"], say=print)
report = distillkit.evaluate(run)
page = distillkit.compare([run / "baseline", run])
student = distillkit.load_student(run)
found = distillkit.search(student, "a red bicycle", within="photos")
store = distillkit.FeatureStore("stores/demo/images")

Every command is a function, with its defaults. What comes out is returned; what is told on the way goes to `say`.
"""

import os
from importlib import import_module
from typing import Any

# cuBLAS reads it at the first matrix product of a process, whoever makes that: later is too late for
# `optim.deterministic` (https://docs.nvidia.com/cuda/cublas/#results-reproducibility). It asks for no more memory than
# PyTorch's default does.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

__version__ = "0.1.0"

# Where what the package offers lies: "module" of itself, callable, or "module:name". Imported when it is first named.
_HOMES = {
    "FeatureStore": "store.reading.reader:FeatureStore",
    "append": "stores:append",
    "atlas": "compare:atlas",
    "bench_model": "bench_model",
    "check": "check",
    "check_corpus": "corpora.check:check",
    "compare": "compare",
    "comparison": "compare:comparison",
    "copy_recipe": "recipe.shipped:copy",
    "embed": "embed",
    "evaluate": "evaluate",
    "evaluate_teacher": "evaluate:evaluate_teacher",
    "explain_recipe": "recipe.explained:explained",
    "export": "export",
    "export_store": "stores:export_store",
    "extract": "extract",
    "import_features": "stores:import_features",
    "list_corpora": "corpora.check:overview",
    "list_recipes": "overview:overview",
    "load_student": "embedding.student:load_student",
    "merge": "stores:merge",
    "mine": "mine",
    "new_recipe": "drafting.draft:new_recipe",
    "plan_claims": "claims.jobs:planned",
    "plan_extraction": "extract:plan",
    "plan_training": "training.forecast:forecast",
    "prepare_demo": "demo.prepare:prepare",
    "push": "push",
    "push_store": "push:push_store",
    "retry_changed": "stores:retry_changed",
    "retry_failed": "stores:retry_failed",
    "run_claims": "claims.jobs:claims",
    "search": "search",
    "select_texts": "mining.select:select_texts",
    "show": "stores:show",
    "show_corpus": "corpora.check:show",
    "split_corpus": "corpora.split:split",
    "store_failures": "stores:store_failures",
    "store_info": "stores:store_info",
    "store_precision": "stores:store_precision",
    "teacher_precision": "stores:teacher_precision",
    "suggest_scale": "suggest:suggest_scale",
    "train": "train",
    "verify": "stores:verify",
    "view": "stores:view",
    "write_claims": "claims.jobs:write",
    "write_evaluation": "evaluate:write_as",
}
__all__ = [*sorted(_HOMES)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """What is heavy is imported when it is first named."""
    if name not in _HOMES:
        raise AttributeError(f"module 'distillkit' has no attribute {name!r}")
    module, _, inner = _HOMES[name].partition(":")
    found = import_module(f"distillkit.{module}")
    if not inner or isinstance(getattr(found, inner), type):
        return getattr(found, inner) if inner else found
    from distillkit.callable import public

    return public(getattr(found, inner), name)
