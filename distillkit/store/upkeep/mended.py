"""How to go on with a store of which samples failed, once their files are mended."""

from __future__ import annotations

from distillkit.store.bucket.remote import origin
from distillkit.store.format.maker import how_again, how_to_retry
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.additions import FOLDER, additions
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import again


def once_mended(store: FeatureStore) -> str | None:
    """The command that tries the failed samples again, and those that make anew what was added to the store and the
    view: of an addition and of a view, the store that they are of is tried. None where no command does it here: in a
    bucket, and of imported and merged stores.
    """
    home = store.base.path
    home = home.parent.parent if home.parent.name == FOLDER else home
    if origin(home) is not None or not (manifest := Manifest.read(home)).skipped:
        return None
    command = how_to_retry(home)
    if command is None:
        return None
    anew = [how_again(home / FOLDER / name) for name in additions(home, manifest)]
    if store.selection is not None:
        anew.append(again(store.path, home, store.selection.digest))
    return "; then ".join([command, *dict.fromkeys(anew)])
