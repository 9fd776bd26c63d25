"""Images below a folder, recursively; the key is the path below it, and the class the first folder of that path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distillkit.sources._account import Account
from distillkit.sources._names import same_form
from distillkit.sources._places import folder_at, plain, printable
from distillkit.sources._walk import is_image, top_folders, walk
from distillkit.system.wording import count
from distillkit.types import Sample


class Folder:
    """`root`: the folder, or its URL. `classes`: true: the first level of folders that have images are the classes,
    with labels 0, 1, ... in the order of their names. Names that differ by their Unicode form only are one class.
    `skip`: names or paths of folders to leave out, which may have `*` in them.

    Hidden files and folders are passed over, links to folders followed. The order is that of the names, whatever the
    disk's. On the web only servers that list their folders can be walked.
    """

    def __init__(self, *, root: str, classes: bool = False, skip: list[str] | None = None):
        self._place = folder_at(root)
        self.root, self.classes, self.skip = self._place.root, classes, skip or []
        self.account = Account()
        self.class_numbers: dict[str, int] = {}  # of the last pass over the samples

    def read(self, location: str) -> bytes | Path:
        """One image, or where it is: its location is the path below the root."""
        return self._place.read(location)

    def __iter__(self) -> Iterator[Sample]:
        self.account = account = Account()
        self.class_numbers = labels = dict[str, int]()
        spelt: set[str] = set()
        for name in walk(self._place, account, skip=self.skip, knob='source.skip = ["NAME"]'):
            first, inside, _ = name.partition("/")
            if not is_image(name):
                account.pass_over(name)
                continue
            # The walk meets classes in the order of their names, one after the other.
            label = labels.setdefault(same_form(first), len(labels)) if self.classes and inside else None
            if label is not None:
                spelt.add(first)
            yield Sample(printable(name), image=plain(name), label=label)
        if self.classes and (empty := set(top_folders(self._place)) - spelt):
            account.passed["folder(s) without images, hence no class"] = len(empty)
        if twice := len(spelt) - len(labels):
            account.notes.append(f"{count(twice, 'class folder')} named as another in another Unicode form: one class")
