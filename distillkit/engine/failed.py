"""What is told of the samples that failed, after every run and not only the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.recipe import Corpus
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.system.wording import count


def judge(path: Path, corpus: Corpus, say: Callable[[str], None]) -> None:
    """Tell of failed samples of a finished store; StoreError when they are too many."""
    if not (path / FILE_NAME).is_file():
        return  # other parts are to come
    manifest = Manifest.read(path)
    if not manifest.skipped:
        return
    told = (
        f"{path}: {manifest.skipped} of {count(manifest.rows, 'sample')} failed; see: distillkit store failures {path}"
    )
    if manifest.skipped > corpus.max_failures * manifest.rows:
        raise StoreError(
            f"{told} (more than max_failures = {corpus.max_failures}: raise it, or mend them and add --retry-failed)"
        )
    say(told)
