"""What the numbers of int8 fields mean is measured once: an extraction that goes on notices where it is another."""

import pytest

from distillkit.engine.local import LocalEngine
from distillkit.store.upkeep.verify import verify
from tests.conftest import draw
from tests.store.upkeep.test_verify import flip

pytestmark = pytest.mark.usefixtures("quick_disk")
INT8 = ("corpora.0.rows_per_shard=128", 'corpora.0.dtypes={ image = "int8" }')


@pytest.fixture
def corpus(tmp_path):
    """Of two shards."""
    return draw(tmp_path / "corpus", 150)


@pytest.fixture
def store(extract, stores):
    assert extract(*INT8)[0] == 0
    return stores / "images"


def begun(store):
    """As a kill left it: one of its two shards is committed."""
    for name in ("manifest.json", "checksums.json", "commits/00001.json"):
        (store / name).unlink()


def files(store):
    """All that is of the store itself."""
    paths = (path for path in store.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".lock"))
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths if path.parent.name != "stamps"}


@pytest.mark.parametrize("damage", [lambda path: flip(path, 3), lambda path: flip(path, 200), lambda p: p.unlink()])
@pytest.mark.parametrize("whole", [False, True], ids=["begun", "complete"])
def test_what_is_lost_is_measured_again_and_is_what_it_was(extract, store, damage, whole):
    wanted, path = files(store), store / "openclip/image.steps/c/0/0"
    if not whole:
        begun(store)
    damage(path)
    code, err = extract(*INT8)
    told = f"{store}: what the numbers of openclip/image mean is lost or damaged; measured again"
    assert code == 0 and told in err and files(store) == wanted and verify(store) == []
    assert (f"{store}: already complete" in err) is whole


def test_where_another_range_is_measured_nothing_goes_on(extract, store, monkeypatch):
    """Such as on a machine that computes other bits: rows that are committed would mean something else."""
    begun(store)
    flip(store / "openclip/image.steps/c/0/0", 3)
    before = files(store)
    real = LocalEngine.measured
    monkeypatch.setattr(LocalEngine, "measured", lambda self, job, plan, say: real(self, job, plan.slice(0, 7), say))
    code, err = extract(*INT8)
    assert code == 1 and err.splitlines()[-1].endswith(
        f"{store}/openclip/image.steps/c/0/0: missing or damaged, and int8 rows mean nothing without it; restore it, "
        "or move the store away and make it again"
    )
    assert files(store) == before


def test_an_older_store_that_was_begun_goes_on_without_checksums_of_its_steps(extract, store):
    wanted = files(store)
    begun(store)
    (store / "steps.json").unlink()
    code, err = extract(*INT8)
    assert code == 0 and "measured again" not in err
    assert files(store) == {name: content for name, content in wanted.items() if name != "steps.json"}


def test_images_that_the_range_is_measured_without_are_told(extract, stores, corpus):
    """Whatever kept them from being read, which may be the machine's and no fault of theirs."""
    (corpus / "images/002.png").unlink()
    (corpus / "images/002.png").mkdir()
    (corpus / "images/004.png").write_bytes(b"no picture")
    code, err = extract(*INT8, "corpora.0.max_failures=0.1")
    (line,) = (line for line in err.splitlines() if "the range is measured without" in line)
    assert code == 0 and line.startswith(
        f"{stores / 'images'}: the range is measured without 2 of them, which have no features (the first, "
        "images/002.png: "
    )
    assert "002.png" in line.partition("images/002.png: ")[2] and line.endswith(
        "); if they can be read later, their values may lie beyond it"
    )
