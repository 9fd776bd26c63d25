"""What a manifest says of a corpus that somebody else hands out, and who says so."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from distillkit.recipe.schema import Strict


class Told(Strict):
    """A fact with its `source`. `confirmed = false`: so it is said there or in the paper, but it was not read by us."""

    source: str
    confirmed: bool = True

    @property
    def by(self) -> str:
        return f"({self.source})" if self.confirmed else f"(not confirmed; see {self.source})"


class Count(Told):
    """How many of something a corpus has."""

    what: str
    value: int


class Metric(Told):
    """What a paper measures on it: `name`, and which of our numbers that is, as "zero_shot: top-1"."""

    name: str
    ours: str


class Prompts(Told):
    """Where class names and templates are: files of the corpus, or templates as they are."""

    names: str
    templates: str | list[str]


class Restricted(Told):
    """Fewer classes than the set that it is derived from: how many, and where their list is."""

    classes: int
    of: str
    listed: str


class Archive(Told):
    """A file as its makers hand it out."""

    name: str
    md5: str


class Part(Strict):
    """A folder, table or set of tars that one source reads; `{root}` stands for where the corpus is."""

    name: str
    source: dict[str, Any]
    layout: str
    count: int | None = None


class Facts(Strict):
    """A manifest. `next`: how to get it. `recipes`: of ours that evaluate on it."""

    title: str
    url: str
    licence: str
    licence_url: str
    keys: str
    papers: list[str]
    next: str
    counts: list[Count] = Field(default_factory=list)
    files: list[Archive] = Field(default_factory=list)
    parts: list[Part]
    metrics: list[Metric] = Field(default_factory=list)
    prompts: Prompts | None = None
    restricted: Restricted | None = None
    recipes: list[str] = Field(default_factory=list)

    @property
    def told(self) -> list[Told]:
        """Every fact that names its source."""
        single = [one for one in (self.prompts, self.restricted) if one is not None]
        return [*self.counts, *self.files, *self.metrics, *single]

    def lines(self) -> list[str]:
        """The facts, a line each."""
        found = [
            f"from     {self.url}",
            f"licence  {self.licence} ({self.licence_url})",
            f"keys     {self.keys}",
            f"papers   {', '.join(self.papers)}",
        ]
        found += [f"{count.value:,} {count.what} {count.by}" for count in self.counts]
        found += [f"{file.name}: md5 {file.md5} {file.by}" for file in self.files]
        found += [f"metric   {one.name}, here {one.ours} {one.by}" for one in self.metrics]
        if self.prompts is not None:
            said = self.prompts.templates
            templates = said if isinstance(said, str) else ", ".join(map(repr, said))
            found.append(f"prompts  names in {self.prompts.names}, templates {templates} {self.prompts.by}")
        if (one := self.restricted) is not None:
            found.append(f"classes  {one.classes:,} of those of {one.of}, listed in {one.listed} {one.by}")
        return found + [f"recipe   {one}" for one in self.recipes]
