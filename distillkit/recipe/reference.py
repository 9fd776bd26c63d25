"""docs/reference.md: every knob of every recipe and kind, as Markdown.

distillkit recipe explain --markdown > docs/reference.md
"""

from __future__ import annotations

from collections.abc import Iterator

from distillkit.recipe.explained import Table, every_table

_HEAD = """# Reference

Every key of every recipe: type, default, meaning, and the file that declares it. Made by
`distillkit recipe explain --markdown`; `distillkit recipe explain KIND|KEY` prints a part of it.
"""
_ROOMS = {
    "sources": "Sources: what is read",
    "teachers": "Teachers: who is asked",
    "students": "Students: what learns",
    "losses": "Losses: what is learned",
    "evals": "Evals: what is measured",
    "importers": "Importers: features that others stored",
    "exports": "Exports: where a student goes",
}


def reference() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    chapter = ""
    for table in every_table():
        room = table.path.partition(".")[0]
        new = _ROOMS[room] if table.where.startswith("kind") else f"`distillkit {table.where}`"
        if new != chapter:
            chapter = new
            yield f"## {chapter}\n"
        yield from _section(table)


def _section(table: Table) -> Iterator[str]:
    yield f"### {table.path if table.path != '(top)' else 'outermost keys'}\n"
    yield f"{table.meaning} ({table.source})\n"
    if not table.knobs:
        return
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for knob in table.knobs:
        cells = (f"`{knob.name}`", knob.type, "**to be given**" if knob.default is None else knob.default, knob.meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
