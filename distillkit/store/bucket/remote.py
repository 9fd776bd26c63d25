"""Stores behind a URL: the same files as on a disk, below a prefix of a bucket.

A reader works on a mirror in the cache folder, named after the manifest's digest: it holds the manifest, and of the
other files those that were needed, each checked when it is fetched, as many as the cache may have. A writer works in a
folder of its own, where it keeps no more than the shard in hand: a shard's files go up first, then its commit, the
manifest last. So in the bucket, too, a shard exists when its commit does, and any machine continues what another began.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar, cast

from distillkit.errors import NoHome, StoreError
from distillkit.store.bucket.cache import arriving
from distillkit.store.bucket.cache import folder as cache_folder
from distillkit.store.bucket.there import listed, manifest_at, refuse_another
from distillkit.store.format.classes import FILE_NAME as CLASSES
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.manifest import FILE_NAME, File, Manifest, file_digest
from distillkit.system.addresses import refuse_secrets
from distillkit.system.atomic import atomic_file, make_folder, parsed_json, write_json
from distillkit.system.locks import locked
from distillkit.system.paths import here
from distillkit.system.refusals import NotWritable
from distillkit.system.remote import Remote, is_remote, local_path
from distillkit.system.wording import as_word

Found = TypeVar("Found")

_NOTE = "remote.json"
PLAN = "plan.json"
_STEPS = "steps.json"  # see writing/steps.py
_ADDED = "added/"
_AT_ONCE = 8  # transfers: one rarely fills a line


def local(place: str | Path) -> Path:
    """Where the store at a path or URL can be opened; of a URL, a mirror of what the bucket holds now."""
    if isinstance(place, Path) or "://" not in place:
        return here(place)
    if not is_remote(place):
        return local_path(place)
    remote = Remote(place)
    content = manifest_at(remote, FILE_NAME)
    folder = cache_folder() / f"{remote.url.rpartition('/')[2]}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not (folder / FILE_NAME).is_file():
        write_json(folder / _NOTE, {"url": remote.url, "writes": False})
        _mirror(remote, FILE_NAME, content, folder)
    there = listed(remote)
    for name in (name for name in there if name.startswith(_ADDED) and name.endswith(f"/{FILE_NAME}")):
        content, held = manifest_at(remote, name), folder / name
        if not held.is_file() or held.read_bytes() != content:
            shutil.rmtree(held.parent, ignore_errors=True)
            _mirror(remote, name, content, folder)
    for name in (name for name in there if name.rpartition("/")[2] in (CLASSES, LOG)):
        remote.download(name, folder / name)
    return folder


def _mirror(remote: Remote, name: str, content: bytes, folder: Path) -> None:
    """A manifest, and before it the small files without which no row of its store means anything.

    Only of one that is a manifest: names of files in what is none may lead anywhere.
    """
    inside = name.removesuffix(FILE_NAME)
    again = f"distillkit extract-teacher RECIPE, which writes {remote.url}"
    for needed in Manifest.of(content, remote.where(name), lambda: again).files:
        remote.download(f"{inside}{needed}", folder / f"{inside}{needed}")
    with atomic_file(folder / name) as file:
        file.write(content)


def workplace(place: str) -> Path:
    """Where a writer of the stores below a path or URL works: there; or in a folder from which all goes to the URL."""
    if not is_remote(place):
        return local_path(place) if "://" in place else Path(place)
    refuse_secrets(place)
    url = place.rstrip("/")
    folder = cache_folder() / f"writing-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    if not (folder / _NOTE).is_file():
        write_json(folder / _NOTE, {"url": url, "writes": True})
    return folder


def shown(path: Path) -> str:
    """The store at `path` as people know it: by its URL, if it has one."""
    there = origin(path)
    return str(path) if there is None else there.url


def origin(path: Path) -> Origin | None:
    """Where the files of the store at `path` really are; None where they are at `path`. StoreError where the note that
    tells it is damaged.
    """
    try:
        inside = path.is_relative_to(cache_folder())
    except NoHome:
        return None  # without a cache nothing is in it
    if not inside:
        return None
    noted = next((place for place in (path, *path.parents) if (place / _NOTE).is_file()), None)
    if noted is None:
        return None
    name = path.relative_to(noted).as_posix()
    try:
        note = parsed_json((noted / _NOTE).read_bytes())
        return Origin(path, note["url"] if name == "." else f"{note['url']}/{name}", note["writes"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{noted / _NOTE}: is damaged ({error}); delete {noted}, it is made again") from error


class Origin:
    """The store at a URL, and the folder `path` that stands for it on this machine."""

    def __init__(self, path: Path, url: str, writes: bool):
        self.path, self.url, self.writes = path, url, writes
        self._remote = Remote(url)

    def fetch(self, wanted: Mapping[str, File]) -> None:
        """Bring files here that are not; StoreError for one that is not as it must be."""
        absent = [name for name in wanted if not (self.path / name).is_file()]
        if absent:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda name: self._fetch(name, wanted[name]), absent))

    def _fetch(self, name: str, want: File) -> None:
        path, where = self.path / name, f"{self.url}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            if path.is_file():
                return  # another process was faster
            try:
                with arriving(path, want.bytes) as file:
                    self._remote.copy(name, file)
                    file.flush()
                    if file_digest(Path(file.name)) != want:
                        refuse_another(self._remote, self.path)
                        raise StoreError(f"{where} is damaged; run: distillkit store verify {as_word(self.url)}")
            except OSError as error:
                if isinstance(error, FileNotFoundError):
                    refuse_another(self._remote, self.path)
                raise StoreError(f"{where}: cannot be fetched ({error}); run the same command again") from error

    def open(self, name: str) -> BufferedReader:
        """A file of the bucket as it is there, whatever is here; OSError where there is none."""
        return cast(BufferedReader, self._remote.open(name))

    def pull(self) -> dict[str, int]:
        """Make the small files here that tell what is done those of the bucket, and list it: bytes of each file."""
        if not self.writes:
            raise StoreError(f"{self.url}: stores behind a URL are written by extract-teacher alone; work on a copy")
        there = listed(self._remote)
        small = {name for name in there if _tells(name)}
        here = {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()}
        doubted = {name for name in here - small if _tells(name)} | {PLAN, FILE_NAME}
        self.renew((small - here) | doubted)
        return there

    def renew(self, names: Iterable[str]) -> None:
        """Make these small files here what they are there."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.copy, names))

    def copy(self, name: str) -> None:
        """Make a small file here what it is there. A listing may be behind, so what it lacks is asked for by name."""
        path, content = self.path / name, self.content(name)
        if content is None:
            path.unlink(missing_ok=True)  # it was removed there, or never came there
            return
        if not path.is_file() or path.read_bytes() != content:
            make_folder(self.path)
            with atomic_file(path, within=self.path) as file:
                file.write(content)

    def size(self, name: str) -> int | None:
        """Bytes of a file of the bucket, asked for by its name; None where there is none."""
        return self._found(self._remote.size, name)

    def create(self, file: Path, name: str) -> bool:
        """Bring up a file if none of that name is there; whether it was so."""
        try:
            return self._remote.create(file, name)
        except OSError as error:
            raise _not_put(error, "nothing is committed yet") from error

    def content(self, name: str) -> bytes | None:
        """A small file of the bucket; None where there is none."""
        return self._found(self._remote.read, name)

    def _found(self, ask: Callable[[str], Found], name: str) -> Found | None:
        try:
            return ask(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.url}/{name}: cannot be fetched ({error}); run the same command again") from error

    def push(self, names: Iterable[str]) -> None:
        """Bring up files that are here, in any order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda name: self._upload(self.path / name, name), names))

    def prove(self, name: str, value: Any) -> None:
        """Write what proves that other files are whole: first there, and when it is there, here."""
        staged = self.path / name.replace("/", "-")
        write_json(staged, value)
        self._upload(staged, name)
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        staged.rename(self.path / name)

    def _upload(self, path: Path, name: str) -> None:
        try:
            self._remote.upload(path, name)
        except OSError as error:
            raise _not_put(error, "what is committed is kept") from error

    def remove(self, name: str) -> None:
        """Take a file out of the bucket, if it is there."""
        try:
            self._remote.remove(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(str(error)) from error


def _not_put(error: OSError, kept: str) -> StoreError:
    return StoreError(str(error) if isinstance(error, NotWritable) else f"{error}; {kept}, run the same command again")


def _tells(name: str) -> bool:
    """Whether a file of a store tells what it is and what of it is done."""
    return name in (PLAN, FILE_NAME, _STEPS) or name.startswith("commits/") or ".steps/" in name
