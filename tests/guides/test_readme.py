"""Every command of the README is run as written, in a world where its recipes and folders are small."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import draw

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(containing):
    (block,) = [block for block in blocks("sh") if containing in block]
    return [line.split("  #")[0].strip() for line in block.splitlines()]


@pytest.fixture
def shell(tmp_path):
    """Run a command line in tmp_path with this environment's distillkit, a home and a cache of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": path,
        "HOME": str(tmp_path / "home"),
        "DISTILLKIT_CACHE": str(tmp_path / "cache"),
    }

    def run(line):
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.mark.long
def test_the_job_by_hand(recipes, shell, tmp_path):
    lines = commands("distillkit data prepare demo")
    assert lines[0] == "distillkit data prepare demo"  # run, with --quick, by the test of the main job below
    for recipe, place in zip(recipes, ("pipelines/extract/demo.toml", "pipelines/demo/dime_fm.toml"), strict=True):
        (tmp_path / place).parent.mkdir(parents=True)
        shutil.copy(recipe, tmp_path / place)
    extract = (
        tmp_path / "pipelines/extract/demo.toml"
    )  # which names the command that comes next, as the demo's own does
    extract.write_text('next = "distillkit train-student pipelines/demo/dime_fm.toml"\n' + extract.read_text())
    text = (tmp_path / "pipelines/demo/dime_fm.toml").read_text()
    (tmp_path / "pipelines/demo/dime_fm.toml").write_text(text.replace(str(tmp_path / "out/run"), "runs/dime_fm"))
    for line, following in zip(lines[1:], [*lines[2:], ""], strict=True):
        assert " ".join(following.split()[:2]) in shell(line).stderr
    assert (tmp_path / "runs/dime_fm/report.html").is_file()


@pytest.mark.long
def test_your_own_images(teacher_folder, shell, tmp_path):
    recipe = next(block for block in blocks("toml") if "[teacher]" in block)
    assert 'model = "ViT-L-14/openai"' in recipe
    (tmp_path / "pipelines/extract").mkdir(parents=True)
    local = recipe.replace('"ViT-L-14/openai"', f'"local-dir:{teacher_folder}"')
    (tmp_path / "pipelines/extract/my_images.toml").write_text(local)
    corpus = draw(tmp_path / "home", 20)
    (corpus / "images").rename(corpus / "photos")
    (corpus / "photos/broken.jpg").write_bytes(b"")
    shutil.copy(corpus / "texts.txt", corpus / "sentences.txt")
    done = [shell(line) for line in commands("my_images.toml")]
    assert "21 rows" in done[1].stdout
    assert "\nbroken.jpg\tdecode\t" in done[2].stdout

    student = next(block for block in blocks("toml") if "[student]" in block)
    for large, small in (
        ("= 256 ", "= 8 "),
        ("= 2048", "= 32"),
        ("224\n", "32\n"),
        ("768", "32"),
        ("epochs = 100", "epochs = 1"),
    ):
        assert large in student
        student = student.replace(large, small)
    # The network at 224 pixels is minutes of work; its own way of being small is 32 pixels.
    (tmp_path / "pipelines/my_student.toml").write_text(student)
    lines = commands("distillkit recipe check")
    checked, trained, measured = (shell(line) for line in lines)
    assert "L_pvl x 0.3" in checked.stdout and "trained 2 steps" in trained.stderr
    assert measured.stdout == "runs/mine/report.html\n"
    shutil.copy(corpus / "photos/000.png", tmp_path / "photo.png")
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code + "print(cosines.shape)"], cwd=tmp_path, capture_output=True)
    assert b"torch.Size([1, 2])" in done.stdout, done.stderr
    found, embedded = (shell(line) for line in commands("--page found.html"))
    assert len(found.stdout.splitlines()) == 10 and "1 picture cannot be read, the first is broken.jpg" in found.stderr
    assert (tmp_path / "found.html").is_file() and "photos.npy: 20 pictures" in embedded.stderr


def test_every_sh_block_is_covered():
    covered = {
        "make reproduce-dimefm",
        "distillkit data prepare demo",
        "distillkit extract-teacher pipelines/extract/my_images.toml",
        "distillkit recipe check pipelines/my_student.toml",
        'distillkit search runs/mine "a red bicycle" --in ~/photos --page found.html',
    }
    assert {block.splitlines()[0].split("  #")[0].strip() for block in blocks("sh")} == covered


@pytest.mark.long
def test_the_main_job_quickly(tmp_path):
    """make reproduce-dimefm QUICK=1 in a copy of the checkout, with this environment as its .venv."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", "stores", "runs", ".git"))
    (copy / ".venv").symlink_to(Path(sys.executable).parents[1])
    environment = os.environ | {"DISTILLKIT_CACHE": str(tmp_path / "cache")}
    # -o: this environment is as it should be, and must not be installed anew from the copy.
    made = ["make", "-o", ".venv/.ready", "reproduce-dimefm", "QUICK=1"]
    subprocess.run(made, cwd=copy, env=environment, check=True)
    page = (copy / "runs/dime_fm_quick/report.html").read_text()
    assert "QUICK" in page
