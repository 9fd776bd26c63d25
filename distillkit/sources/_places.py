"""Where things lie below a source's root, on disk or behind a URL, and names that stay there.

A file is called by its name below the root, with "/" between folders, and what cannot be read is a SourceError.
"""

from __future__ import annotations

import os
import posixpath
import stat
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

from distillkit.errors import NoHome, SourceError
from distillkit.sources._links import led_by_its_owner
from distillkit.system.addresses import refuse_secrets
from distillkit.system.opening import blame_the_file, part
from distillkit.system.paths import cache_dir, expand, meant, or_else
from distillkit.system.remote import Remote, is_remote, local_path

# Pictures by their names: every ending that the decoder's formats have.
_DECODED = ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .pfm"
# What cannot be decoded here: the failure ledger is to say so, not silence.
_KNOWN = ".avif .heic .heif"
IMAGES = frozenset(f"{_DECODED} {_KNOWN}".split())
# Far beyond any encoded photograph; what is larger would only fill the memory.
LARGEST_IMAGE = 256 * 2**20


def folder_at(root: str, follow: bool = False) -> Place:
    """The folder that the knob `root` means; whether one behind a URL exists, the first read tells.

    `follow`: links in it may lead anywhere.
    """
    root = expand(root)
    refuse_secrets(root)
    if is_remote(root):
        return Far(root)
    folder = local_path(root)
    if not folder.is_dir():
        what = "a file, no folder of images" if folder.is_file() else "no such folder of images"
        cure = _how_to_get(folder) or "mend that path (in a recipe: source.root)"
        raise SourceError(or_else(f"{folder}: {what}{printable(meant(folder))}", cure))
    return Near(folder, follow)


def file_at(file: str, what: str = "file", follow: bool = False, knob: str = "source.file") -> tuple[Place, str]:
    """The folder of the file that the knob `file` means, and its name in it. SourceError where it is not there."""
    place, name = placed(file, follow, knob)
    file = expand(file)
    if not place.has(name):
        prepare = None if is_remote(file) else _how_to_get(local_path(file))
        found = (
            f"a folder, no {what}" if isinstance(place, Near) and (place.root / name).is_dir() else f"no such {what}"
        )
        found += "" if is_remote(file) else printable(meant(local_path(file)))
        raise SourceError(or_else(f"{place.where(name)}: {found}", prepare or f"mend {knob} in the recipe"))
    return place, name


def placed(file: str, follow: bool = False, knob: str = "source.file") -> tuple[Place, str]:
    """The same, of a file that need not be there."""
    file = expand(file)
    refuse_secrets(file, knob)
    if is_remote(file):
        folder, _, name = file.rpartition("/")
        return Far(folder), name
    return Near(local_path(file).parent, follow), local_path(file).name


def _how_to_get(path: Path) -> str | None:
    """What makes a file or folder of the embedded corpus, which lies in the cache; None for any other."""
    try:
        cache = cache_dir().absolute()
    except NoHome:
        return None
    for folder, words in (("demo", "demo"), ("demo-quick", "demo --quick")):
        if path.is_relative_to(cache / folder):
            return f"run: distillkit data prepare {words}"
    return None


class Entry(NamedTuple):
    """A name in a folder; `folder`: it is one, or a link to one."""

    name: str
    folder: bool
    link: bool


class Near:
    """A folder on this machine."""

    def __init__(self, root: Path, follow: bool = False):
        self.root, self.follow = root, follow

    def where(self, name: str) -> str:
        return printable(str(self.root / name))

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> Path:
        """Where a file is that a plan names. Where links lead is not looked at: the plan did that."""
        path = self.root / below(str(self.root), name)
        try:
            mode = path.stat().st_mode
        except OSError:
            return path  # whoever opens it is told why it cannot be
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SourceError(f"{path}: no plain file; a pipe or a device can keep its reader for ever")
        return path

    def part(self, name: str, start: int, length: int) -> bytes:
        """Bytes of a file; fewer where it ends before."""
        path = self.read(name)
        try:
            return part(path, start, length)
        except OSError as error:
            blame_the_file(error, path)
            raise SourceError(f"{path}: {error.strerror}; make that file readable") from error

    def size(self, name: str) -> int:
        return (self.root / name).stat().st_size

    def open(self, name: str) -> BinaryIO:
        """A file to read from its start on; OSError where there is none."""
        return (self.root / name).open("rb")

    def table(self, name: str) -> Path | BinaryIO:
        """A file for a reader that jumps about in it, as Arrow takes it."""
        return self.root / name

    def checked(self, name: str) -> str:
        """A name that came with the data, as one below the root; SourceError where it leaves it, unless by a link that
        its owner set (see `_links`)."""
        if not name or "\0" in name:
            raise SourceError(f"{name!r} is no path of an image")
        path = self.root / name
        if not path.is_relative_to(self.root) or (self._is_outside(path) and ".." in path.parts):
            raise SourceError(f"{name!r} leaves {self._real}; refused (source.root may be set higher)")
        if self._is_outside(path) and not (self.follow or led_by_its_owner(self.root, path)):
            raise SourceError(f"{name!r} leaves {self._real} by a link; refused (source.follow_links = true allows it)")
        return plain(path.relative_to(self.root).as_posix())

    def _is_outside(self, path: Path) -> bool:
        return not Path(os.path.realpath(path)).is_relative_to(self._real)

    @cached_property
    def _real(self) -> str:
        return os.path.realpath(self.root)

    def real(self, name: str) -> str:
        """Where a folder lies when all links are followed."""
        return os.path.realpath(self.root / name)

    def entries(self, folder: str) -> list[Entry]:
        """What lies right in a folder, by name; OSError where it cannot be listed."""
        with os.scandir(self.root / folder) as listed:
            return sorted(Entry(one.name, _is_folder(one), one.is_symlink()) for one in listed)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        blame_the_file(error, entry.path)
        return False  # a link in a circle: whoever opens it is told


class Far:
    """The same behind a URL. What is read of it comes as bytes."""

    def __init__(self, root: str):
        self.root = root.rstrip("/")
        self._remote = Remote(self.root)

    def where(self, name: str) -> str:
        return self._remote.where(name)

    def has(self, name: str) -> bool:
        try:
            return self._remote.size(name) >= 0
        except FileNotFoundError:
            return False
        except OSError as error:
            blame_the_file(error, self.where(name))
            raise SourceError(str(error)) from error

    def read(self, name: str) -> bytes:
        """A whole file."""
        return self.part(name, 0, LARGEST_IMAGE)

    def part(self, name: str, start: int, length: int) -> bytes:
        try:
            return self._remote.read(below(self.root, name), start, length)
        except FileNotFoundError as error:
            raise SourceError(f"{self.where(name)}: no such file") from error
        except OSError as error:
            blame_the_file(error, self.where(name))
            raise SourceError(str(error)) from error

    def size(self, name: str) -> int:
        return self._remote.size(name)

    def open(self, name: str) -> BinaryIO:
        return self._remote.open(name)

    def table(self, name: str) -> Path | BinaryIO:
        return self._remote.open(name, buffered=False)

    def checked(self, name: str) -> str:
        """A name that came with the data, as one below the root; SourceError where it leaves it."""
        if not name or "\0" in name:
            raise SourceError(f"{name!r} is no path of an image")
        return plain(posixpath.normpath(below(self.root, name.removeprefix(f"{self.root}/"))))

    def entries(self, folder: str) -> list[Entry]:
        """What lies right in a folder, by name; OSError where it cannot be listed."""
        listed = self._remote.list(folder)
        return [Entry(name.removeprefix(f"{folder}/"), kind == "directory", False) for name, kind in listed.items()]


Place = Near | Far


def below(root: str, name: str) -> str:
    """`name`; SourceError where it is spelled to leave the root, or is the reason why there is no file."""
    if name.startswith("?"):
        raise SourceError(name[1:])
    top = posixpath.normpath(posixpath.join("/", root))
    if not name or "\0" in name or not Path(posixpath.normpath(posixpath.join(top, name))).is_relative_to(top):
        raise SourceError(f"{name!r} leaves {root}; refused")
    return name


def unusable(reason: str) -> str:
    """The location of an image that cannot be: reading it gives the reason, and the failure ledger keeps it."""
    return f"?{printable(reason)}"


def plain(name: str) -> str:
    """A name that is no reason."""
    return f"./{name}" if name.startswith("?") else name


def printable(name: str) -> str:
    """The name as text; bytes that are not UTF-8 are written as escapes, so that every key can be stored."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
