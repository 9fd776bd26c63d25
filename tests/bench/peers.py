"""Peers that cannot lie in our environment have their own: `make bench-peers`, from benchmarks/peers/."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def peer(name: str) -> Path | None:
    """The folder of its programs, `python` among them; None where it has not been made."""
    place = ROOT / ".venv-peers" / name
    return place / "bin" if (place / ".ready").is_file() else None


def run_peer(programs: Path, command: list[str], log: Path) -> None:
    """Run one of a peer's programs, which sees nothing of ours; CalledProcessError, with all it said in `log`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with log.open("w") as file:
        subprocess.run([programs / command[0], *command[1:]], check=True, stdout=file, stderr=file, env=clean)
