"""What is known of the corpora of the papers, and what of one is there.

    distillkit data list
    distillkit data show food101
    distillkit data check imagenet1k --root /data/imagenet

Facts come from data_manifests/<name>.toml, each with its source; what is not known is absent there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.corpora import manifests
from distillkit.corpora.facts import Archive, Facts, Part
from distillkit.errors import SourceError
from distillkit.recipe import Component
from distillkit.sources._account import Account
from distillkit.sources._patterns import files
from distillkit.sources._places import folder_at
from distillkit.system.atomic import parsed_json
from distillkit.system.paths import cache_dir, expand
from distillkit.system.remote import is_remote
from distillkit.system.wording import count as counted


def overview() -> list[tuple[str, str]]:
    """Name and title of every corpus."""
    return [(name, _title(name)) for name in manifests.names()]


def _title(name: str) -> str:
    table = manifests.load(name)
    return str(table.get("title") or f"the embedded default: {table['images']['name']}")


def show(name: str) -> Iterator[str]:
    """What is known of a corpus, a line each."""
    table = manifests.load(name)
    yield f"{name}: {_title(name)}"
    if "parts" not in table:
        yield "  made of packages; distillkit data check demo says which, and what of it is there"
        return
    facts = Facts.model_validate(table)
    yield from (f"  {line}" for line in facts.lines())
    for part in facts.parts:
        expected = "" if part.count is None else f"; {counted(part.count, 'sample')}"
        yield f"  {part.name}: {part.layout}{expected}"
    yield f"  next: {facts.next}"


def known(name: str) -> dict[str, Any]:
    """What is known of a corpus, by name; what nobody has told is absent."""
    table = manifests.load(name)
    if "parts" not in table:
        return {"title": _title(name)} | table
    return Facts.model_validate(table).model_dump(exclude_none=True)


def check(name: str, root: str | Path | None = None, thorough: bool = False) -> Iterator[tuple[str, bool]]:
    """Lines about a corpus below `root` (a path or a URL; by default data/NAME), each with whether it is as it should.

    `thorough`: count the samples, and compare checksums of archives that are there.
    """
    table, root = manifests.load(name), expand(str(root)) if root else f"data/{name}"
    yield f"{name}: {_title(name)}", True
    if "parts" not in table:
        yield from _check_demo(table)
        return
    facts = Facts.model_validate(table)
    yield from ((f"  {line}", True) for line in facts.lines())
    found = [_check_part(part, root, thorough) for part in facts.parts]
    yield from found
    for archive in facts.files if thorough and not is_remote(root) else ():
        if (path := Path(root) / archive.name).is_file():
            yield _check_archive(path, archive)
    if not all(good for _, good in found):
        yield f"  next: {facts.next}", True


def _check_part(part: Part, root: str, thorough: bool) -> tuple[str, bool]:
    knobs = {key: _at(value, root) for key, value in part.source.items()}
    written = ", ".join(f"{key} = {json.dumps(value)}" for key, value in knobs.items())
    try:
        source = Component(**knobs).build("sources")
        pattern = knobs.get("shards") or knobs.get("files")
        have = (
            counted(len(files(folder_at(knobs["root"]), pattern, Account(), "the pattern")), "file")
            if pattern
            else "found"
        )
        if not pattern and next(iter(source), None) is None:
            raise SourceError(f"{knobs.get('root')}: no sample in it")
        good = True
        if thorough:
            number = sum(1 for _ in source)
            good = part.count in (None, number)
            have += f", {counted(number, 'sample')}" + ("" if good else f" instead of {part.count:,}")
    except SourceError as error:
        return f"  {part.name}: missing ({error}); it should be: {part.layout}", False
    return f"  {part.name}: {have}; source = {{ {written} }}", good


def _at(value: Any, root: str) -> Any:
    return value.replace("{root}", root) if isinstance(value, str) else value


def _check_archive(path: Path, want: Archive) -> tuple[str, bool]:
    with path.open("rb") as file:
        have = hashlib.file_digest(file, "md5").hexdigest()
    good = have == want.md5
    return f"  {path}: md5 {have}" + ("" if good else f" instead of {want.md5} ({want.source}); fetch it again"), good


def _check_demo(table: manifests.Table) -> Iterator[tuple[str, bool]]:
    """The packages that the embedded default is made of, and whether it is made."""
    missing = False
    for ingredient in (value for value in table.values() if isinstance(value, dict) and "package" in value):
        there = importlib.util.find_spec(ingredient["module"]) is not None
        missing |= not there
        yield f"  {ingredient['package']}: {'installed' if there else 'missing'}; {ingredient['licence']}", there
    places = {words: cache_dir() / folder for folder, words in (("demo", "demo"), ("demo-quick", "demo --quick"))}
    made = {words: _finished(place / "prepared.json") for words, place in places.items()}
    for words, place in places.items():
        # Either will do; which of them a recipe reads, its name says.
        yield f"  {place}: {'prepared' if made[words] else 'not prepared'} ({words})", any(made.values())
    if missing:
        yield '  next: pip install "distillkit[demo]"', True
    elif not any(made.values()):
        yield "  next: distillkit data prepare demo  (or, for a first look: distillkit data prepare demo --quick)", True


def _finished(record: Path) -> bool:
    """Whether the last stage of preparing is done; a record that cannot be read says of none that it is."""
    try:
        found = parsed_json(record.read_bytes()) if record.is_file() else {}
    except ValueError:
        return False
    return isinstance(found, dict) and "teacher" in found
