"""What an exported student is asked where somebody names a folder: its pictures, and the lines of its texts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from distillkit.callable import Say
from distillkit.errors import ExportError, SourceError
from distillkit.parity.questions import MOST, Pictures, Questions
from distillkit.pixels import decode
from distillkit.sources._account import Account
from distillkit.sources._places import folder_at
from distillkit.sources._walk import is_image, walk
from distillkit.system.textfile import lines_of
from distillkit.system.wording import count


def questions_of_folder(folder: Path, say: Say) -> Questions:
    """Every picture below a folder, as a corpus has them, and every line of its .txt files. What cannot be read is left
    out and told, as extraction does it. ExportError where there is no such folder."""
    if not folder.is_dir():
        raise ExportError(
            f"--samples {folder}: no such folder; name one of pictures, and of .txt files with a text a line"
        )
    found = sorted(folder / name for name in walk(folder_at(str(folder)), Account(), knob="another --samples"))
    files = [path for path in found if is_image(path.name)][:MOST]
    with ThreadPoolExecutor() as pool:
        wrong = {path: why for path, why in zip(files, pool.map(_fault, files), strict=True) if why}
    if wrong:
        path, why = next(iter(wrong.items()))
        say(f"--samples {folder}: left out {count(len(wrong), 'picture')} that cannot be read, the first {path}: {why}")
    files = [path for path in files if path not in wrong]
    lines = [line.strip() for path in found if path.suffix == ".txt" for line in _lines(path)]
    texts = list(dict.fromkeys(filter(None, lines)))[:MOST]
    told, public = (f"--samples {name}" for name in (folder, folder.absolute().name))
    return Questions(Pictures(files, _picture), texts, None, told, public)


def _picture(path: Path) -> Image.Image:
    try:
        return decode(path)
    except SourceError as error:
        raise ExportError(f"{path}: {error}; take it out of --samples") from error


def _fault(path: Path) -> str | None:
    """What is wrong with a picture."""
    try:
        decode(path)
    except SourceError as error:
        return str(error)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return lines_of(path.read_bytes())
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: not UTF-8 ({error.reason}); convert it, or take it out of --samples") from error
