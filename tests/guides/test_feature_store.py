"""Every command and every line of Python in docs/feature-store.md, in order; its teachers and corpora are tiny."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.teachers.timm import Timm
from tests.conftest import draw
from tests.importers.test_importers import b64, clip_retrieval, packed, tar, tsv
from tests.teachers.test_timm import make_dino

GUIDE = (Path(__file__).parents[2] / "docs/feature-store.md").read_text()
BLOCKS = re.findall(r"```(toml|sh|python)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def world(tmp_path, monkeypatch, teacher_folder, s3):
    """What the guide speaks of: photos, new ones and drawings, and what four other projects have stored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    for name, count in (("photos", 70), ("new", 70), ("drawings", 10), ("sketches", 9)):
        draw(tmp_path / f"drawn/{name}", count, seed=count + len(name))
        (tmp_path / name).mkdir()
        for path in (tmp_path / f"drawn/{name}/images").iterdir():
            path.rename(tmp_path / name / f"{name}-{path.name}")
    (tmp_path / "mended").mkdir()
    (tmp_path / "photos/photos-004.png").rename(tmp_path / "mended/photos-004.png")
    for name in ("photos-003.png", "photos-004.png"):
        (tmp_path / "photos" / name).write_bytes(b"")
    draw(tmp_path / "drawn/repainted", 10, seed=5)
    (tmp_path / "repainted").mkdir()
    for number in (7, 8, 9):
        (tmp_path / f"drawn/repainted/images/{number:03d}.png").rename(tmp_path / f"repainted/photos-{number:03d}.png")
    animals = sorted((draw(tmp_path / "drawn/animals", 30, seed=3) / "images").iterdir())
    for number, path in enumerate(animals):
        (tmp_path / "animals" / ("bee", "cat", "dog")[number % 3]).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "animals" / ("bee", "cat", "dog")[number % 3] / path.name)
    (tmp_path / "keys.txt").write_text("photos-001.png\nphotos-005.png\n")
    make_dino(tmp_path / "dino")
    torch.manual_seed(0)
    weights = "supervised.safetensors"
    save_file(timm.create_model("test_vit", img_size=32).state_dict(), weights)

    clip_retrieval(tmp_path / "embeddings")
    for part in range(2):
        tsv(tmp_path / f"features/{part}.tsv", [(str(n), b64(np.full(32, n + 1.0))) for n in range(10)])
    (tmp_path / "datacompdr").mkdir()
    tar(tmp_path / "datacompdr/0.tar", [("a.npz", packed(torch.randn(3, 1536), torch.randn(2, 1536), "npz"))])
    (tmp_path / "logits_top100_epoch0").mkdir()
    (tmp_path / "logits_top100_epoch0/rank0-keys.txt").write_text("a\nb\n")
    saved = np.zeros(2, np.dtype([("seed", "<i4"), ("classes", "<u2", 100), ("chances", "<f2", 100)]))
    saved["classes"] = np.arange(100)
    saved.tofile(tmp_path / "logits_top100_epoch0/rank0-values.bin")
    return {
        'root = "/data/': f'root = "{tmp_path}/',
        '"ViT-L-14/openai"': f'"local-dir:{teacher_folder}"',
        '"vit_base_patch14_reg4_dinov2.lvd142m"': f'"local-dir:{tmp_path}/dino"\nimage_size = 28',
        '"vit_base_patch16_224.augreg2_in21k_ft_in1k"': f'"test_vit"\nweights = "{weights}"\nimage_size = 32',
        "00000000": Timm(model="test_vit", weights=weights, image_size=32, top_k=10).fingerprint()["weights_sha256"],
        '[[corpora]]\nname = "photos"\n': '[[corpora]]\nname = "photos"\nrows_per_shard = 64\nbatch_size = 16\n',
    }


@pytest.mark.long
def test_the_guide(world, run_cli, tmp_path):
    said, names = {}, {}
    for language, block in BLOCKS:
        block = block.replace("s3://bucket/", "s3://corpora/")
        if language == "toml":
            for large, small in world.items():
                block = block.replace(large, small)
            (tmp_path / block.split("\n")[0].removeprefix("# ")).write_text(block)
        elif language == "python":
            exec(block, names)
        else:
            for line in block.splitlines():
                said[line] = run(line, run_cli)
    assert "photos-003.png\tdecode\t" in said["distillkit store failures stores/photos"]
    assert "part 1/2 is done" in said["""distillkit extract-teacher photos.toml --set 'out="shared"' --shard 1/2"""]
    assert "70 new rows behind 70" in said["distillkit store append photos.toml"]
    assert "1 of 2 failed rows mended" in said["distillkit extract-teacher photos.toml --retry-failed"]
    told = "3 images changed since (first: photos-007.png): --retry-changed does them again"
    assert told in said["distillkit extract-teacher photos.toml"] and told in GUIDE
    assert "3 rows done again" in said["distillkit extract-teacher photos.toml --retry-changed"]
    assert "dino added to it" in said["distillkit extract-teacher photos_dino.toml"]
    again = said["distillkit store verify stores/photos --reforward 512"]
    assert "openclip/image  139 rows, cosine least 0.9999" in again or "cosine least 1.0000" in again
    assert "dino/cls  139 rows" in again
    assert {path.name for path in (tmp_path / "stores").iterdir() if path.is_dir()} >= {
        *("photos", "drawings", "all", "drawn", "animals", "laion", "dime_fm", "datacompdr", "tinyvit", "labels")
    }
    assert all(verify(path.parent) == [] for path in (tmp_path / "stores").glob("*/manifest.json"))
    assert list(FeatureStore("stores/drawn").added) == ["dino"]
    assert FeatureStore("stores/all").ok_rows.size == 78 and len(FeatureStore("views/chosen").ok_rows) == 2
    pets, held = (FeatureStore(f"views/{name}") for name in ("pets", "pets-held-out"))
    both = [key for view in (pets, held) for key in view.values("key", view.ok_rows)]
    assert len(both) == len(set(both)) == 20 and {key.partition("/")[0] for key in both} == {"cat", "dog"}
    labels = FeatureStore("stores/labels")
    chances = labels.read("logits", labels.ok_rows).float().exp()
    assert labels.read("classes", labels.ok_rows).dtype == torch.int32 and (chances.sum(1) < 1.001).all()
    assert (labels.read("classes", labels.failed_rows) == -1).all()


def run(line, run_cli):
    """A line of the guide: our own command in this process, others in a shell."""
    if line.startswith("distillkit "):
        code, out, err = run_cli(*shlex.split(line)[1:])
        assert code == 0, f"{line}\n{out}\n{err}"
        return out + err
    return subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True).stdout
