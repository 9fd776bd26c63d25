"""What a run leaves behind when a loss is not finite: the batch and the weights it met, to be looked at in peace.

nan-00000012/batch.safetensors    the batch as the objective saw it
nan-00000012/model.safetensors    student and objective before the step
nan-00000012/what.json            step, keys, and the terms as they came out

    from distillkit.training.reproducer import replay
    replay("runs/dime_fm/nan-00000012")     # {"L_vl": nan, ...}
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from distillkit.errors import TrainError
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import atomic_folder, write_json
from distillkit.system.opening import tensors_of
from distillkit.system.record import read_record
from distillkit.training.objective import Objective
from distillkit.training.shards import whole
from distillkit.types import Batch, Features, Widths

_OWN = ("pixels", "tokens", "match", "mask")


def keep(
    run: RunFolder, batch: Batch, model: nn.Module, terms: dict[str, float], widths: Widths, rank: int = 0
) -> Path:
    """Write the reproducer of a step into the run's folder; of several processes each writes its own share."""
    path = run.path / (f"nan-{batch.step + 1:08d}" + (f"-rank{rank}" if rank else ""))
    # Of a sharded student all ranks ask together.
    weights: dict[str, Tensor | None] = {name: whole(value) for name, value in model.state_dict().items()}
    if path.is_dir():
        return path
    sides = {"teacher": batch.teacher, **{f"others/{name}": said for name, said in batch.others.items()}}
    tensors = {name: getattr(batch, name) for name in _OWN}
    for side, features in sides.items():
        tensors |= {f"{side}/{name}": getattr(features, name) for name in Features.__dataclass_fields__}
    what = {
        "step": batch.step,
        "own_share": batch.own_share,
        "keys": list(batch.keys),
        "terms": {name: str(value) for name, value in terms.items()},
        "widths": {
            "teacher": dict(widths.teacher),
            "others": {name: dict(fields) for name, fields in widths.others.items()},
        },
    }
    with atomic_folder(path) as partial:
        for name, values in (("batch", tensors), ("model", weights)):
            (partial / f"{name}.safetensors").write_bytes(save(_whole(values)))
        write_json(partial / "what.json", what)
    return path


def _damaged(path: Path) -> Callable[[str], TrainError]:
    return lambda why: TrainError(f"{path}: damaged ({why}); let the training fail again, which keeps its step anew")


def _whole(tensors: dict[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items() if value is not None}


def replay(folder: str | Path) -> dict[str, float]:
    """The terms of that step again, on the CPU in float32: same student, same weights, same batch."""
    path = Path(folder)
    recipe, what = RunFolder(path.parent).begun_recipe(), read_record(path / "what.json", _damaged(path))
    student = recipe.student.build("students")
    widths = Widths(student.widths, what["widths"]["teacher"], what["widths"]["others"])
    objective = Objective(recipe.losses, widths)
    weights = {name: value for name, value in tensors_of(path / "model.safetensors").items() if "average." not in name}
    nn.ModuleDict({"student": student, "objective": objective}).load_state_dict(weights)
    batch = _batch(tensors_of(path / "batch.safetensors"), what)
    objective.at(batch.step)
    with torch.no_grad():
        _, terms = objective(batch, student.train()(batch))
    return {name: value.item() for name, value in terms.items()}


def _batch(tensors: dict[str, Tensor], what: dict[str, Any]) -> Batch:
    sides: dict[str, dict[str, Tensor]] = {"teacher": {}}
    for name, value in tensors.items():
        side, slash, field = name.rpartition("/")
        if slash:
            sides.setdefault(side, {})[field] = value
    teacher = Features(**sides.pop("teacher"))
    others = {side.removeprefix("others/"): Features(**fields) for side, fields in sides.items()}
    own: dict[str, Any] = {name: tensors[name] for name in _OWN if name in tensors}
    return Batch(
        tuple(what["keys"]),
        **own,
        teacher=teacher,
        others=others,
        step=what["step"],
        own_share=what.get("own_share", 1.0),
    )
