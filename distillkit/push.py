"""An exported student, or a store, to a hub of models and data: what goes is listed first, and pictures stay here.

    distillkit push runs/clip_kd OWNER/NAME --export hf --dry-run
    distillkit store push stores/demo/images OWNER/NAME

https://huggingface.co/docs/huggingface_hub, or whatever answers at HF_ENDPOINT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from distillkit.callable import Say, make_callable, silent
from distillkit.errors import ExportError, StoreError
from distillkit.parity.card import CARD, cell
from distillkit.runfolder import RunFolder
from distillkit.store.bucket.remote import local, origin
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Selection
from distillkit.system.atomic import as_json, parsed_json
from distillkit.system.hubs import send
from distillkit.system.paths import here
from distillkit.system.temporary import TEMPORARY
from distillkit.system.wording import as_word, count
from distillkit.teachers._students import EXPORTED

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
_OPEN_CLIP = "open_clip_config.json"
_REPORTS = ("report.html", "compare.html")  # pictures of the corpus are in them
_STORE_CARD = """\
---
license: unknown
tags:
- distillation
- embeddings
---

# {name}

What a frozen teacher said of a corpus, as distillkit keeps it. The texts and the names of images are in it, the images
are not.

| | |
|---|---|
{table}

## How to open it

```python
import distillkit

store = distillkit.FeatureStore(".")
print(store.read(store.feature_names[0], store.ok_rows[:10]))
```

`zarr` and `pyarrow` read it as well.
"""
# By these files a repository is known to hold such a thing.
_MARKS = {"model": (EXPORTED,), "dataset": (FILE_NAME,)}
_OURS = (".lock", ".cache", TEMPORARY)


@dataclass(frozen=True)
class Load:
    """What goes: its name there, and a file here, or bytes. `left`: files with pictures that stay."""

    files: Mapping[str, Path | bytes]
    left: tuple[str, ...] = ()

    def sizes(self) -> dict[str, int]:
        return {
            name: len(what) if isinstance(what, bytes) else what.stat().st_size for name, what in self.files.items()
        }

    @property
    def lines(self) -> list[str]:
        """A line for each file with its bytes, and one for all."""
        sizes = self.sizes()
        told = [f"{size:>14,}  {name}" for name, size in sizes.items()]
        left = (
            f"; {count(len(self.left), 'file')} with pictures left out, --with-images sends them" if self.left else ""
        )
        return [*told, f"{sum(sizes.values()):>14,}  bytes in {count(len(sizes), 'file')}{left}"]


def push(
    run: str | Path,
    repository: str,
    *,
    export: str | None = None,
    with_images: bool = False,
    dry_run: bool = False,
    private: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> str | None:
    """Send what `distillkit export` made of a run, with its card; returns its address, None after a dry run.

    ExportError where the repository holds something else; `overwrite` takes that away, and its history keeps it.
    """
    load = _tokenizer_there(load_of_run(here(run), export, with_images), repository)
    return _sent(load, repository, "model", private, overwrite, dry_run, say)


def push_store(
    store: str | Path,
    repository: str,
    *,
    with_images: bool = False,
    dry_run: bool = False,
    private: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> str | None:
    """Send a complete store, with a card; with images also the pixel caches beside it. `overwrite`: as of `push`."""
    load = load_of_store(local(store), with_images)
    return _sent(load, repository, "dataset", private, overwrite, dry_run, say)


def load_of_run(run: Path, export: str | None, with_images: bool) -> Load:
    """ExportError where the run was not exported, or was in several ways and none is named."""
    RunFolder(run).facts()
    made = sorted(path.name for path in (run / "exports").glob("*") if (path / CARD).is_file())
    if not made:
        raise ExportError(f"{run}: nothing of it was exported; run: distillkit export {as_word(run)} --to hf")
    if export is None and len(made) > 1:
        raise ExportError(f"{run}: was exported as {', '.join(made)}; say which one goes: --export {' or '.join(made)}")
    if export is not None and export not in made:
        raise ExportError(f"{run}: was not exported as {export}; there is {', '.join(made)}")
    folder = run / "exports" / (export or made[0])
    found: dict[str, Path | bytes] = dict(_files(folder))
    reports = {name: run / name for name in _REPORTS if (run / name).is_file()}
    pictures = {name for name in found if Path(name).suffix.lower() in _PICTURES}
    if with_images:
        return Load(found | reports)
    return Load({name: path for name, path in found.items() if name not in pictures}, (*sorted(pictures), *reports))


def _tokenizer_there(load: Load, repository: str) -> Load:
    """Of an open_clip folder that has its tokenizer in itself: on a hub open_clip looks it up by a name, its own."""
    path = load.files.get(_OPEN_CLIP)
    if not isinstance(path, Path):
        return load
    config = parsed_json(path.read_bytes())
    text = config.get("model_cfg", {}).get("text_cfg", {})
    if text.get("hf_tokenizer_name") != ".":
        return load
    text["hf_tokenizer_name"] = repository
    return replace(load, files={**load.files, _OPEN_CLIP: as_json(config)})


def load_of_store(store: Path, with_images: bool) -> Load:
    """StoreError where it is not complete, where it is a view, and where its rows lie elsewhere."""
    if (store / VIEW).is_file():
        raise StoreError(
            f"{store}: is a view of {Selection(store).store}, and holds none of its rows; push that, or make a store "
            f"of these rows: distillkit store merge STORE {as_word(store)}"
        )
    if there := origin(store):
        raise StoreError(f"{there.url}: is a URL, and only what lies here is sent; copy it to a folder and push that")
    manifest = Manifest.read(store)
    caches = sorted(store.parent.glob(f"{store.name}.pixels-*"))
    pixels = {f"{cache.name}/{name}": path for cache in caches for name, path in _files(cache)}
    found: dict[str, Path | bytes] = dict(_files(store))
    card = {CARD: _card(store, manifest).encode()} if CARD not in found else {}
    return Load(card | found | (pixels if with_images else {}), () if with_images else tuple(pixels))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.endswith(_OURS) for part in parts):
            yield "/".join(parts), path


def _card(store: Path, manifest: Manifest) -> str:
    """README.md of a store: whose features of what, and how they are read."""
    teachers = [
        f"{one.get('model', alias)}, weights sha256 {one.get('weights_sha256', 'unknown')}"
        for alias, one in manifest.teachers.items()
    ]
    rows = {
        "rows": f"{manifest.rows:,}, {manifest.skipped:,} without features",
        "fields": ", ".join(f"{name} {field.dtype} {list(field.shape)}" for name, field in manifest.fields.items()),
        "teacher": "; ".join(teachers),
        "source": manifest.source["kind"],
        "digest": manifest.digest,
        "licence": "unknown: the teacher's weights and the corpus have their own",
    }
    table = "\n".join(f"| {name} | {cell(value)} |" for name, value in rows.items())
    return _STORE_CARD.format(name=store.name, table=table)


def _sent(
    load: Load, repository: str, kind: str, private: bool, overwrite: bool, dry_run: bool, say: Say
) -> str | None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ExportError(f"{repository}: is no name of a repository; write OWNER/NAME")
    for line in load.lines:
        say(line)
    if dry_run:
        return None
    return send(repository, kind, load.files, _MARKS[kind], private, overwrite)


make_callable(__name__)
