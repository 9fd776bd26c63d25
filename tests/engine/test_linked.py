"""A store that is a link to where it lies, as on a larger disk: it stays there, and has its lock there."""

import subprocess
import sys

import pytest

from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.claims import Claims
from tests.engine.test_append import grow, read

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def link(tmp_path):
    """out/images, which leads to large/photos, a folder that is empty yet."""
    (tmp_path / "large/photos").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").symlink_to(tmp_path / "large/photos")
    return tmp_path / "out/images"


@pytest.fixture
def run(recipes, run_cli):
    def run(*command):
        code, _, err = run_cli(*command, recipes[0], "--set", 'corpora.0.fields=["image", "text"]')
        assert code == 0, err
        return err

    return run


def test_it_is_begun_continued_and_replaced_there(run, link, corpus):
    run("extract-teacher")
    assert link.is_symlink() and len(FeatureStore(link)) == 70
    assert "already complete" in run("extract-teacher")
    before = read(link)
    grow(corpus, 30)
    err = run("store", "append")
    there = link.resolve()
    assert link.is_symlink() and verify(link) == [] and len(FeatureStore(link)) == 100
    after = read(link)
    assert all((after[key] == row).all() for key, row in before.items())
    (aside,) = there.parent.glob("photos.before-*")
    assert str(aside.name) in err and len(FeatureStore(aside)) == 70
    beside = [path.name for path in link.parent.iterdir() if "images" in path.name]
    assert beside == ["images"], "nothing lies on the smaller disk"


def test_of_two_who_come_by_two_names_one_is_refused(link):
    other = "import sys; from pathlib import Path; from distillkit.store.writing.claims import Claims; "
    other += "Claims(Path(sys.argv[1])).take_all()"
    with Claims(link) as claims:
        claims.take_all()  # a lock is a process's
        told = subprocess.run([sys.executable, "-c", other, str(link.resolve())], capture_output=True, text=True)
    assert "another process is extracting here" in told.stderr
    assert not [path for path in link.parent.iterdir() if path.suffix == ".lock"]
