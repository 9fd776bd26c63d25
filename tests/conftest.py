"""A toy world: a real, tiny open_clip teacher with random weights, and a corpus of a few drawn images."""

import json
import os
import signal
from pathlib import Path

# Several test processes share the machine; torch must not start a thread per core in each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
from PIL import Image

from tests.servers import impatient, s3, s3_server, web  # noqa: F401  (fixtures for every room)

TEACHER = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def pytest_configure(config):
    """Recipes take a GPU where there is one, and exact numbers are a CPU's. Commands hear Ctrl-C, though a script that
    leaves the tests behind (`make test &`) has them ignore it.
    """
    if hides_gpus(config.getoption("markexpr")):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


FIRST = ("guides/test_readme.py", "training/test_train.py", "engine/test_memory.py", "bench/test_bench.py")


GPU_FILES = pytest.StashKey[set[Path]]()


def pytest_collection_modifyitems(config, items):
    """Files of few long tests come first: at the end one process would do them while the other has nothing left.

    And it is noted which files have a test for a GPU, before it is left out.
    """
    items.sort(key=lambda item: not item.path.as_posix().endswith(FIRST))
    config.stash[GPU_FILES] = {item.path for item in items if item.get_closest_marker("gpu")}


def hides_gpus(markers):
    """Whether tests chosen by `-m markers` are for the CPU: all but those that ask for "gpu"."""
    return "gpu" not in markers.replace("not gpu", "").split()


ROOT = Path(__file__).parents[1]
_MADE = ("stores", "runs", "exports")  # by the commands of the README


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """The checkout as it was cloned: a demo that was made in it, or half made, changes no test."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in _MADE:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session", autouse=True)
def in_the_checkout(checkout):
    """Relative paths of recipes lead there; what a test writes to the folder it is in is not the developer's."""
    before = Path.cwd()
    os.chdir(checkout)
    yield
    os.chdir(before)


WORDS = ("square", "circle", "stripe", "dot", "cross", "ring", "bar", "star")


def make_teacher(folder, seed=0):
    """An open_clip folder with random weights."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TEACHER, "preprocess_cfg": {}}))
    save_file(CLIP(**TEACHER).state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory):
    return make_teacher(tmp_path_factory.mktemp("teacher") / "toy")


@pytest.fixture
def nvjpeg(monkeypatch):
    """A decoder of the CPU in its place; how many images it decoded at a time."""
    from distillkit.pixels import jpegs
    from distillkit.pixels.tensors import decode_tensor

    sizes = []

    def decode_on(device, data):
        sizes.append(len(data))
        return [decode_tensor(one).to(device) for one in data]

    monkeypatch.setattr(jpegs, "decode_on", decode_on)
    return sizes


def draw(folder, count, seed=0, suffix=".png"):
    """`count` images of noise below folder/images, and a table that names each after a word and a number."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = ["title\tfilepath"]
    for number in range(count):
        shape = (40 + number % 3 * 10, 48, 3)
        name = f"images/{number:03d}{suffix}"
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
        rows.append(f"a {WORDS[number % len(WORDS)]} number {number // 16}\t{name}")
    (folder / "pairs.tsv").write_text("\n".join(rows) + "\n")
    (folder / "texts.txt").write_text("".join(f"a text about {word} {n}\n" for n in range(20) for word in WORDS))
    return folder


@pytest.fixture
def corpus(tmp_path):
    return draw(tmp_path / "corpus", 70)


EXTRACT = """
name = "toy"
out = "{out}"
[teacher]
kind = "openclip"
model = "local-dir:{teacher}"
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}
fields = ["image", "text"]
rows_per_shard = 64
batch_size = 16
[[corpora]]
name = "texts"
source = {{ kind = "textlines", file = "{corpus}/texts.txt" }}
fields = ["text"]
rows_per_shard = 64
batch_size = 16
"""

TRAIN = """
name = "toy"
out = "{out}/run"
seed = 3
[data]
images = "{out}/images"
texts = "{out}/texts"
batch_size = 16
pixel_cache = 32
[student]
kind = "timm_image"
model = "mobilenetv3_small_050"
image_size = 32
embed_dim = 32
[[losses]]
kind = "affinity"
weight = 0.7
[[losses]]
kind = "affinity"
name = "L_pvl"
between = "image, teacher image"
temperature = 3.0
symmetric = false
weight = 0.3
[optim]
epochs = 6
warmup_epochs = 1
[checkpoints]
every_steps = 5
[baseline]
captions = "unique"
losses = [{{ kind = "contrastive", text = "teacher" }}]
[[evals]]
kind = "retrieval"
store = "{out}/images"
"""


@pytest.fixture
def recipes(tmp_path, corpus, teacher_folder):
    """Paths of an extraction and a training recipe over the toy world, with outputs below tmp_path/out."""
    places = {"out": tmp_path / "out", "corpus": corpus, "teacher": teacher_folder}
    (tmp_path / "extract.toml").write_text(EXTRACT.format(**places))
    (tmp_path / "train.toml").write_text(TRAIN.format(**places))
    return tmp_path / "extract.toml", tmp_path / "train.toml"


@pytest.fixture
def every_step(monkeypatch):
    """A line of progress comes at every step, as if each took long."""
    from distillkit.system import progress

    monkeypatch.setattr(progress, "_EVERY", 0.0)


@pytest.fixture(scope="session")
def toy_stores(tmp_path_factory, teacher_folder):
    """A folder with the toy corpus and, in out/, its stores; tests read them and leave them as they are."""
    from distillkit import extract

    folder = tmp_path_factory.mktemp("toy")
    corpus = draw(folder / "corpus", 40)
    (folder / "extract.toml").write_text(EXTRACT.format(out=folder / "out", corpus=corpus, teacher=teacher_folder))
    extract(folder / "extract.toml", lambda line: None)
    return folder


@pytest.fixture
def student(toy_stores, run_cli, tmp_path):
    """train-student on the toy stores, without a baseline, in a run folder of the test's own: (exit code, stderr)."""
    text = TRAIN.format(out=toy_stores / "out").split("[baseline]")[0]
    text = text.replace(f'"{toy_stores}/out/run"', f'"{tmp_path}/run"').replace("pixel_cache = 32\n", "")
    recipe = tmp_path / "student.toml"
    recipe.write_text(text.replace("epochs = 6", "epochs = 2"))

    def train(*settings, words=()):
        code, _, err = run_cli("train-student", recipe, *words, *(word for one in settings for word in ("--set", one)))
        assert "Traceback" not in err
        return code, err

    train.recipe, train.run, train.stores = recipe, tmp_path / "run", toy_stores / "out"
    train.cli = run_cli
    return train


@pytest.fixture
def killed(student):
    """Has the training of `student` end as by a kill in its second epoch, after the checkpoint of a step."""
    from distillkit.training.course import Course

    step = Course.step

    def dies(course, batch, *more):
        step(course, batch, *more)
        if batch.step == 3:
            raise RuntimeError("killed")

    def train():
        with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
            patch.setattr(Course, "step", dies)
            student("checkpoints.every_steps=2")

    return train


@pytest.fixture
def run_cli():
    """The real command line, in this process: (exit code, stdout, stderr)."""
    import contextlib
    import io
    import sys

    from distillkit import cli

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        before, sys.argv = sys.argv, ["distillkit", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
                cli.main()
        finally:
            sys.argv = before
        return stopped.value.code or 0, out.getvalue(), err.getvalue()

    return run
