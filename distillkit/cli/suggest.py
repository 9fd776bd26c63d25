"""distillkit suggest-scale: a logit scale from what a store holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Json, Store


def suggest_scale(
    store: Store,
    texts: Annotated[
        Path | None, typer.Option(help="A store of unpaired texts, or of class prompts, of the same teacher.")
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Images in a batch: the choices of a text, or of an image.")] = 128,
    text_batch: Annotated[int, typer.Option(min=2, help="Unpaired texts in a batch.")] = 2048,
    teacher: Annotated[str | None, typer.Option(help="Which teacher's features, if the store has several.")] = None,
    as_json: Json = False,
) -> None:
    """Say which logit scales suit a teacher.

    With these its targets, made of its stored features, are neither one-hot nor flat.

    Example: distillkit suggest-scale stores/demo/images --texts stores/demo/texts
    """
    from distillkit import suggest

    if as_json:
        for one in suggest.entropies(store, texts, batch=batch, text_batch=text_batch, teacher=teacher):
            print(json.dumps(asdict(one)))
        return
    for line in suggest.suggest_scale(store, texts, batch=batch, text_batch=text_batch, teacher=teacher):
        print(line)
