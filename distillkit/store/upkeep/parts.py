"""Parts of one extraction that were written to folders of their own, put together: the store of one undivided run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.store.format.classes import classes_of, write_classes
from distillkit.store.format.field import Field
from distillkit.store.format.log import note
from distillkit.store.format.manifest import Manifest, Shard, readable, what_else
from distillkit.store.format.plan import plan_at
from distillkit.store.format.sameness import begun_with, changes
from distillkit.store.format.steps import Steps
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.upkeep.ancestry import lines_of_parts
from distillkit.store.upkeep.sound import refuse_damage
from distillkit.store.writing.adopt import adopt
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.commits import commit_path, read_commit
from distillkit.store.writing.steps import as_begun
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.progress import Progress
from distillkit.system.wording import count

# What a writer adds to an identity by itself.
_DERIVED = ("version", "rows", "rows_per_shard", "fields", "plan")


def are_parts(folders: list[Path]) -> bool:
    """Whether these folders were begun with one and the same plan, or one of them is not complete by itself."""
    if any((folder / VIEW).is_file() for folder in folders):
        return False
    plans = [_identity(folder) for folder in folders]
    return not any(changes(plans[0], plan) for plan in plans) or not all(
        (folder / "manifest.json").is_file() for folder in folders
    )


def assemble(
    out: Path,
    folders: list[Path],
    say: Say,
    made_with: Mapping[str, str],
    command: str | None = None,
) -> Manifest:
    """The store at `out` from every shard that any part has. Its log tells the `command`, and what theirs told.

    StoreError for other plans and missing shards.
    """
    identity = _identity(folders[0])
    for folder in folders[1:]:
        found = changes(identity, _identity(folder))
        if found:
            raise StoreError(
                f"{folder} is no part of the same extraction as {folders[0]}: {found[0]}; merge them when "
                "both are finished, or leave one out"
            )
    writer = _writer(out, folders[0], identity)
    writer.steps = _common_steps(writer, folders)
    holders = _holders_of_all(writer, folders)
    with Claims(out) as claims, claims.beginning_or_end():
        if writer.previous_identity() not in (None, identity):
            raise StoreError(f"{out}: holds another store; move it away, or choose another place")
        writer.begin()
        if classes := next(filter(None, map(classes_of, folders)), None):
            write_classes(out, classes)
        _adopt_all(writer, holders, say)
        note(out, lines_of_parts({shard: next(iter(one)) for shard, one in holders.items()}, len(folders), command))
        return writer.finish(made_with)


def _common_steps(writer: StoreWriter, folders: list[Path]) -> dict[str, Steps]:
    """What the numbers of int8 fields mean, by field; StoreError where it is not the same in all parts."""
    if readable(folders[0]):  # else nothing tells what its steps must be, but those of the others
        refuse_damage(folders[0], Manifest.read(folders[0]), [])
    common = as_begun(folders[0], writer.fields)
    for folder in folders[1:]:
        for name, steps in as_begun(folder, writer.fields).items():
            if steps != common[name]:
                raise StoreError(
                    f"{folder}: its {name} has other steps than in {folders[0]}; extract it again, from there"
                )
    return common


def _holders_of_all(writer: StoreWriter, folders: list[Path]) -> dict[int, dict[Path, Shard]]:
    """By shard the parts that have it; StoreError where one is in none of them."""
    holders = {shard: _holders(writer, folders, shard) for shard in range(writer.shards)}
    missing = [shard for shard, parts in holders.items() if not parts]
    if missing:
        told = ", ".join(str(shard + 1) for shard in missing[:5]) + (", ..." if missing[5:] else "")
        raise StoreError(
            f"{writer.path}: {len(missing)} of {count(writer.shards, 'shard')} are in none of the parts ({told}); "
            "extract them"
        )
    return holders


def _adopt_all(writer: StoreWriter, holders: Mapping[int, dict[Path, Shard]], say: Say) -> None:
    """Commit every shard as the first part that has it holds it."""
    with Progress(f"{writer.path}: rows", writer.plan.num_rows, say) as progress:
        for shard, parts in holders.items():
            (folder, record), *others = parts.items()
            for other, theirs in others:
                if theirs != record:
                    say(f"shard {shard + 1} is in {folder} and, with other bytes, in {other}; the first is taken")
            adopt(writer, folder, shard, record)
            progress.advance(record.rows)


def _holders(writer: StoreWriter, folders: list[Path], shard: int) -> dict[Path, Shard]:
    """The parts that have a shard, and what they tell of it; one whose commit is damaged has it not."""
    rows, found = len(range(*writer.span(shard))), {}
    for folder in folders:
        there = (folder / commit_path(shard)).is_file()
        if there and (record := read_commit(folder, shard, rows, writer.fields)) is not None:
            found[folder] = record
    return found


def _identity(folder: Path) -> dict[str, Any]:
    identity = begun_with(folder)
    if identity is None:
        told = what_else(folder) or "no part of an extraction (no plan.json)"
        raise StoreError(f"{folder}: {told}; name folders of stores")
    return identity


def _writer(out: Path, folder: Path, identity: dict[str, Any]) -> StoreWriter:
    plan = plan_at(folder)
    if plan is None:
        raise StoreError(f"{folder}/plan.arrow: missing or damaged; take it from another part")
    fields = {name: Field.model_validate(field) for name, field in identity["fields"].items()}
    given = {key: value for key, value in identity.items() if key not in _DERIVED}
    writer = StoreWriter(out, plan, fields, identity["rows_per_shard"], given)
    if writer.identity != identity:
        raise StoreError(f"{folder}/plan.arrow: not the plan that plan.json names; take it from another part")
    return writer
