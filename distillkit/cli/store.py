"""distillkit store: look at, check and question feature stores."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Json, Only, Overrides, Recipe, Store, called, command, say
from distillkit.cli.export import DryRun, Private, TakeAway
from distillkit.cli.info import store_info
from distillkit.system.wording import count, rows_and_failed

store = typer.Typer(help="Look at, check, merge, view and export feature stores.", no_args_is_help=True)

store.command("info")(store_info)


@store.command("verify")
def store_verify(
    path: Store,
    again: Annotated[
        int | None, typer.Option("--reforward", help="Also run the teachers again on so many rows; compare.", min=1)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="With --reforward: a recipe that says where the teachers are now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every file of a store against its checksum. Exit code 1 when one differs.

    Example: distillkit store verify stores/demo/images --reforward 512
    """
    from distillkit.store.upkeep.verify import made_again_by, verify

    problems = verify(path, say)
    for problem in problems:
        print(json.dumps({"problem": problem}) if as_json else problem)
    if problems:
        commands = " and ".join(made_again_by(path, problems))
        say(f"damaged: {len(problems)}; delete these files, which does only their shards anew, and run: {commands}")
        raise typer.Exit(1)
    print(json.dumps({"store": called(path), "problems": 0}) if as_json else f"{called(path)}: every checksum agrees")
    if again is not None:
        _reforward(path, again, recipe, as_json)


def _reforward(path: Path, count: int, recipe: Path | None, as_json: bool) -> None:
    from distillkit.engine.reforward import reforward
    from distillkit.recipe import ExtractRecipe, load
    from distillkit.store.format.maker import how_again
    from distillkit.store.reading.reader import FeatureStore

    loaded = None if recipe is None else load(recipe, kind=ExtractRecipe)
    problems: list[str] = []
    for found in reforward(FeatureStore(path), count, loaded, say):
        if isinstance(found, str):
            problems.append(found)
        else:
            print(json.dumps(found.numbers) if as_json else found.line())
            problems += found.problems
    for problem in problems:
        print(json.dumps({"problem": problem}) if as_json else problem)
    if problems:
        say(
            f"{path}: does not hold what its teachers say now; name the right teacher (--recipe), or move it away and "
            f"make it again: {how_again(path)}"
        )
        raise typer.Exit(1)


@store.command("precision")
def store_precision(
    path: Store,
    field: Annotated[list[str] | None, typer.Option(help="A field, such as image; repeat for more.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Run the teacher again in this precision: fp8, int8, bf16, fp16 or fp32.")
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="With --against: on how many rows.")] = 1024,
    as_json: Json = False,
) -> None:
    """Measure what other precisions of a store would cost. Bytes, cosine error, and neighbours kept, for each field.

    Example: distillkit store precision stores/demo/images
    """
    from distillkit.store.reading.reader import FeatureStore
    from distillkit.store.upkeep.precision import advice, choices, table

    opened = FeatureStore(path)
    if against is not None:
        from distillkit.engine.lowered import lowered

        for one in lowered(opened, against, rows, field, say):
            print(json.dumps(asdict(one)) if as_json else one.line())
        return
    for name in map(opened.field_name, field) if field else opened.feature_names:
        made, kind = choices(opened, name), opened.field(name)
        if as_json:
            for choice in made:
                print(json.dumps({"field": name} | asdict(choice)))
            continue
        print(f"{called(path)}: {name} {kind.shape}\n{table(made)}\n{advice(name, kind, made)}\n")


@store.command("failures")
def store_failures(path: Store, as_json: Json = False) -> None:
    """Print which samples failed, and why. Key, stage and error of each that lacks features, text or label.

    Example: distillkit store failures stores/demo/images
    """
    from distillkit.store.reading.reader import FeatureStore
    from distillkit.store.upkeep.mended import once_mended

    store = FeatureStore(path)
    failures = [*store.failures(), *store.losses()]
    if not failures:
        say(f"{path}: none")
    elif not as_json:
        print("key\tstage\terror")
    for failure in failures:
        print(json.dumps(failure) if as_json else f"{failure['key']}\t{failure['stage']}\t{failure['error']}")
    if store.failures() and (cure := once_mended(store)):
        say(f"{path}: once the files of these are mended: {cure}")


@store.command("merge")
def store_merge(
    out: Annotated[Path, typer.Argument(help="The store to make.", show_default=False)],
    parts: Annotated[list[str], typer.Argument(help="Parts of one extraction, or stores.", show_default=False)],
    fields: Annotated[str | None, typer.Option(help="Only these, as image,text; all stores must have them.")] = None,
) -> None:
    """Merge stores into one. Parts of one extraction (--shard), or stores of several corpora by the same teacher.

    Example: distillkit store merge stores/images part1/images part2/images
    """
    from distillkit.stores import merge

    manifest = merge(out, parts, fields=fields.split(",") if fields else None, say=say)
    print(out)
    say(f"{out}: {rows_and_failed(manifest.rows, manifest.skipped)}, digest {manifest.digest[:16]}")


@store.command("import")
def store_import(
    kind: Annotated[str, typer.Argument(help="clip_retrieval, dime_fm, datacompdr or tinyvit.", show_default=False)],
    source: Annotated[Path, typer.Argument(help="Where the features lie.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The store to make.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Make a store of another project's features. Say with --set what you know of their teacher.

    Example: distillkit store import clip_retrieval embeddings stores/laion --set 'model="ViT-L-14/openai"'
    """
    from distillkit.engine.importing import import_features
    from distillkit.recipe import Component, settings
    from distillkit.system.versions import versions

    manifest = import_features(Component(kind=kind, **settings(overrides)), source, out, versions(), say, command())
    print(out)
    say(f"{out}: {rows_and_failed(manifest.rows, manifest.skipped)}, digest {manifest.digest[:16]}")


@store.command("view")
def store_view(
    path: Store,
    out: Annotated[Path, typer.Argument(help="The view to make.", show_default=False)],
    keys: Annotated[Path | None, typer.Option(help="A file with a key a line.")] = None,
    rows: Annotated[str | None, typer.Option(help="Rows, such as 0:1000 or 0:1000:2.")] = None,
    labels: Annotated[str | None, typer.Option(help="Labels, such as 3,7 or 0:9:2, or names of classes.")] = None,
    share: Annotated[
        float | None, typer.Option(help="Of the chosen rows, a random share, such as 0.2; whole images.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other rows.")] = 0,
    other_than: Annotated[Path | None, typer.Option(help="A view whose images to leave out.")] = None,
    as_many_as: Annotated[Path | None, typer.Option(help="Of the chosen rows, as many as this store has.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a view of other rows.")] = False,
) -> None:
    """Make a view: some rows of a store, without a copy. It has the rows that all options choose; give at least one.

    Example: distillkit store view stores/photos stores/photos-held-out --share 0.2

    Example: distillkit store view stores/photos stores/photos-train --other-than stores/photos-held-out

    Example: distillkit store view stores/photos stores/pets --labels cat,dog --share 0.5
    """
    from distillkit.store.upkeep.view import Asked, make_view

    asked = Asked(keys, rows, labels, share, seed, other_than, as_many_as)
    view = make_view(path, out, asked, command(), say, overwrite=overwrite)
    print(out)
    say(f"{out}: {count(view.count, 'row')} of {path}, digest {view.digest[:16]}")


@store.command("export")
def store_export(
    path: Store,
    out: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    form: Annotated[str, typer.Option("--to", help="npy, arrow, parquet or webdataset.")] = "npy",
    fields: Annotated[list[str] | None, typer.Option("--field", help="A field; repeat for more. Default: all.")] = None,
) -> None:
    """Write a store, or a view, for other programs.

    Example: distillkit store export stores/demo/images exported --to parquet --field image
    """
    from distillkit.store.reading.reader import FeatureStore
    from distillkit.store.upkeep.export import export

    told = count(export(FeatureStore(path), out, form, fields, say), "row")
    print(out)
    say(f"{out}: {told} as {form}")


@store.command("append")
def store_append(recipe: Recipe, overrides: Overrides = None, only: Only = None) -> None:
    """Add new samples of corpora to their stores. Rows that are there are not computed again.

    Example: distillkit store append pipelines/extract/demo.toml
    """
    from distillkit import extract
    from distillkit.engine.append import append
    from distillkit.recipe import ExtractRecipe, load

    loaded = load(recipe, overrides, kind=ExtractRecipe)
    for path in extract.extract(loaded, say, command(), instead=append, only=only or []):
        print(path)


@store.command("push")
def store_push(
    path: Store,
    repository: Annotated[str, typer.Argument(help="OWNER/NAME of a data set.", show_default=False)],
    with_images: Annotated[bool, typer.Option("--with-images", help="Send its pixel caches, too.")] = False,
    dry_run: DryRun = False,
    private: Private = False,
    overwrite: TakeAway = False,
) -> None:
    """Send a store to a hub of data sets, with a card. The store has texts; images are sent only with --with-images.

    Example: distillkit store push stores/demo/images me/demo-images --dry-run
    """
    from distillkit.push import push_store

    knobs = {"dry_run": dry_run, "private": private, "overwrite": overwrite}
    if (made := push_store(path, repository, with_images=with_images, **knobs, say=say)) is not None:
        print(made)
