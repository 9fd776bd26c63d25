"""distillkit store: look at, check and question feature stores."""

from __future__ import annotations

import typer

from distillkit.cli.console import Store, say

store = typer.Typer(help="Look at, check and question feature stores.", no_args_is_help=True)


@store.command("info")
def store_info(path: Store) -> None:
    """Print what a store holds and who made it.

    Example: distillkit store info stores/demo/images
    """
    from distillkit.store.manifest import Manifest

    manifest = Manifest.read(path)
    print(f"{path}: {manifest.rows} rows in {len(manifest.shards)} shards, {manifest.skipped} failed")
    print(f"digest   {manifest.digest}")
    print(f"source   {manifest.source['kind']} {manifest.source['knobs']}")
    for name, field in manifest.fields.items():
        print(f"field    {name}  {field.dtype} {field.shape}")
    for alias, teacher in manifest.teachers.items():
        print(f"teacher  {alias}: {teacher['model']}, sha256 {teacher['weights_sha256'][:16]}, {teacher['precision']}")


@store.command("verify")
def store_verify(path: Store) -> None:
    """Check every file of a store against its checksum; exit code 1 when one differs.

    Example: distillkit store verify stores/demo/images
    """
    from distillkit.store.verify import verify

    problems = verify(path)
    for problem in problems:
        print(problem)
    if problems:
        say(f"damaged: {len(problems)}; delete these files and extract again: only their shards are done anew")
        raise typer.Exit(1)
    print(f"{path}: every checksum agrees")


@store.command("failures")
def store_failures(path: Store) -> None:
    """Print the failure ledger: key, stage and error of each sample without features.

    Example: distillkit store failures stores/demo/images
    """
    from distillkit.store.reader import FeatureStore

    for failure in FeatureStore(path).failures():
        print(f"{failure['key']}\t{failure['stage']}\t{failure['error']}")
