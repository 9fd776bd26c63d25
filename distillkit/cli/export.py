"""distillkit export and push: a finished student for the programs that its users have, and where they look for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from distillkit.cli.console import say

DryRun = Annotated[bool, typer.Option("--dry-run", help="List files and bytes, and send nothing.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
TakeAway = Annotated[bool, typer.Option("--overwrite", help="Remove files of something else from the repository.")]


def export(
    run: Annotated[Path, typer.Argument(help="A finished run folder.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="open_clip, timm, hf, onnx, torch, executorch, classifier, web, or your own package.module:Class.",
            show_default=False,
        ),
    ],
    precision: Annotated[Literal["fp32", "fp16", "int8"], typer.Option(help="Precision of the weights.")] = "fp32",
    tower: Annotated[Literal["image", "text", "both"], typer.Option(help="Which towers to export.")] = "both",
    out: Annotated[
        Path | None, typer.Option(help="The folder. Default: RUN/exports/TARGET.", show_default=False)
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Check with the pictures (and .txt lines) of this folder, not of the run's eval store."),
    ] = None,
    text_tower: Annotated[
        Literal["own", "teacher"], typer.Option(help="teacher: export an image student with its teacher's text tower.")
    ] = "own",
    classes: Annotated[
        str | None, typer.Option(help="A store of class prompts, for classifier and web. Default: the run's own.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="fp32:PATTERN: nodes whose names match this regular expression stay in fp32.")
    ] = None,
    runtime_dir: Annotated[
        Path | None, typer.Option(help="For web: the folder of onnxruntime-web, unpacked from npm.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the exported weights, for the model card.")] = None,
    allow_parity_loss: Annotated[
        bool, typer.Option("--allow-parity-loss", help="Write an export whose answers differ, and say so in its card.")
    ] = False,
) -> None:
    """Write the student of RUN for another program.

    An export that answers differently than the student is refused.

    Example: distillkit export runs/clip_kd --to open_clip
    """
    from distillkit.export import export as leave

    print(
        leave(
            run,
            to,
            precision=precision,
            tower=tower,
            out=out,
            samples=samples,
            text_tower=text_tower,
            classes=classes,
            keep=_pattern(keep),
            runtime_dir=runtime_dir,
            licence=licence,
            allow_parity_loss=allow_parity_loss,
            say=say,
        )
    )


def push(
    run: Annotated[Path, typer.Argument(help="A finished run folder that was exported.", show_default=False)],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME of a model.", show_default=False)],
    export: Annotated[
        str | None, typer.Option(help="Which of RUN/exports, if there are several.", show_default=False)
    ] = None,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Send the report, too, which has pictures in it.")
    ] = False,
    dry_run: DryRun = False,
    private: Private = False,
    overwrite: TakeAway = False,
) -> None:
    """Send an exported student to a hub of models.

    Its model card goes with it. Images are sent only with --with-images.

    Example: distillkit push runs/clip_kd me/small-clip --export hf --dry-run
    """
    from distillkit.push import push as send

    asked = {"with_images": with_images, "dry_run": dry_run, "private": private, "overwrite": overwrite}
    made = send(run, repository, export=export, **asked, say=say)
    if made is not None:
        print(made)


def _pattern(keep: str | None) -> str | None:
    """The pattern of `fp32:PATTERN`."""
    if keep is None:
        return None
    precision, _, pattern = keep.partition(":")
    try:
        re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(f"--keep {keep}: no regular expression ({error})") from error
    if precision != "fp32" or not pattern:
        raise typer.BadParameter(f"--keep {keep}: write fp32:PATTERN, such as fp32:^node_layer_norm")
    return pattern
