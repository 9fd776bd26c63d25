"""Where weights come from: how they are named, and how they are fetched. A hub that cannot be reached says so at once.

Without a network the hub's client tries for most of a minute, file by file. We look first whether anybody answers; if
not, the client works from its cache alone, as it does under HF_HUB_OFFLINE=1.
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError

from distillkit.errors import TeacherError
from distillkit.system.paths import expand, meant, or_else

# What a name of both libraries begins with where it means a folder or a repository of the hub, configuration and all.
SCHEMES = ("local-dir:", "hf-hub:")

_PORTS = {"http": 80, "https": 443}
PATIENCE = 3.0  # seconds for all addresses of a hub and its name; one that takes longer would not send gigabytes
_MOST = 32  # addresses of a name that are called
KEPT = 20.0  # seconds for which a process knows whether a hub answers: a command asks more than once, a notebook later
_known: dict[tuple[str, int], tuple[float, bool]] = {}  # by host and port: when it was asked, and whether it answered


def expanded(name: str) -> str:
    """The name with ~ and variables replaced in what follows its scheme, if it has one."""
    scheme = next((scheme for scheme in SCHEMES if name.startswith(scheme)), "")
    return scheme + expand(name.removeprefix(scheme))


def refuse_a_path(name: str) -> None:
    """TeacherError for a folder or file in place of a model's name, of which only the beginning would be told."""
    path = Path(expand(name))
    if name and path.is_dir():
        raise TeacherError(f"{name}: that is a folder, and no model has that name; write local-dir:{name}")
    if path.is_file():
        raise TeacherError(
            f"{name}: that is a file, and no model has that name; write model = NAME of its architecture and weights = "
            "that file, or local-dir:FOLDER"
        )
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        told = f"{name}: no such folder{meant(path)}"
        raise TeacherError(or_else(told, "write local-dir:FOLDER of one that has the model"))


@contextmanager
def hub(needed: bool = True) -> Iterator[None]:
    """Within it, the hub's client asks its cache only, unless the hub is `needed` and answers."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not needed or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def is_all_in_a_folder(name: str) -> bool:
    """Whether a name means a folder that says of no part of it that the hub has it: then nobody else is asked."""
    scheme, _, folder = name.partition(":")
    if f"{scheme}:" != SCHEMES[0]:
        return False
    try:
        return not any('"hf_' in file.read_text("utf-8") for file in Path(folder).glob("*config.json"))
    except (OSError, ValueError):
        return True  # which is told by whoever opens it


def _answers(endpoint: str) -> bool:
    """Whether somebody takes calls at `endpoint`. Behind a proxy only the client itself can tell: then yes."""
    try:
        place = urlsplit(endpoint)
        port = place.port or _PORTS.get(place.scheme)
        if place.scheme not in _PORTS or not place.hostname:
            return False
        if getproxies().keys() & {place.scheme, "all"}:
            return True
    except ValueError:  # the address is none: its port, its name
        return False
    when, answers = _known.get(asked := (place.hostname, port or 0), (-math.inf, False))
    if time.monotonic() - when > KEPT:
        answers = _takes_a_call(*asked)
        _known[asked] = time.monotonic(), answers
    return answers


def _takes_a_call(host: str, port: int) -> bool:
    """Whether any address of a host takes a call within PATIENCE.

    Looking up a name cannot be interrupted, so it is left to a thread that nobody waits for longer. All addresses are
    called at once: where a network drops what is sent to one kind of them, the other kind may answer.
    """
    taken, over = Event(), Event()

    def look_up() -> None:
        try:
            found = {(kind, at) for kind, *_, at in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
            callers = [Thread(target=call, args=one, daemon=True) for one in list(found)[:_MOST]]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(PATIENCE)
        except (OSError, ValueError, RuntimeError):  # no such name, or none that can be; no thread to be had
            pass
        finally:
            over.set()

    def call(kind: socket.AddressFamily, at: Any) -> None:
        with suppress(OSError), socket.socket(kind, socket.SOCK_STREAM) as line:
            line.settimeout(PATIENCE)
            line.connect(at)
            taken.set()
            over.set()

    Thread(target=look_up, daemon=True).start()
    over.wait(PATIENCE)
    return taken.is_set()


def _no_address(endpoint: str) -> bool:
    """Whether `endpoint` cannot be the address of a hub."""
    try:
        place = urlsplit(endpoint)
        return place.scheme not in _PORTS or not place.hostname or place.port == 0
    except ValueError:
        return True


def how_to_fetch(repository: str, error: BaseException | None) -> str:
    """What to run and to write where a repository of the hub could not be had because of `error`."""
    if _no_address(constants.ENDPOINT):
        return f"set HF_ENDPOINT to the hub's address (it is {constants.ENDPOINT!r}), such as https://huggingface.co"
    gate = ""
    while error is not None and not gate:
        if isinstance(error, GatedRepoError):
            gate = f"accept its terms at https://huggingface.co/{repository}, run: hf auth login, then "
        error = error.__cause__ or error.__context__
    return f'{gate}run: hf download {repository} --local-dir FOLDER, and set model = "local-dir:FOLDER"'
