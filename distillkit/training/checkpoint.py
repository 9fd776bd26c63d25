"""The whole state of a run at a step, complete or not there: safetensors for tensors, JSON for numbers.

checkpoints/00000500/model.safetensors       student, objective (heads, learned scales, buffers), moving average
checkpoints/00000500/optimizer.safetensors   per parameter: step, exp_avg, exp_avg_sq
checkpoints/00000500/state.json              step and scaler; sha256 of both files above, and of this record without it

Nothing random is kept: data and dropout of a step depend on its number.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from distillkit.callable import Say
from distillkit.errors import TrainError
from distillkit.store.format.manifest import file_digest
from distillkit.system.atomic import atomic_folder, keep_names, parsed_json, set_aside, write_json
from distillkit.system.clearing import remove_tree
from distillkit.system.device import fetched
from distillkit.system.opening import refused_is_not_absent, tensors_of
from distillkit.system.record import digest
from distillkit.training.shards import cut, spread, whole

_MOST = 2**53  # steps that can be counted
_KEPT = {torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.SGD: {"momentum_buffer"}}  # a parameter
_FILES = ("model.safetensors", "optimizer.safetensors")


class State(NamedTuple):
    """A run at a step, copied: training may go on while it is written."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    scaler: dict[str, Any]

    @classmethod
    def of(
        cls, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, first: bool = True
    ) -> State:
        """All of it; where it is spread over ranks they ask together, and only the `first` gets it."""
        model_now, optimizer_now = (_copied(part, first) for part in (model.state_dict(), _flatten(model, optimizer)))
        return cls(step, model_now, optimizer_now, scaler.state_dict())


class Writer:
    """Writes checkpoints under `folder` beside the training, one at a time, and keeps the newest `keep`."""

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = folder, keep
        self.pool = ThreadPoolExecutor(1)
        self.last: Future[Path] | None = None
        self.failed = False

    def write(self, state: State) -> None:
        """Take a state; an error of the one before is raised here."""
        self.wait()
        self.last = self.pool.submit(save, self.folder, state, self.keep)

    def wait(self) -> Path | None:
        """Until the last checkpoint is on the disk."""
        last, self.last = self.last, None
        self.failed |= last is not None and last.exception() is not None
        return last.result() if last else None


def save(folder: Path, state: State, keep: int) -> Path:
    """Write the checkpoint of a step under `folder` and remove all but the `keep` newest."""
    path = folder / f"{state.step:08d}"
    if not path.is_dir():
        with atomic_folder(path) as partial:
            record: dict[str, Any] = {"step": state.step, "scaler": state.scaler, "files": {}}
            for name, tensors in zip(_FILES, (state.model, state.optimizer), strict=True):
                content = to_bytes(tensors)
                (partial / name).write_bytes(content)
                record["files"][name] = hashlib.sha256(content).hexdigest()
            write_json(partial / "state.json", record | {"sha256": digest(record)})
    for old in _finished(folder)[:-keep]:
        remove_tree(old)
    return path


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any) -> int:
    """Load the newest checkpoint below `folder` into the run; returns its step, or 0 when there is none."""
    found = _finished(folder)
    if not found:
        return 0
    path = found[-1]
    state = parsed_json((path / "state.json").read_bytes())
    now = model.state_dict()
    kept = {name: cut(value, now.get(name)) for name, value in tensors_of(path / "model.safetensors").items()}
    try:
        model.load_state_dict(kept)
    except RuntimeError as error:
        raise TrainError(
            f"{path}: holds another student or objective ({str(error).splitlines()[-1].strip()}); "
            "begin with --overwrite"
        ) from error
    flat = tensors_of(path / "optimizer.safetensors")
    if strange := _strange(model, optimizer, flat):
        raise TrainError(
            f"{path}: optimizer.safetensors is of another optimiser or student ({strange}); begin with --overwrite"
        )
    _unflatten(model, optimizer, flat)
    scaler.load_state_dict(state["scaler"])
    return int(state["step"])


def size(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the tensors in a checkpoint."""
    return sum(value.nbytes for part in (model.state_dict(), _flatten(model, optimizer)) for value in part.values())


def set_damaged_aside(folder: Path, say: Say) -> None:
    """Let the newest checkpoint be one that is whole. TrainError, with nothing moved, when there is none."""
    if folder.is_dir():
        keep_names(folder)
    found = {path: _damage(path) for path in _finished(folder)}
    whole = [path for path, damage in found.items() if damage is None]
    if found and not whole:
        path, damage = found.popitem()
        raise TrainError(f"{path}: damaged ({damage}), and no checkpoint before it is whole; begin with --overwrite")
    for path, damage in found.items():
        if path > whole[-1]:
            say(f"{path}: damaged ({damage}), now {set_aside(path, 'damaged').name}; the one before is taken")


def _damage(path: Path) -> str | None:
    """Why a checkpoint cannot be loaded: files that are missing, cut off or not as they were written.

    One from before checkpoints had checksums is whole if its files can be opened.
    """
    try:
        record = parsed_json((path / "state.json").read_bytes())
        if {"files", "sha256"} & record.keys() and record.pop("sha256") != digest(record):
            return "state.json is not as it was written"
        for name in _FILES:
            with refused_is_not_absent(path / name), safe_open(path / name, "pt"):
                pass
            if "files" in record and file_digest(path / name).sha256 != record["files"][name]:
                return f"{name} is not as it was written"
        _ = int(record["step"]), record["scaler"]
    except (
        FileNotFoundError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        SafetensorError,
    ) as error:
        return str(error)
    return None


def begun(folder: Path) -> bool:
    """Whether there is any checkpoint below `folder`."""
    return bool(_finished(folder))


def newest(folder: Path) -> int:
    """The step of the newest checkpoint below `folder`; 0 where there is none."""
    return max((int(path.name) for path in _finished(folder)), default=0)


def _finished(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and path.name.isdigit())


def _copied(tensors: dict[str, Tensor], first: bool) -> dict[str, Tensor]:
    """On the CPU, contiguous, and never the memory that training goes on with."""
    if not any(spread(value) for value in tensors.values()):
        return fetched({name: value.detach() for name, value in tensors.items()}) if first else {}
    copies: dict[str, Tensor] = {}
    for name, value in tensors.items():
        all_of_it = whole(value.detach())  # one at a time: a GPU need not hold them all
        if first:
            copies |= fetched({name: all_of_it})
    return copies


def _flatten(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}|{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def _strange(model: nn.Module, optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> str | None:
    """A tensor that the optimiser could not go on with, if there is one; what it lacks, it would miss in a step."""
    parameters, found = dict(model.named_parameters()), defaultdict[str, set[str]](set)
    for place, value in flat.items():
        name, _, key = place.partition("|")
        parameter = parameters.get(name)
        if parameter is None or value.shape != (() if key == "step" else parameter.shape):
            return place
        if not value.is_floating_point():
            return f"{place} is {value.dtype}"
        if key == "step" and not 0 <= value.item() < _MOST:
            return f"{place} is {value.item():g}"
        found[name].add(key)
    return next((name for name, keys in found.items() if keys != _KEPT[type(optimizer)]), None)


def _unflatten(model: nn.Module, optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for place, value in flat.items():
        name, key = place.split("|")
        parameter = parameters[name]
        # The step count lives on the CPU, but for kernels that count on the device.
        stays = key == "step" and not optimizer.defaults.get("fused")
        value = value if stays else cut(value, parameter).to(parameter.device)
        optimizer.state[parameter][key] = _as_it_lies(value, parameter)


def _as_it_lies(value: Tensor, parameter: Tensor) -> Tensor:
    """In the order of the parameter's memory (channels last): one kernel for all goes through both as they lie."""
    if value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
