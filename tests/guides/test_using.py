"""Every block of docs/using.md runs as written, over a run that nobody had to train."""

import io
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import distillkit
from tests.embedding.conftest import STUDENTS, make_run

PAGE = (Path(__file__).parents[2] / "docs/using.md").read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory, toy_stores):
    folder = tmp_path_factory.mktemp("using")
    shutil.copytree(toy_stores / "corpus/images", folder / "photos")
    (folder / "stores").mkdir()
    shutil.copytree(toy_stores / "out", folder / "stores/mine")
    (folder / "runs").mkdir()
    make_run(folder / "runs/mine", STUDENTS["image"], toy_stores / "out")
    (folder / "sentences.txt").write_text("a red bicycle\na cat\n")
    return folder


@pytest.fixture
def there(built, monkeypatch):
    monkeypatch.chdir(built)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(built / "cache"))
    return built


def lines():
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        yield from (line.split("  #")[0].strip() for line in block.splitlines())


@pytest.mark.parametrize("line", list(lines()))
def test_commands_run_as_written(there, run_cli, line, monkeypatch):
    if line.startswith("find "):
        names = "".join(f"{path}\n" for path in sorted((there / "photos").glob("*.png")))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
        line = line.partition(" | ")[2]
    program, *words = shlex.split(line)
    code, out, err = run_cli(*words)
    assert program == "distillkit" and code == 0 and out, err
    for made in re.findall(r"\w+\.(?:npy|parquet|html)", line):
        assert Path(made).is_file()


def test_python_runs_as_written(there, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, names := {})
    found, made = capsys.readouterr().out.splitlines()
    assert found.startswith("photos/") and made == "40 {}"
    assert names["network"] is names["student"].module


def test_the_table_has_every_function():
    told = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| command | function |") :].replace("`store ", "`")))
    assert set(distillkit.__all__) - {"FeatureStore", "load_student"} <= told
