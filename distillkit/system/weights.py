"""The weights of a student, in the folder of a run or in its best/, and the checksum that the record beside them tells.

student.safetensors               the weights
student.json, in best/ best.json  told of them as `weights_sha256`: absent from runs of older versions
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from distillkit.system.atomic import atomic_file, parsed_json
from distillkit.system.best import RECORD, is_best

if TYPE_CHECKING:
    from torch import nn

FILE = "student.safetensors"
TOLD = "weights_sha256"


def bytes_of(student: nn.Module) -> bytes:
    """A file of safetensors of all that its state_dict has. What is tied is written under each of its names."""
    from safetensors.torch import save

    seen, weights = set[int](), {}
    for name, value in student.state_dict().items():
        here = value.detach().cpu().contiguous()
        memory = here.untyped_storage().data_ptr()
        weights[name] = here.clone() if memory in seen else here  # safetensors refuses two in one memory
        seen.add(memory)
    return save(weights)


def write_weights(folder: Path, content: bytes) -> dict[str, str]:
    """Write the weights; returns what the record that is written behind them has to tell."""
    with atomic_file(folder / FILE) as file:
        file.write(content)
    return {TOLD: hashlib.sha256(content).hexdigest()}


class Damaged(OSError):
    """Weights that are not as they were written."""


def refuse_damage(folder: Path) -> None:
    """Damaged where the weights here are not those of which the record tells, or it tells nothing. Whether there are
    any says whoever opens them.
    """
    record = folder / (RECORD if is_best(folder) else "student.json")
    if (folder / FILE).is_dir():
        raise Damaged("a folder has that name")
    try:
        told = parsed_json(record.read_bytes())
        with (folder / FILE).open("rb") as file:
            have = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return
    except ValueError as error:
        raise Damaged(f"{record.name} is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise Damaged(f"{record.name} is a {type(told).__name__}, not a table")
    if told.get(TOLD) not in (None, have):
        raise Damaged(f"sha256 {have[:16]}, {record.name} says {str(told[TOLD])[:16]}")


def made_again(folder: Path) -> str:
    """What somebody can do who needs the weights of another run, and finds these damaged."""
    if is_best(folder):
        return "name the run itself, or train it again with --overwrite"
    return "delete student.json beside it and train that run again, for which its last checkpoint suffices"
