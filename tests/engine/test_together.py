"""Stage 1 by several processes at once, and in parts: one store, each shard written once."""

import contextlib
import subprocess
import sys

import pytest

from distillkit.errors import StoreError
from distillkit.store.writing.claims import Claims
from distillkit.system.temporary import TEMPORARY
from tests.engine.whole import files


@pytest.fixture
def someone(stores):
    """Another process that writes some shards of the image store."""

    @contextlib.contextmanager
    def writing(*shards):
        code = (
            "import sys; from pathlib import Path; from distillkit.store.writing.claims import Claims;"
            f"claims = Claims(Path({str(stores / 'images')!r})); list(map(claims.try_one, {list(shards)}));"
            "print(flush=True); input()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            try:
                yield process
            finally:
                process.kill()

    return writing


def test_a_second_process_on_the_same_shards_is_turned_away(extract, stores, someone):
    with someone(0, 1):
        code, err = extract()
        assert code == 1 and "loading" not in err and not (stores / "images/plan.json").exists()
        assert err.splitlines()[-1] == (
            f"error: {stores / 'images'}: another process is extracting shards 1 to 2 here; wait for it or stop it"
        )
        err = extract("--shard", "2/2")[1]
        assert "shard 2 here" in err and "loading" not in err
    with someone(1):  # the other part of a store that was begun
        assert extract("--shard", "1/2")[0] == 0
        err = extract()[1]
        assert "shard 2 here" in err and "loading" not in err
    assert extract()[0] == 0


def test_all_shards_are_claimed_together_or_none(stores, someone):
    """Of two appends that begin together each would else have some, and both go on."""
    stores.mkdir(parents=True, exist_ok=True)
    with Claims(stores / "images") as claims:
        with someone(1):
            with pytest.raises(StoreError, match=r"images: another process is extracting here; wait for it or stop it"):
                claims.take_all()
            check = "import sys; from pathlib import Path; from distillkit.store.writing.claims import Claims;"
            check += f"sys.exit(not Claims(Path({str(stores / 'images')!r})).try_one(0))"
            assert subprocess.run([sys.executable, "-c", check]).returncode == 0, "it has kept some"
        claims.take_all()
        assert subprocess.run([sys.executable, "-c", check]).returncode == 1


def test_the_one_who_writes_the_last_shard_completes_the_store(extract, stores, someone, tmp_path):
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    with someone(1):
        code, err = extract()
        assert code == 0 and f"{stores / 'images'}: 1 of 2 shards left to other processes" in err
    assert not (stores / "images/manifest.json").exists()
    assert extract()[0] == 0
    assert files(stores / "images") == files(tmp_path / "whole/images")


def test_a_machine_that_joins_late_takes_the_shards_that_nobody_has_come_to(extract, stores, tmp_path):
    """A run claims a shard when its turn comes, not all of them when it begins."""
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    code = (
        "from pathlib import Path; from distillkit.store.writing.claims import Claims;"
        f"claims = Claims(Path({str(stores / 'images')!r})); lease = claims.leased(range(2), lambda shard: False);"
        "print(lease.at(0), flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as early:
        assert early.stdout.readline() == b"0\n"
        code, err = extract()
        assert code == 0 and f"{stores / 'images'}: 1 of 2 shards left to other processes" in err
        assert [path.name for path in (stores / "images/commits").iterdir()] == ["00001.json"]
        early.kill()
    assert extract()[0] == 0
    assert files(stores / "images") == files(tmp_path / "whole/images")


def test_all_who_go_through_a_lease_see_the_same_shards_and_none_that_was_done_meanwhile(tmp_path):
    with Claims(tmp_path / "store") as claims:
        done = {1}
        lease = claims.leased(range(5), done.__contains__)
        assert lease.wanted == [0, 2, 3, 4]
        first, second = iter(lease), iter(lease)
        assert [next(first), next(first)] == [0, 2] and next(second) == 0
        done.add(3)
        assert list(first) == [4] and list(second) == [2, 4]


def test_another_recipe_does_not_pull_the_store_from_under_a_run(extract, stores, someone):
    extract()
    before = files(stores / "images")
    with someone(1):
        assert "to extract anew means " in extract('corpora.0.dtype="float32"')[1]
        code, err = extract('corpora.0.dtype="float32"', "--overwrite")
        assert code == 1 and "another process is extracting here, with another recipe (" in err
    assert files(stores / "images") == before


def test_what_others_have_begun_to_write_stays(extract, stores, someone):
    extract()
    begun = [stores / f"images/index/0000{shard}.arrow{TEMPORARY}" for shard in (0, 1)]
    (stores / "images/manifest.json").unlink()
    (stores / "images/commits/00000.json").unlink()
    begun[1].write_bytes(b"half")
    with someone(1):
        extract()
        assert begun[1].exists()
    (stores / "images/manifest.json").unlink()
    extract()
    assert not begun[1].exists()


# Parts.


@pytest.mark.parametrize("order", [("1/3", "2/3", "3/3"), ("3/3", "1/3", "2/3")])
def test_parts_in_one_folder_are_the_store_of_one_run(extract, stores, tmp_path, order):
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    for part in order:
        code, err = extract("--shard", part)
        assert code == 0
        assert (f"part {part} is done" in err) == (part != order[-1])
    for name in ("images", "texts"):
        assert files(stores / name) == files(tmp_path / "whole" / name)
        assert (stores / name / "manifest.json").read_bytes() == (
            tmp_path / "whole" / name / "manifest.json"
        ).read_bytes()


def test_parts_in_folders_of_their_own_are_merged_to_the_same_bytes(extract, run_cli, stores, tmp_path):
    assert extract()[0] == 0
    for part in (1, 2):
        assert extract(f'out="{tmp_path}/part{part}"', "--shard", f"{part}/2")[0] == 0
    parts = [tmp_path / f"part{part}/texts" for part in (2, 1)]
    assert run_cli("store", "merge", tmp_path / "merged/texts", *parts)[0] == 0
    assert files(tmp_path / "merged/texts") == files(stores / "texts")
    code, _, err = run_cli("store", "merge", tmp_path / "half/texts", parts[0])
    assert code == 1 and "shards are in none of the parts" in err


@pytest.mark.slow
def test_parts_that_run_at_the_same_time_make_the_same_store(recipes, extract, stores, tmp_path):
    """Two parts at once, one of them twice: the second of a kind is turned away or finds nothing left to do."""
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    command = [sys.executable, "-m", "distillkit", "extract-teacher", str(recipes[0]), "--shard"]
    runs = [subprocess.Popen([*command, part], stderr=subprocess.PIPE, text=True) for part in ("1/2", "2/2", "2/2")]
    for run in runs:
        _, err = run.communicate(timeout=300)
        assert run.returncode == 0 or "another process is extracting shard" in err.splitlines()[-1], err
    for part in ("1/2", "2/2"):  # who was turned away from one corpus has not come to the next
        assert extract("--shard", part)[0] == 0
    for name in ("images", "texts"):
        assert files(stores / name) == files(tmp_path / "whole" / name)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_parts_that_are_none_are_a_usage_error(recipes, run_cli, part):
    code, _, err = run_cli("extract-teacher", recipes[0], f"--shard={part}")
    assert code == 2 and "is not one of 1/N, 2/N, ..., N/N" in err
