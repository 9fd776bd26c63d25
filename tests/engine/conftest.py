"""The extraction of the toy world, on a disk that nobody waits for."""

import os

import pytest


@pytest.fixture
def quick_disk(monkeypatch):
    """A killed process loses nothing that the system already has, so no test needs to wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def extract(recipes, run_cli, quick_disk):
    """The command on the toy recipe: (exit code, stderr)."""

    def run(*overrides):
        at = next((n for n, word in enumerate(overrides) if word.startswith("--")), len(overrides))
        settings = [argument for override in overrides[:at] for argument in ("--set", override)]
        settings += overrides[at:]
        code, _, err = run_cli("extract-teacher", recipes[0], *settings)
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def stores(tmp_path):
    return tmp_path / "out"
