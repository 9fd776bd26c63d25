"""Class prompts from the files that OOD distillation released: `label2text.txt`, and descriptions in `chatgpt.txt`.

    label2text.txt    n01440764 0 tench          folder, number and name of a class; _ in a name stands for a blank
    chatgpt.txt       A tench has a long body    line i describes the class of line i of label2text.txt

https://arxiv.org/abs/2307.03135. A text is "a photo of {name}", with descriptions "a photo of {name} . {description}".
"""

from __future__ import annotations

from collections.abc import Iterator

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._lines import numbered_lines
from distillkit.sources._names import doubled, same_form
from distillkit.sources._places import Place, file_at, folder_at
from distillkit.sources._templates import Templates, templates_called
from distillkit.sources._walk import classes
from distillkit.system.wording import count as counted
from distillkit.types import Sample


class Label2text:
    """`file`: label2text.txt, with a class on each line, such as `n01440764 0 tench`. A class's label is the number of
    its line, from 0; a text's key is `<folder>/<template>`. `descriptions`: chatgpt.txt, whose line i describes the
    class of line i.

    `folder`: the folder of the images. Then only classes that have a folder of images there count, numbered in the
    order of the folders' names, as the source folder does; all classes, if not given. `templates`: the sentences that
    class names are put into, as of the source class_prompts; "a photo of {}", if not given.
    """

    root = None

    def __init__(
        self,
        *,
        file: str,
        descriptions: str | None = None,
        folder: str | None = None,
        templates: Templates | None = None,
    ):
        self._file = file_at(file, "file of class names")
        self._descriptions = file_at(descriptions, "file of descriptions") if descriptions else None
        self._folder = folder_at(folder) if folder else None
        self.templates: Templates = templates or ["a photo of {}"]
        self.account = Account()

    def __iter__(self) -> Iterator[Sample]:
        self.account = Account()
        templates = templates_called(self.templates)
        said, chosen = self._described(), self._chosen()
        note = doubled(f"{name} {said.get(same_form(folder), '')}".strip() for folder, name in chosen)
        self.account.notes += [note] if note else []
        for label, (folder, name) in enumerate(chosen):
            more = f" . {said[same_form(folder)]}" if said else ""
            for number, template in enumerate(templates):
                yield Sample(f"{folder}/{number}", text=template(name) + more, label=label)

    def _classes(self) -> list[tuple[str, str]]:
        """Folder and name of every class, as they are listed; SourceError for a folder that is on two lines."""
        found: list[tuple[str, str]] = []
        lines: dict[str, int] = {}
        for number, line in _lines(*self._file):
            parts = line.split(" ", 2)
            if len(parts) != 3 or not all(parts):
                raise SourceError(f"{_where(*self._file)}:{number}: {line!r:.60} is not 'folder number name'")
            before = lines.setdefault(same_form(parts[0]), number)
            if before != number:
                raise SourceError(
                    f"{_where(*self._file)}:{number}: the folder {parts[0]!r:.60} is on line {before} as well; "
                    "which of them its images are, and the numbers of all classes behind it, would be left to chance: "
                    "keep one line"
                )
            found.append((parts[0], parts[2].replace("_", " ").strip()))
        return found

    def _chosen(self) -> list[tuple[str, str]]:
        if self._folder is None:
            return self._classes()
        names, folders = {same_form(folder): name for folder, name in self._classes()}, classes(self._folder)
        unknown = next((name for name in folders if same_form(name) not in names), None)
        if unknown is not None:
            raise SourceError(f"{_where(*self._file)}: has no class of the images' folder {unknown!r}; add its line")
        once = {same_form(name): name for name in reversed(folders)}  # as the source `folder` counts them
        return [(name, names[same_form(name)]) for name in folders if once[same_form(name)] == name]

    def _described(self) -> dict[str, str]:
        """What is said of the class of each folder."""
        if self._descriptions is None:
            return {}
        lines, classes = [line for _, line in _lines(*self._descriptions)], self._classes()
        if len(lines) != len(classes):
            raise SourceError(
                f"{_where(*self._descriptions)}: {counted(len(lines), 'description')} for the "
                f"{counted(len(classes), 'class', 'classes')} of "
                f"{_where(*self._file)}; line i of one belongs to line i of the other"
            )
        return {same_form(folder): said for (folder, _), said in zip(classes, lines, strict=True)}


def _lines(place: Place, name: str) -> list[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    return [(number, line.strip()) for number, line in numbered_lines(place, name) if line.strip()]


def _where(place: Place, name: str) -> str:
    return place.where(name)
