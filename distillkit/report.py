"""The report of a run."""

from __future__ import annotations

from pathlib import Path

from distillkit.runfolder import RunFolder


def write_report(run: RunFolder, baseline: RunFolder | None) -> Path:
    return run.path / "report.html"
