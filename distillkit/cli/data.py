"""distillkit data: prepare corpora."""

from __future__ import annotations

from typing import Annotated

import typer

from distillkit.cli.console import say

data = typer.Typer(help="Prepare corpora.", no_args_is_help=True)


@data.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(help="The corpus to prepare; there is one: demo.")],
    quick: Annotated[bool, typer.Option("--quick", help="A smaller version, for a first look.")] = False,
) -> None:
    """Make a corpus ready in the cache folder ($DISTILLKIT_CACHE).

    Example: distillkit data prepare demo
    """
    if name != "demo":
        raise typer.BadParameter(f"{name!r} cannot be prepared; there is one: demo")
    from distillkit.demo.prepare import prepare

    folder = prepare(quick=quick, say=say)
    print(folder)
    suffix = "_quick" if quick else ""
    say(f"next: distillkit extract-teacher pipelines/extract/demo{suffix}.toml")
