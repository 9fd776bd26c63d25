"""The report of a run: report.html, one self-contained page, and report.md, the same in plain text and tables.

Both are read from what the run and its stores recorded, so that equal records give equal files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit.errors import MissingExtra
from distillkit.evaluation.result import read_result
from distillkit.report.page import page
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import atomic_file
from distillkit.system.wording import count as counted
from distillkit.system.wording import network

if TYPE_CHECKING:
    from jinja2 import Environment

_FILES = ("report.md", "report.html")  # the page people open is written last


def write_report(run: RunFolder, baseline: RunFolder | None) -> Path:
    """Write both files into the folder of an evaluated run; returns the path of the page.

    SourceError when a shown image cannot be read, MissingExtra without jinja2.
    """
    values = page(run, baseline, read_result(run.path))
    for name in _FILES:
        with atomic_file(run.path / name) as file:
            file.write(render(name, values).encode())
    return run.path / _FILES[-1]


def render(template: str, values: dict[str, Any]) -> str:
    """A template of this folder, filled in; captions are escaped for the kind of file."""
    filled = _environment(escapes=template.endswith(".html")).get_template(template).render(values)
    return filled.encode("utf-8", "backslashreplace").decode()  # names of files need not be UTF-8, a page is


@cache
def _environment(escapes: bool) -> Environment:
    """Kept, as templates are compiled once in each: that takes longer than to fill them in."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtra("jinja2", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=escapes,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _plain
    environment.filters["counted"] = _counted
    environment.filters["network"] = network
    return environment


def _counted(number: int | str, thing: str) -> str:
    """ "1 row", "2 rows"; also of a number that was written for people already."""
    return counted(int(number.replace(",", "")) if isinstance(number, str) else number, thing)


def _plain(text: str) -> str:
    """`text` as Markdown that shows just that: no tags, no links, no new column or row."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in "\\`*_[]|#~" else character for character in one_line)
