"""The whole state of a run at a step, complete or not there: safetensors for tensors, JSON for numbers.

checkpoints/00000500/model.safetensors       student and objective (heads, learned scales, buffers)
checkpoints/00000500/optimizer.safetensors   per parameter: step, exp_avg, exp_avg_sq
checkpoints/00000500/state.json              step, scaler, and the random state of torch
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from distillkit.atomic import TEMPORARY, atomic_folder, write_json
from distillkit.errors import TrainError


def save(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, keep: int) -> Path:
    """Write the checkpoint of `step` under `folder` and remove all but the `keep` newest."""
    path = folder / f"{step:08d}"
    if not path.is_dir():
        with atomic_folder(path) as partial:
            (partial / "model.safetensors").write_bytes(to_bytes(_contiguous(model.state_dict())))
            (partial / "optimizer.safetensors").write_bytes(to_bytes(_flatten(model, optimizer)))
            random = {"cpu": torch.get_rng_state().numpy().tobytes().hex()}
            if torch.cuda.is_available():
                random["cuda"] = torch.cuda.get_rng_state().numpy().tobytes().hex()
            write_json(partial / "state.json", {"step": step, "scaler": scaler.state_dict(), "random": random})
    for old in _finished(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any) -> int:
    """Load the newest checkpoint below `folder` into the run; returns its step, or 0 when there is none."""
    found = _finished(folder)
    if not found:
        return 0
    path = found[-1]
    state = json.loads((path / "state.json").read_bytes())
    try:
        model.load_state_dict(load_file(path / "model.safetensors"))
    except RuntimeError as error:
        raise TrainError(
            f"{path}: holds another student or objective ({str(error).splitlines()[-1].strip()})"
        ) from error
    _unflatten(model, optimizer, load_file(path / "optimizer.safetensors"))
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state["random"]["cpu"]), dtype=torch.uint8))
    if torch.cuda.is_available() and "cuda" in state["random"]:
        torch.cuda.set_rng_state(torch.frombuffer(bytearray.fromhex(state["random"]["cuda"]), dtype=torch.uint8))
    return int(state["step"])


def _finished(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and not path.name.endswith(TEMPORARY))


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _flatten(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    flat = {
        f"{names[parameter]}|{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }
    return _contiguous(flat)


def _unflatten(model: nn.Module, optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for place, value in flat.items():
        name, key = place.split("|")
        parameter = parameters[name]
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
