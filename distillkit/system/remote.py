"""Files on s3://, gs://, https:// and whatever else fsspec opens, with the manners of a disk.

What cannot be had is an OSError, after a lost connection only when several tries were in vain. Credentials and
endpoints come from where the provider's own tools take them (AWS_PROFILE, AWS_ENDPOINT_URL, ...), never from a recipe.
"""

from __future__ import annotations

import errno
import inspect
import io
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from distillkit.errors import MissingExtra
from distillkit.hidden import public
from distillkit.system.addresses import refuse_secrets
from distillkit.system.atomic import atomic_file
from distillkit.system.refusals import NothingThere, NotWritable, as_of_a_disk, code_of, cure_of, is_final

# What must be installed, by protocol; fsspec itself comes with torch.
_EXTRAS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
    "http": ("aiohttp", "https"),
    "https": ("aiohttp", "https"),
}
# Seconds between tries; the libraries below have tried again at once before they give up.
_WAITS = (0.5, 2.0, 8.0)
_SILENT = 10.0  # seconds without an answer, after which each try in vain is told
# A request costs tens of milliseconds, in which as many megabytes could have come.
_BLOCK = 4 * 2**20
_DEEPEST = 32
_OF_A_BUCKET = (None, "NoSuchBucket", "404")  # gs:// has no codes, and a HEAD tells a number alone
T = TypeVar("T")


def is_remote(place: str | Path) -> bool:
    """Whether a place of a recipe is a URL of another machine."""
    return isinstance(place, str) and "://" in place and not place.startswith("file://")


def local_path(place: str) -> Path:
    """A path on this machine, which may be written as file:///a/path."""
    return Path(url2pathname(urlsplit(place).path) if place.startswith("file://") else place).absolute()


class Remote:
    """The files below a URL, by names like "train/00000.tar". Safe in threads and after fork.

    Only the URL is pickled. SecretGiven for one with a password or a signature in it.
    """

    def __init__(self, url: str):
        refuse_secrets(url)  # it will be told, and recorded
        self.url = url.rstrip("/")
        self.protocol = self.url.partition("://")[0]
        self._opened: tuple[int, Any, str] | None = None

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (self.url,)

    def where(self, name: str) -> str:
        """A file's URL, for people."""
        return f"{self.url}/{name}" if name else self.url

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file from `start` on, at most `length`; fewer where it ends before."""
        end = None if length is None else start + length
        try:
            found = self._retried(name, lambda fs, path: fs.cat_file(path, start=start, end=end))
        except NothingThere:
            return b""
        if length is not None and len(found) > length:
            raise OSError(f"{self.where(name)}: the server sends no parts of files (HTTP ranges); download it first")
        return bytes(found)

    def size(self, name: str) -> int:
        """Bytes of a file; FileNotFoundError where there is none."""
        found = self._retried(name, lambda fs, path: fs.info(path))
        if found["type"] != "file" or found["size"] is None:
            raise OSError(f"{self.where(name)}: no file whose size the server tells; download it first")
        return int(found["size"])

    def open(self, name: str, buffered: bool = True) -> BinaryIO:
        """A file to read and seek in. Buffered for reading on; unbuffered where each read is of its own place."""
        raw = _Raw(self, name)
        return cast(BinaryIO, io.BufferedReader(raw, _BLOCK) if buffered else raw)

    def list(self, folder: str = "") -> dict[str, str]:
        """What lies right in a folder, by name, "file" or "directory", sorted."""
        listed = self._retried(folder, lambda fs, path: fs.ls(path, detail=True))
        entries = {self._name(entry["name"]): entry["type"] for entry in listed}
        # A web page may link to anywhere, and some stores list a folder in itself.
        inside = f"{folder}/" if folder else ""
        return {name: entries[name] for name in sorted(entries) if name.startswith(inside) and name not in ("", folder)}

    def walk(self, folder: str = "") -> Iterator[str]:
        """The name of every file below a folder: those in it first, then its folders, in order of their names."""
        folders = [folder]
        while folders:
            here = folders.pop()
            if here.count("/") == _DEEPEST:
                raise OSError(f"{self.where(here)}: a folder {_DEEPEST} deep; does this server list itself?")
            entries = self.list(here)
            yield from (name for name, kind in entries.items() if kind == "file")
            folders += [name for name in reversed(entries) if entries[name] == "directory"]

    def sizes(self) -> dict[str, int]:
        """Every file below the URL and its bytes; empty where there is nothing."""
        found = self._retried("", lambda fs, path: fs.find(path, detail=True))
        return {self._name(name): int(entry["size"] or 0) for name, entry in found.items()}

    def upload(self, file: Path, name: str) -> None:
        """Put a whole file there; it is seen when it is complete."""
        self._put(file, name, lambda fs, path: fs.put_file(str(file), path))

    def create(self, file: Path, name: str) -> bool:
        """Put a whole file there if none is; False where one is, which after a lost connection may be this one."""

        def put(fs: Any, path: str) -> bool:
            if "mode" in inspect.signature(fs.put_file).parameters:
                try:
                    fs.put_file(str(file), path, mode="create")
                    return True
                except FileExistsError:
                    return False
                except Exception as error:
                    if "NotImplemented" not in f"{error} {error.__cause__}":
                        raise  # else a server that knows no conditions
            if absent := not fs.exists(path):
                fs.put_file(str(file), path)
            return absent

        return self._put(file, name, put)

    def remove(self, name: str) -> None:
        self._retried(name, lambda fs, path: fs.rm_file(path))

    def download(self, name: str, file: Path) -> None:
        """Fetch a file to `file`, which is complete or not there."""
        with atomic_file(file) as whole:
            self.copy(name, whole)

    def copy(self, name: str, file: BinaryIO) -> None:
        """Fetch a file into an open one, from its start on."""

        def fetch(fs: Any, path: str) -> None:
            file.seek(0)
            with fs.open(path, "rb", block_size=4 * _BLOCK) as remote:
                while block := remote.read(_BLOCK):
                    file.write(block)
            file.truncate()

        self._retried(name, fetch)

    def _filesystem(self) -> tuple[Any, str]:
        """fsspec's file system and what it calls the URL. One for each process: none of them survives a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            import fsspec

            try:
                fs, base = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
            except ImportError as error:
                package, extra = _EXTRAS.get(self.protocol, (f"what fsspec needs for {self.protocol}://", "s3"))
                raise MissingExtra(package, extra) from error
            except ValueError as error:
                raise OSError(f"{self.url}: {public(str(error))}; write s3://, gs:// or https://") from error
            self._opened = os.getpid(), fs, base.rstrip("/")
        return self._opened[1], self._opened[2]

    @property
    def _quoted(self) -> bool:
        return self.protocol in ("http", "https")

    def _name(self, path: str) -> str:
        """The name below the URL of what fsspec calls `path`; empty where it is not below."""
        _, base = self._filesystem()
        name = path.removeprefix(base).strip("/") if path.startswith(f"{base}/") else ""
        name = unquote(name) if self._quoted else name
        return "" if {"", ".", ".."} & set(name.split("/")) else name

    def _put(self, file: Path, name: str, action: Callable[[Any, str], T]) -> T:
        """NotWritable where it is in vain to put anything there again; FileNotFoundError where `file` is gone."""
        try:
            return self._retried(name, action)
        except FileNotFoundError as error:
            if not file.is_file():  # which was to be put there
                raise FileNotFoundError(errno.ENOENT, "no such file", str(file)) from error
            told, cure = "there is no such bucket", "make it, or name another place"
            if (code := code_of(error)) not in _OF_A_BUCKET:
                told, cure = f"the server answers {code}", cure_of(error)
            raise NotWritable(f"{self.where(name)}: cannot be written, {told}; {cure}") from error
        except OSError as error:
            if is_final(error.__cause__):
                raise NotWritable(f"{error}; {cure_of(error.__cause__)}") from error
            raise

    def _retried(self, name: str, action: Callable[[Any, str], T]) -> T:
        fs, base = self._filesystem()
        path = f"{base}/{quote(name) if self._quoted else name}" if name else base
        began = time.monotonic()
        for wait in (*_WAITS, None):
            try:
                return action(fs, path)
            except Exception as error:
                # Each protocol has its own library, and each library its own errors: they have no other name in common.
                if wait is None or is_final(error):
                    raise as_of_a_disk(error, self.where(name)) from error
                if time.monotonic() - began > _SILENT:
                    logging.getLogger(__name__).warning("%s; trying again", as_of_a_disk(error, self.where(name)))
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")


class _Raw(io.RawIOBase):
    """A remote file whose every read is one request at its place, so a lost connection loses one read."""

    def __init__(self, remote: Remote, name: str):
        self._remote, self._name, self._at, self._size = remote, name, 0, remote.size(name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        found = self._remote.read(self._name, self._at, wanted) if wanted else b""
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
