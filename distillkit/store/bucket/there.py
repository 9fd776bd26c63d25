"""What lies at the URL of a store just now, whatever of it is here."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.store.format.manifest import FILE_NAME
from distillkit.system.remote import Remote


def listed(remote: Remote) -> dict[str, int]:
    """Bytes of each file; StoreError where it cannot be listed."""
    try:
        return remote.sizes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{remote.url}: cannot be listed ({error}); mend its address, or the access to it") from error


def manifest_at(remote: Remote, name: str) -> bytes:
    """A manifest as it is there; StoreError where there is none, or it cannot be fetched."""
    try:
        return remote.read(name)
    except FileNotFoundError as error:
        raise StoreError(f"{remote.url}: no complete feature store; extract it, or finish its extraction") from error
    except OSError as error:
        raise StoreError(str(error)) from error


def refuse_another(remote: Remote, here: Path) -> None:
    """StoreError where another store lies there by now than the one whose manifest is in the folder `here`: what it
    has is not damaged, but no part of this one.
    """
    held = here / FILE_NAME
    with suppress(OSError):
        if held.is_file() and remote.read(FILE_NAME) != held.read_bytes():
            raise StoreError(
                f"{remote.url}: another store took its place since it was opened (it was made again, or grew); run the "
                "same command again"
            )
