"""The stores of a run: which they are, and what each holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distillkit.identity import named_stores
from distillkit.recipe import Component, TrainRecipe
from distillkit.report.costs import Pass
from distillkit.report.words import count, duration, size
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.additions import FOLDER
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import Selection, store_behind
from distillkit.system.paths import expand
from distillkit.system.wording import count as counted

_DASH = "–"


@dataclass(frozen=True)
class StoreFacts:
    """One store, as printed. `view`: of which store it names how many rows, empty where it is none; a view has no files
    and no pass of its own, so that what its store holds and cost is told of that store alone. `then`: how it is another
    one than at training.
    """

    path: str
    view: str
    rows: str
    failed: str
    shards: str
    bytes: str
    bytes_per_row: str
    fields: list[str]
    digest: str
    teacher_sha256: str
    seconds: str
    then: str = ""


def training_stores(run: RunFolder) -> dict[str, FeatureStore]:
    """What the student was trained on, by the recipe's name for it ("images", "texts"; of a mix "images.1", too)."""
    return {name: FeatureStore(path) for name, path in places_of_stores(run).items()}


def places_of_stores(run: RunFolder) -> dict[str, str]:
    """Where each store lies that the student was trained on. One that is not there any more was moved: then where the
    recipe says, as it was given last. What it holds of others, neighbours and a further teacher, moved with it.
    """
    then, named = run.facts()["stores"], named_stores(run.recipe().model_dump(mode="json"))
    gone = {name: place for name, place in then.items() if not Path(place).exists()}
    given = {name: holder[key] for name, (holder, key) in named.items() if name in gone and holder.get(key)}
    moved = {gone[name]: expand(place) for name, place in given.items()}
    return {name: moved.get(place, place) for name, place in then.items()}


def mined_for(recipe: TrainRecipe, trained: Mapping[str, FeatureStore]) -> list[Path]:
    """Where the neighbours lie that training drew texts by; none where it drew them otherwise."""
    data = recipe.data
    return [] if data.sampling == "uniform" else [store_behind(trained["images"].path) / FOLDER / data.neighbours]


def said_at(store: FeatureStore, teacher: str | None) -> FeatureStore:
    """Where what that teacher of the recipe said of a store lies: there, or in an addition to it."""
    names = [name for name, volume in store.added.items() if teacher in volume.manifest.teachers]
    return FeatureStore(store.added[names[0]].path) if names else store


def evaluation_stores(recipe: TrainRecipe, asked: Sequence[Component] = ()) -> list[FeatureStore]:
    """Every store that an evaluation names, while a student learned or afterwards, each once. `asked`: what it was
    measured by, which another file may have asked for.
    """
    evals = [*recipe.evals, *([recipe.validation.eval] if recipe.validation else []), *asked]
    values = [value for component in evals for value in component.knobs.values() if isinstance(value, str)]
    paths = dict.fromkeys(expand(value) for value in values)
    return [FeatureStore(path) for path in paths if _opens(Path(path))]


def _opens(path: Path) -> bool:
    """Whether a store lies there, or a view of one that still is the one it was made of."""
    store = store_behind(path)
    return (store / FILE_NAME).is_file() and not (store != path and Selection(path).refused())


def as_view(store: FeatureStore) -> str:
    """In words, what a view is; empty of a store."""
    if store.selection is None:
        return ""
    return (
        f"a view of {count(store.selection.count)} of the {counted(store.manifest.rows, 'row')} of "
        f"{store_behind(store.path)}"
    )


def with_bases(stores: Sequence[FeatureStore]) -> list[FeatureStore]:
    """These and the stores that the views among them are of, each once and before its views."""
    every: list[FeatureStore] = []
    for store in stores:
        every += [FeatureStore(store_behind(store.path))] if store.selection else []
        every.append(store)
    return list({store.path.resolve(): store for store in every}.values())


def store_facts(store: FeatureStore, teacher_pass: Pass | None, then: str = "") -> StoreFacts:
    """What its manifest says, and how long it took to make."""
    manifest, view = store.manifest, as_view(store)
    held = sum(file.bytes for shard in manifest.shards for file in shard.files.values())
    fields = [f"{name} {field.dtype}[{', '.join(map(str, field.shape))}]" for name, field in manifest.fields.items()]
    seconds = duration(teacher_pass.seconds) if teacher_pass else "not recorded"
    return StoreFacts(
        path=str(store.path),
        view=view,
        rows=count(store.selection.count if store.selection else manifest.rows),
        failed=_DASH if view else count(manifest.skipped),
        shards=_DASH if view else count(len(manifest.shards)),
        bytes=_DASH if view else size(held),
        bytes_per_row=_DASH if view else size(held / manifest.rows),
        fields=fields,
        digest=store.digest,
        teacher_sha256=", ".join(
            teacher.get("weights_sha256", "not recorded") for teacher in manifest.teachers.values()
        ),
        seconds=_DASH if view else seconds,
        then=then,
    )
