"""What somebody wants, as terms, baseline and evals over what the stores hold; and students that suit it, small first.

A term, or an eval, is a table of a recipe with a remark; what a goal needs and the stores lack is a RecipeError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isqrt

from distillkit.drafting.material import Material
from distillkit.drafting.measures import Knobs, Remarked, evals
from distillkit.errors import RecipeError
from distillkit.system.wording import count


@dataclass(frozen=True)
class Goal:
    """`title`: in words. `ladder`: students, small to large. `data`: more keys of [data]; `augment`: its crops.

    `paper`: the address of the one that the terms are taken from. `unlike`: what sets the draft apart from that paper's
    method, where something does; reports name no paper for it then.
    """

    title: str
    paper: str
    ladder: list[Knobs]
    losses: list[Remarked]
    baseline: tuple[str, Knobs, list[Remarked]]  # what it is, its own keys, its terms
    evals: list[Remarked]
    data: Knobs = field(default_factory=dict)
    augment: Knobs = field(default_factory=lambda: {"scale": [0.3, 1.0]})
    parameters: str = "6M"  # of the student, where no budget is named
    unlike: str = ""
    beside: float = 1.0  # weight of a second teacher's cosine, for a share of the whole that counts


_TOWERS = (
    "mobilenetv3_small_050",
    "mobilenetv3_small_100",
    "efficientnet_lite0",
    "vit_tiny_patch16_224",
    "resnet18",
    "vit_small_patch16_224",
    "resnet50",
    "vit_base_patch16_224",
)
# Width and layers of the image tower, of the text tower.
_PAIRS = (
    (128, 6, 128, 4),
    (192, 6, 128, 4),
    (256, 10, 256, 3),
    (192, 12, 384, 12),
    (512, 12, 512, 6),
    (768, 12, 512, 12),
)
_VITS = ((96, 6, 3), (192, 6, 3), (192, 12, 3), (384, 12, 6), (768, 12, 12))
_PATCH = 16


def image_tower(material: Material, image_size: int | None) -> Goal:
    """DIME-FM: the teacher's choices among texts, or among the images themselves, are the student's to learn."""
    width, soft = material.width("image"), 3.0
    among_images: Knobs = {"kind": "affinity", "name": "L_pvl", "between": "image, teacher image"}
    among_images |= {"logit_scale": Raw(material.scale(soft)), "temperature": soft, "symmetric": False, "weight": 0.3}
    plain: Knobs = {"kind": "feature_regression", "name": "L_cos", "distance": "cosine"}
    losses = [("images choose among images as the teacher's do", among_images)]
    unlike = ""
    if material.texts or material.captioned:
        among_texts: Knobs = {"kind": "affinity", "name": "L_vl", "between": "image, teacher text", "weight": 0.7}
        among_texts |= {"logit_scale": Raw(material.scale())}
        losses.insert(0, ("images choose among texts as the teacher's do", among_texts))
    else:
        losses.append(("and its directions, one by one: without texts they say most", plain))
        unlike = "there are no texts, and L_cos stands in for L_vl"
    baseline = ("the same student and budget, brought to the teacher's directions only", Knobs(), [("", plain)])
    if material.captioned:
        contrastive = {"kind": "contrastive", "text": "teacher"}
        baseline = (
            "the same student and budget without the teacher's image features: CLIP's loss against the captions",
            {"captions": "unique"},
            [("", contrastive)],
        )
        unlike = unlike if material.texts else "the texts are the images' own captions, not sentences of no image"
    return Goal(
        "A small image tower",
        "https://arxiv.org/abs/2303.18232",
        _towers(material, image_size, {"embed_dim": width}),
        losses,
        baseline,
        evals(material),
        {"captions": "unique"} if material.captioned and not material.texts else {},
        unlike=unlike,
    )


def clip_pair(material: Material, image_size: int | None) -> Goal:
    """CLIP-KD: two towers from scratch on images and their own captions."""
    width, side = material.width("image"), _divisible(image_size or min(material.shown, 224))
    material.width("text")
    if not material.captioned:
        raise RecipeError(
            f"{material.images}: its images have no captions, and a pair learns from them; see image-tower"
        )
    patch = {"patch_size": _PATCH}
    pairs = [
        {
            "kind": "openclip_pair",
            "model": {
                "embed_dim": width,
                "vision_cfg": {"image_size": side, "width": wide, "layers": deep, "head_width": 64, **patch},
                "text_cfg": {
                    "context_length": 77,
                    "vocab_size": 49408,
                    "width": words,
                    "heads": words // 64,
                    "layers": n,
                },
            },
        }
        for wide, deep, words, n in _PAIRS
    ]
    task = {"kind": "contrastive", "name": "task", "logit_scale": "student"}
    relation = {"kind": "affinity", "name": "CRD", "between": "image, text", "logit_scale": "own", "directions": "mean"}
    features = {"kind": "feature_regression", "name": "FD", "field": "image and text", "weight": 2000.0 * width / 512}
    return Goal(
        "A small CLIP pair",
        "https://arxiv.org/abs/2307.12732",
        pairs,
        [
            ("CLIP's own loss", task),
            ("the teacher's choices, at each network's own scale", relation),
            (
                "the student's images against the teacher's texts, and the other way",
                {"kind": "interactive", "name": "ICL"},
            ),
            ("feature by feature; its weight is the paper's for this width", features),
        ],
        ("the same pair and budget without the teacher", {"captions": "unique"}, [("", task)]),
        evals(material),
        {"captions": "unique"},
        parameters="20M",  # of which the table of tokens has six or more
        beside=4.0,  # of terms that begin at twenty in all
    )


def dino(material: Material, image_size: int | None) -> Goal:
    """Proteus: the student's tokens predict the teacher's."""
    material.width("cls")
    cells = isqrt(material.patches)
    if material.patches and image_size not in (None, cells * _PATCH):
        raise RecipeError(
            f"{count(material.patches, 'stored patch', 'stored patches')} a view need a student of {cells * _PATCH} "
            f"pixels a side, not {image_size}; leave --image-size out, or extract fewer (teacher.grid) or cls alone"
        )
    side = cells * _PATCH or _divisible(image_size or min(material.shown, 224))
    ladder = [
        {
            "kind": "timm_image",
            "model": "vit_tiny_patch16_224",
            "image_size": side,
            "tokens": True,
            "layer_scale": 1.0,
            "options": {"embed_dim": wide, "depth": deep, "num_heads": heads},
        }
        for wide, deep, heads in _VITS
    ]
    levels = ["token", *(["feature", "patch"] if material.patches else [])]
    said = {"token": "the class token", "feature": "all tokens", "patch": "patches that are hidden from the student"}
    losses = [(said[one], {"kind": "token_regression", "name": one, "level": one}) for one in levels]
    alone = {"kind": "feature_regression", "name": "cls", "field": "cls", "distance": "cosine"}
    return Goal(
        "A backbone like DINO",
        "https://arxiv.org/abs/2407.10366",
        ladder,
        losses,
        ("the same student and budget, brought to the direction of the class token only", {}, [("", alone)]),
        evals(material, joint=False),
        {"mask": {"ratio": 0.5, "share": 0.5}} if material.patches else {},
        # Patches are of the clean view, and the student must see that.
        {"scale": [1.0, 1.0], "ratio": [1.0, 1.0], "flip": 0.0} if material.patches else {"scale": [0.3, 1.0]},
        unlike=_unlike_proteus(material),
    )


def _unlike_proteus(material: Material) -> str:
    """The paper learns from a CLIP by the class token alone, whose patch tokens nobody trained, and else from both."""
    clip = material.teacher.get("logit_scale") is not None
    if clip and material.patches:
        return "it takes nothing but the class token of a CLIP, and here patches are learned, too"
    return "" if clip or material.patches else "no patch tokens are stored, so that of its three terms one is left"


def classes(material: Material, image_size: int | None) -> Goal:
    """OOD: images choose among the names of one's own classes, and stay where the teacher has them."""
    more = {"embed_dim": material.width("image"), "projection_bias": True}
    if not material.classes:
        raise RecipeError(
            "your classes: name the store of their prompts (--classes); a corpus makes it with "
            'source = { kind = "class_prompts", file = "NAMES.txt" } and fields = ["text"]'
        )
    material.refuse_unread(material.classes)
    if not material.class_names and not material.labelled(material.images):
        raise RecipeError(
            f"{material.images}: its images have no labels; extract it with them (classes = true of a folder), or name "
            "the file of class names that its captions are (--class-names)"
        )
    sharp = {"logit_scale": 1 / 0.07}
    labels = {"kind": "contrastive", "name": "L_cls", "text": "teacher", "directions": "rows", "learned_scale": False}
    choices = {"kind": "affinity", "name": "L_vlalign", "between": "image, teacher text", "directions": "rows"}
    regression = {"kind": "feature_regression", "name": "L_mse", "over_width": "sum"}
    return Goal(
        "A classifier of your classes",
        "https://arxiv.org/abs/2307.03135",
        _towers(material, image_size, more),
        [
            ("the label", labels | sharp),
            ("the teacher's choices among the classes", choices | sharp),
            ("and its directions, one by one", regression),
        ],
        ("the same student and budget from labels alone", {}, [("", labels | sharp)]),
        evals(material),
        {"classes": material.classes} | ({"class_names": material.class_names} if material.class_names else {}),
        unlike="its contrastive term, L_cst, and what it does for unseen classes are left out",
    )


class Raw(str):
    """A value that is TOML already."""


NEEDED = {"dino": "cls"}  # what a goal has to have of its teacher, if not "image"
GOALS: dict[str, Callable[[Material, int | None], Goal]] = {
    "image-tower": image_tower,
    "clip-pair": clip_pair,
    "dino": dino,
    "classes": classes,
}


def _towers(material: Material, image_size: int | None, more: Knobs) -> list[Knobs]:
    side = image_size or min(material.shown, 224)
    fitting = [name for name in _TOWERS if "patch" not in name or side % _PATCH == 0]
    return [{"kind": "timm_image", "model": name, "image_size": side, **more} for name in fitting]


def _divisible(side: int) -> int:
    return max(side // _PATCH, 1) * _PATCH
