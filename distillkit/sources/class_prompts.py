"""Every class name in every prompt template: the texts behind zero-shot classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._class_names import listed_names
from distillkit.sources._lines import numbered_lines
from distillkit.sources._names import doubled
from distillkit.sources._places import Place, file_at
from distillkit.sources._templates import Templates, templates_called
from distillkit.types import Sample

_IMAGENET = "openai_imagenet"  # in place of a file
_TEMPLATES: Templates = "openai_imagenet"
_HERE = "\0"  # a name that nothing else is in


class ClassPrompts:
    """`file`: a file of class names, one a line, or "openai_imagenet", the 1,000 names that come with open_clip. A
    class's label is the number of its line, from 0; a text's key is `<label>/<template>`.

    `templates_file`: a file of sentences in place of the templates, one a line with {c} where the name goes, as
    clip_benchmark has them.
    """

    root = None

    def __init__(self, *, file: str, templates: Templates = _TEMPLATES, templates_file: str | None = None):
        self._listed = None if file == _IMAGENET else file_at(file, "file of class names")
        self.templates, self._templates_file = templates, None
        if templates_file is not None:
            self._templates_file = _place_of(templates_file)
        self.account = Account()

    def __iter__(self) -> Iterator[Sample]:
        self.account = Account()
        templates = templates_called(self._own_templates() or self.templates)
        names, where = self._names()
        note = doubled(names)
        self.account.notes += [note] if note else []
        for label, name in enumerate(names or [""]):
            if not name:
                raise SourceError(f"{where}:{label + 1}: an empty class name; labels are line numbers, so fill it")
            for number, template in enumerate(templates):
                yield Sample(f"{label}/{number}", text=template(name), label=label)

    @staticmethod
    def names_within(
        prompts: Iterable[tuple[str, str]], templates: Templates = _TEMPLATES, templates_file: str | None = None
    ) -> list[str | None]:
        """The class name in each prompt (key, text) that was made with these knobs; None where no such template has
        made it.
        """
        own = _templates_in(*_place_of(templates_file)) if templates_file else []
        around = [template(_HERE).partition(_HERE) for template in templates_called(own or templates)]
        return [_name_within(key, text, around) for key, text in prompts]

    def _names(self) -> tuple[list[str], str]:
        """The names, and where they are from."""
        if self._listed is None:
            import open_clip

            return list(open_clip.IMAGENET_CLASSNAMES), _IMAGENET
        return listed_names(*self._listed)

    def _own_templates(self) -> list[str]:
        """The lines of the file of templates; none without one."""
        return [] if self._templates_file is None else _templates_in(*self._templates_file)


def _name_within(key: str, text: str, around: Sequence[tuple[str, str, str]]) -> str | None:
    number = key.rpartition("/")[2]
    if not number.isdecimal() or int(number) >= len(around):
        return None
    before, _, after = around[int(number)]
    name = text.removeprefix(before).removesuffix(after)
    return name if name and f"{before}{name}{after}" == text else None


def _place_of(templates_file: str) -> tuple[Place, str]:
    return file_at(templates_file, "file of templates", knob="source.templates_file")


def _templates_in(place: Place, name: str) -> list[str]:
    lines = [(number, line.strip()) for number, line in numbered_lines(place, name)]
    found = [(number, line.replace("{c}", "{}")) for number, line in lines if line]
    for number, line in found:
        if line.count("{}") != 1:
            raise SourceError(f"{place.where(name)}:{number}: {line!r:.60} must have one {{c}}, where the name goes")
    if not found:
        raise SourceError(f"{place.where(name)}: has no templates; write one a line, with {{c}} for the name")
    return [line for _, line in found]
