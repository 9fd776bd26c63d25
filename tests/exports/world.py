"""Finished runs of every kind of student, with random weights, over stores of 288 drawn pictures of many shapes."""

import json
import re
import subprocess
import sys

import numpy as np
import torch
from PIL import ExifTags, Image, ImageDraw

from distillkit.identity import identity
from distillkit.pixels import decode
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from tests.conftest import WORDS
from tests.students.small import PAIR

COUNT = 288
VIT = {"embed_dim": 48, "depth": 2, "num_heads": 3}
TEXT = PAIR["text_cfg"] | {"context_length": 16}
MODEL = PAIR | {"embed_dim": 32, "text_cfg": TEXT}
# A student of each of the papers' kinds, as wide as the toy teacher.
STUDENTS = {
    "image": {"kind": "timm_image", "model": "mobilenetv3_small_050", "image_size": 32, "embed_dim": 32},
    "tower": {"kind": "openclip_image", "model": MODEL},
    "pair": {"kind": "openclip_pair", "model": MODEL},
    "text": {"kind": "openclip_text", "model": MODEL},
    "slim": {"kind": "openclip_slim", "model": MODEL, "masks": True},
    "tokens": {"kind": "timm_image", "model": "vit_tiny_patch16_224", "image_size": 32, "embed_dim": 32}
    | {"options": VIT, "layer_scale": 1.0, "tokens": True},
    "slim_image": {"kind": "timm_slim", "model": "vit_tiny_patch16_224", "image_size": 32, "embed_dim": 32}
    | {"options": VIT, "masks": True},
    "prompted": {"kind": "prompted", "model": MODEL, "context": 2}
    | {"image": {"kind": "timm_image", "model": "resnet10t", "image_size": 32, "embed_dim": 32}},
}


EXTRACT = """
name = "pictures"
out = "{out}"
[teacher]
kind = "openclip"
model = "local-dir:{teacher}"
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv", label_column = "label" }}
fields = ["image", "text"]
[[corpora]]
name = "prompts"
source = {{ kind = "class_prompts", file = "{corpus}/classes.txt", templates = ["a {{}}", "one {{}}"] }}
fields = ["text"]
"""


def draw_pictures(folder):
    """Pictures of plain shapes in many colours, wide and tall; a table of their captions and classes; the classes."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = ["title\tfilepath\tlabel"]
    for number in range(COUNT):
        size = (40, 56) if number % 3 == 0 else (64, 41) if number % 3 == 1 else (48, 48)
        image = Image.new("RGB", size, tuple(random.integers(0, 256, 3).tolist()))
        pen = ImageDraw.Draw(image)
        for _ in range(4):
            left, top = random.integers(0, 36, 2).tolist()
            box = (left, top, left + int(random.integers(4, 28)), top + int(random.integers(4, 28)))
            shape = pen.ellipse if random.integers(2) else pen.rectangle
            shape(box, fill=tuple(random.integers(0, 256, 3).tolist()))
        name = f"images/{number:03d}.png"
        image.save(folder / name)
        rows.append(f"a {WORDS[number % len(WORDS)]} number {number // 8}\t{name}\t{number % len(WORDS)}")
    (folder / "pairs.tsv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return folder


def extract_pictures(folder, teacher):
    from distillkit import extract

    corpus = draw_pictures(folder / "corpus")
    (folder / "extract.toml").write_text(EXTRACT.format(out=folder / "out", corpus=corpus, teacher=teacher))
    extract(folder / "extract.toml", lambda line: None)
    return folder / "out"


def finish(folder, stores, student, evals=None, seed=0):
    """A finished run in `folder`, as training leaves it, of a student with random but lively weights."""
    recipe = TrainRecipe.model_validate(
        {
            "name": folder.name,
            "out": str(folder),
            "data": {"images": f"{stores}/images", "batch_size": 16},
            "student": student,
            "losses": [{"kind": "affinity"}],
            "optim": {"epochs": 1},
            "evals": evals or [{"kind": "retrieval", "store": f"{stores}/images"}],
        }
    )
    torch.manual_seed(seed)
    made = recipe.student.build("students")
    with torch.no_grad():
        for name, value in made.named_parameters():
            if value.ndim > 1 and "mask" not in name:
                value.mul_(1.5)
            elif value.ndim == 1 and "mask" not in name and not name.endswith("logit_scale"):
                value.add_(0.3 * torch.randn_like(value))
        _prune(made)
    _settle(made)
    run, store = RunFolder(folder), FeatureStore(f"{stores}/images")
    run.begin(recipe, identity(recipe, {"images": store.digest}))
    counted = sum(value.numel() for value in made.parameters())
    facts = {"parameters": counted, "steps": 18, "images_seen": COUNT, "seconds": 1.0}
    run.finish(made, facts | {"stores": {"images": str(store.path)}, "teacher": store.teacher("image")})
    return folder


def _prune(student):
    """Of masks, some settle at 0: 8 channels, one head of each layer and another of the last, some neurons."""
    for name, masks in student.named_children():
        if name.endswith("_masks"):
            for number, value in enumerate(masks.parameters()):
                value[: 1 + (number == 2 and len(value) == 3) if len(value) < 8 else 8 + number] = -10.0


def _settle(student):
    """Running means as after training; a network whose norms have seen nothing says the same of everything."""
    if getattr(student, "image_size", None) is None:
        return
    student.train()
    with torch.no_grad():
        for _ in range(20):
            student.embed(torch.randint(0, 256, (32, 3, student.image_size, student.image_size), dtype=torch.uint8))
    student.eval()


def card_of(folder):
    return (folder / "README.md").read_text()


def json_of(path):
    return json.loads(path.read_bytes())


# What comes before any code that must do without us.
ALONE = """
import sys
class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("distillkit", "tests"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Nobody())
"""


def say_alone(folders, python=sys.executable):
    """What the cards of these folders say of a picture and a text when their lines are run, all in one process that
    cannot import distillkit: the picture as training sees it, and for each folder {"image": array, "text": array}.

    Its file lies on its side, and blue is hidden where it is transparent.
    """
    image = Image.new("RGBA", (48, 48), (0, 0, 255, 0))
    ImageDraw.Draw(image).ellipse((6, 10, 30, 40), fill="red")
    lying = Image.Exif()
    lying[ExifTags.Base.Orientation] = 6
    for folder in folders:
        image.save(folder / "picture.png", exif=lying)
    seen = decode(folders[0] / "picture.png")
    code = [ALONE, "import json, os", "told = []"]
    for folder in folders:
        code += [f"os.chdir({str(folder)!r})", "said = {}", f"exec({lines_of(folder)!r}, said)"]
        code += ["told.append({name: said[name].tolist() for name in ('image', 'text') if name in said})"]
    command = [python, "-I", "-W", "ignore", "-c", "\n".join([*code, "print(json.dumps(told))"])]
    done = subprocess.run(command, capture_output=True, text=True)
    for folder in folders:
        (folder / "picture.png").unlink()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return seen, [{name: np.array(value) for name, value in one.items()} for one in told]


def lines_of(folder):
    """The Python of a card."""
    return re.search(r"```python\n(.*?)```", card_of(folder), re.DOTALL)[1]
