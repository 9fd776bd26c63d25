"""docs/inputs.md: its commands are run, its kinds and extras are those there are."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from distillkit.corpora import manifests
from distillkit.engine.planning import planned
from distillkit.recipe import Corpus
from distillkit.recipe.registry import kinds
from distillkit.store.reading.reader import FeatureStore
from tests.sources.test_webdataset import sample, write_tar

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/inputs.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)


def test_every_kind_is_in_the_table():
    cells = [line.split("|")[1] for line in GUIDE.splitlines() if line.startswith("| `")]
    told = [kind for cell in cells for kind in re.findall(r"`(\w+)`", cell)]
    assert sorted(told) == sorted(set(kinds("sources")) - {"merged"})


def test_the_extraction_from_a_bucket(recipes, s3, tmp_path, run_cli):
    install, command = BLOCKS[0].splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert install.removeprefix('pip install -e ".[').removesuffix(']"') in extras
    write_tar(tmp_path / "cc3m/00000.tar", sample("a") + sample("b"))
    write_tar(tmp_path / "cc3m/00001.tar", sample("c"))
    s3(tmp_path / "cc3m", "cc3m")
    words = shlex.split(command.replace("s3://bucket", "s3://corpora").replace("00331", "00001"))[1:]
    words[words.index("RECIPE")] = str(recipes[0])
    code, _, err = run_cli(*words)
    assert code == 0, err
    assert FeatureStore(tmp_path / "out/images").index["key"].to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("line", BLOCKS[1].splitlines())
def test_the_commands_about_corpora(line, prepared, run_cli, tmp_path, monkeypatch):
    """In a cache of its own, with one of the demos prepared and with none; not in this user's own."""
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    if prepared:
        (tmp_path / "cache/demo-quick").mkdir(parents=True)
        (tmp_path / "cache/demo-quick/prepared.json").write_text('{"teacher": {}}')
    code, out, err = run_cli(*shlex.split(line)[1:])
    assert "Traceback" not in err and out and code == (0 if prepared or "demo" not in line else 1)


def test_labels_that_are_names(tmp_path, monkeypatch):
    (block,) = re.findall(r"```toml\n(\[\[corpora\]\]\nname = \"held\".*?)```", GUIDE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("classes.txt").write_text("dog\n caf\u00e9 \nbird\n")
    Image.new("RGB", (40, 40)).save("a.png")
    Path("held.csv").write_text(
        "image,caption,class\na.png,one,cafe\u0301\nb.png,two,\nc.png,three, dog\nd.png,four,café\n"
    )
    corpus = Corpus(**tomllib.loads(block)["corpora"][0])
    found = planned(corpus, tmp_path / "held", print)
    assert found.rows["label"].to_pylist() == [1, None, 0, 1]
    assert found.classes == {"dog": 0, "café": 1, "bird": 2}


def test_classes_by_folder_of_a_table_of_captions(tmp_path, monkeypatch):
    (block,) = re.findall(r"```toml\n(\[\[corpora\]\]\nname = \"in-folders\".*?)```", GUIDE, re.DOTALL)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("dogs/2.jpg", "cats/1.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "photos" / name)
    (tmp_path / "photos/captions.csv").write_text("image,caption\ndogs/2.jpg,a dog\ncats/1.jpg,a cat\n")
    found = planned(Corpus(**tomllib.loads(block)["corpora"][0]), tmp_path / "in-folders", print)
    assert found.classes == {"cats": 0, "dogs": 1} and found.rows["label"].to_pylist() == [1, 0]
    assert found.rows["text"].to_pylist() == ["a dog", "a cat"]


def test_the_corpus_that_the_text_names_is_known():
    (name,) = re.findall(r"`distillkit data check (\w+) --root", GUIDE)
    assert name in manifests.names()
