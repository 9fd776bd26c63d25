"""The towers of our students, each as an ordinary network of the library that it comes from.

A tower that its library cannot build (layers of different sizes, options that no configuration has) is still a network:
programs that take any, such as ONNX, hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from jaxtyping import Float
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from distillkit.exports._described import ImageTower, Shown, TextTower
from distillkit.exports._ordinary import fill_up, ordinary_sizes
from distillkit.students import _slim, _slim_timm
from distillkit.students._configs import Config, timm_model
from distillkit.students._openclip import TextInput, configure, image_tower, text_tower
from distillkit.students._pixels import Normalise
from distillkit.students.openclip_image import OpenclipImage
from distillkit.students.openclip_slim import OpenclipSlim
from distillkit.students.openclip_text import OpenclipText
from distillkit.students.prompted import Prompted
from distillkit.students.timm_image import TimmImage
from distillkit.students.timm_slim import TimmSlim


class _Through(nn.Module):
    """A network with a function of ours, `run(network, x)`, as its forward pass."""

    def __init__(self, network: nn.Module, run: Callable[..., Tensor]):
        super().__init__()
        self.network, self._run = network, run

    def forward(self, x: Tensor) -> Tensor:
        return self._run(self.network, x)


class _Raw(nn.Module):
    """A student from outside this package: it takes bytes, and normalises them itself."""

    def __init__(self, student: Any):
        super().__init__()
        self.student = student

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.student.embed(x * 255)


def image_of(student: Any, knobs: dict[str, Any]) -> ImageTower | None:
    """The image tower of a student, which is used up by it; None where it has none."""
    if isinstance(student, Prompted):
        image = dict(knobs["image"])
        return image_of(student.visual, image)
    if "image" not in student.widths:
        return None
    if isinstance(student, OpenclipImage | OpenclipSlim):
        return _openclip_image(student, _config(knobs))
    if isinstance(student, TimmImage | TimmSlim):
        return _timm_image(student, knobs)
    shown = Shown(student.image_size, (0.0,) * 3, (1.0,) * 3)
    return ImageTower(_Raw(student), student.widths["image"], shown)


def text_of(student: Any, knobs: dict[str, Any]) -> tuple[TextTower | None, str | None]:
    """The text tower of a student, or why there is none that stands for itself."""
    if isinstance(student, Prompted):
        return None, "its prompts are learned for its classes; they leave as --to classifier"
    if "text" not in student.widths:
        return None, None
    if not isinstance(student, OpenclipImage | OpenclipText | OpenclipSlim):
        return None, f"the text tower of {type(student).__name__} is of no library that is known here"
    kept: Any = student
    config = _config(knobs)
    network, known = _ordinary_text(kept.text, config) if isinstance(student, OpenclipSlim) else (kept.text, config)
    return text_tower_of(network, known, "its own", kept.text_input), None


def text_tower_of(network: nn.Module, config: Config | None, whose: str, reads: TextInput) -> TextTower:
    width = int(network(torch.zeros(1, reads.context_length, dtype=torch.int64)).shape[-1])
    length, name, options = reads.context_length, reads.hf_name, reads.hf_options
    return TextTower(network, width, length, whose, reads.tokenize, config, name, options)


def _config(knobs: dict[str, Any]) -> Config:
    return configure(knobs["model"], embed_dim=knobs.get("embed_dim"), image_size=knobs.get("image_size"))


def _shown(student: Any) -> Shown:
    normalise: Normalise = student.normalise
    mean, std = ((values.flatten() / 255).tolist() for values in (normalise.mean, normalise.std))
    return Shown(student.image_size, tuple(mean), tuple(std))


def _openclip_image(student: OpenclipImage | OpenclipSlim, config: Config) -> ImageTower:
    network: nn.Module = student.visual
    known: Config | None = config
    if isinstance(student, OpenclipSlim):
        network, known = _ordinary_image(student.visual, config)
    elif isinstance(network, TimmModel) and not _opens_alike(network, config):
        known = None
    return ImageTower(network, student.widths["image"], _shown(student), openclip=known)


def _opens_alike(network: TimmModel, config: Config) -> bool:
    """Whether open_clip, which forgets the image size of timm's networks, builds one of these very shapes."""
    from open_clip.model import _build_vision_tower

    with torch.device("meta"):
        built = _build_vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False))
    return _shapes(built) == _shapes(network)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _ordinary_image(tower: Any, config: Config) -> tuple[nn.Module, Config | None]:
    sizes = ordinary_sizes(tower.transformer.resblocks, tower.positional_embedding.shape[-1])
    if sizes is None:
        return _Through(tower, _slim.encode_image), None
    fill_up(tower.transformer.resblocks, sizes)
    told = {"width": sizes.width, "head_width": sizes.width // sizes.heads, "mlp_ratio": sizes.mlp_ratio}
    smaller = config | {"vision_cfg": config["vision_cfg"] | told}
    network = image_tower(smaller)
    network.load_state_dict(tower.state_dict())
    return network.eval(), smaller


def _ordinary_text(tower: Any, config: Config) -> tuple[nn.Module, Config | None]:
    sizes = ordinary_sizes(tower.transformer.resblocks, tower.positional_embedding.shape[-1])
    if sizes is None:
        return _Through(tower, _slim.encode_text), None
    fill_up(tower.transformer.resblocks, sizes)
    told = {"width": sizes.width, "heads": sizes.heads, "mlp_ratio": sizes.mlp_ratio}
    smaller = config | {"text_cfg": config["text_cfg"] | told}
    network = text_tower(smaller)
    network.load_state_dict(tower.state_dict())
    return network.eval(), smaller


def _timm_image(student: TimmImage | TimmSlim, knobs: dict[str, Any]) -> ImageTower:
    name, own = timm_model(knobs["model"])
    asked = {"drop_path_rate": knobs.get("drop_path"), "init_values": knobs.get("layer_scale")}
    options = own | {key: value for key, value in asked.items() if value is not None} | (knobs.get("options") or {})
    options |= {"img_size": student.image_size} if _takes_size(name, student.image_size, options) else {}
    trunk: Any = student.trunk
    if isinstance(student, TimmSlim):
        sizes = ordinary_sizes(trunk.blocks, trunk.pos_embed.shape[-1])
        if sizes is None:
            way = nn.Sequential(_Through(trunk, _slim_timm.encode), student.projection)
            return ImageTower(way, student.widths["image"], _shown(student))
        fill_up(trunk.blocks, sizes)
        options |= {"embed_dim": sizes.width, "num_heads": sizes.heads, "mlp_ratio": sizes.mlp_ratio}
        trunk = timm.create_model(name, num_classes=0, **options).eval()
        trunk.load_state_dict(student.trunk.state_dict())
    _give_head(trunk, student.projection)
    return ImageTower(trunk, student.widths["image"], _shown(student), timm=(name, options))


def _takes_size(name: str, size: int, options: dict[str, Any]) -> bool:
    """Transformers are told the image size, convolutional networks do not know it."""
    try:
        with torch.device("meta"):
            timm.create_model(name, num_classes=0, img_size=size, **options)
    except TypeError:
        return False
    return True


@torch.no_grad()
def _give_head(trunk: Any, projection: nn.Module) -> None:
    """The projection becomes the classifier, where timm's own forward passes."""
    if isinstance(projection, nn.Linear):
        trunk.reset_classifier(projection.out_features)
        head = trunk.get_classifier()
        head.weight.copy_(projection.weight)
        head.bias.zero_() if projection.bias is None else head.bias.copy_(projection.bias)
