"""What was left out of rows that have features: a caption or a label that could not be read. A ledger for people, no
part of the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from distillkit.system.atomic import atomic_file
from distillkit.system.lines import read_lines

FILE_NAME = "left_out.jsonl"


def write_losses(store: Path, losses: Iterable[Mapping[str, str]]) -> None:
    """Key, stage ("text", "label") and error of each."""
    with atomic_file(store / FILE_NAME, within=store) as file:
        file.writelines(f"{json.dumps(dict(loss))}\n".encode() for loss in losses)


def losses_of(store: Path) -> list[dict[str, str]]:
    return read_lines(store / FILE_NAME)
