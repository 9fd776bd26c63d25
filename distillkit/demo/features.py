"""What the two towers make of every image and name, once for all teachers: these differ by their projections alone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor

from distillkit.callable import Say
from distillkit.demo.concepts import Corpus
from distillkit.demo.drawings import HANDS
from distillkit.demo.images import image_path
from distillkit.demo.network import assembled
from distillkit.demo.teacher_config import CONFIG, config_for, preprocessing
from distillkit.demo.towers import image_features, text_features
from distillkit.system.atomic import atomic_file


def read_everything(root: Path, corpus: Corpus, path: Path, say: Say) -> dict[str, int]:
    """Write `path`: for each hand [n, e], images of seen concepts and then of unseen ones; "texts" [m, c, w] of their
    names. Of concepts for validation no teacher needs to know anything.
    """
    from safetensors.torch import save

    known = (corpus.seen, corpus.unseen)
    keys = [key for concepts in known for listed in concepts.values() for key in listed]
    names = [name for concepts in known for name in concepts]
    with tempfile.TemporaryDirectory() as folder:
        model = assembled(Path(folder))
        (Path(folder) / CONFIG).write_text(json.dumps(config_for(Path(folder))), "utf-8")
        tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
        transform = image_transform_v2(PreprocessCfg(size=model.visual.image_size, **preprocessing()), is_train=False)
        found: dict[str, Tensor] = {}
        for hand in HANDS:
            files = [root / image_path(key, hand) for key in keys]
            found[hand] = image_features(model.visual.trunk, transform, files, say)
        found["texts"] = _prompts(model.text, tokenize, names, say)
    with atomic_file(path) as file:
        file.write(save({name: features.contiguous() for name, features in found.items()}))
    return {"images": len(HANDS) * len(keys), "names": len(names)}


def _prompts(encoder: Any, tokenize: Any, names: list[str], say: Say) -> Tensor:
    """[m, c, w]: the bare name first, then CLIP's seven best templates."""
    templates = [str, *open_clip.SIMPLE_IMAGENET_TEMPLATES]
    spoken = [template(name) for template in templates for name in names]
    return text_features(encoder, tokenize, spoken, say).reshape(len(templates), len(names), -1)
