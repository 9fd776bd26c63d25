"""Stage 1 under bad input and bad luck: damaged images, odd teachers, full disks, two runs at once, sudden deaths."""

import contextlib
import errno
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit import cli
from distillkit.store.format import layout
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system import atomic
from tests.conftest import EXTRACT


@pytest.fixture
def quick_disk(monkeypatch):
    """A killed process loses nothing that the system already has, so no test needs to wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def extract(recipes, run_cli, quick_disk):
    """The command on the toy recipe: (exit code, stderr)."""

    def run(*overrides):
        at = overrides.index("--shard") if "--shard" in overrides else len(overrides)
        settings = [argument for override in overrides[:at] for argument in ("--set", override)]
        settings += overrides[at:]
        code, _, err = run_cli("extract-teacher", recipes[0], *settings)
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def stores(tmp_path):
    return tmp_path / "out"


def checksums(store):
    """Everything a manifest vouches for, and whether it is true."""
    assert verify(store) == []
    return Manifest.read(store).digest


def files(store):
    """Every byte of a store but the log, which holds times."""
    paths = (path for path in store.rglob("*") if path.is_file() and path.name != "extract.jsonl")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def rows(store, keys):
    return store.read("image", store.rows_of(keys)).float().numpy()


# Bad input.


def damage(corpus):
    """Nine images go bad in nine ways; returns their keys."""
    images = corpus / "images"
    good = (images / "001.png").read_bytes()
    (images / "003.png").write_bytes(b"")
    (images / "010.png").write_bytes(good[: len(good) // 2])
    (images / "011.png").write_bytes(b"<html>not found</html>")
    (images / "020.png").unlink()
    (images / "021.png").unlink()
    (images / "021.png").mkdir()
    (images / "030.png").unlink()
    (images / "030.png").symlink_to(images / "030.png")
    Image.new("L", (100_000, 1)).save(images / "040.png")
    bomb = bytearray(good)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    (images / "050.png").write_bytes(bomb)
    (images / "069.png").write_bytes(good[:-1000])
    return [f"images/{n:03d}.png" for n in (3, 10, 11, 20, 21, 30, 40, 50, 69)]


def test_damaged_images_go_to_the_ledger_and_change_nothing_else(extract, corpus, stores):
    assert extract()[0] == 0
    keys = [f"images/{n:03d}.png" for n in range(70)]
    before = dict(zip(keys, rows(FeatureStore(stores / "images"), keys), strict=True))

    bad = damage(corpus)
    shutil.rmtree(stores)
    code, err = extract("corpora.0.max_failures=0.2")
    assert code == 0 and f"9 of 70 samples failed; see: distillkit store failures {stores / 'images'}" in err
    store = FeatureStore(stores / "images")
    assert [line["key"] for line in store.failures()] == bad
    assert all(line["stage"] == "decode" and line["error"] and "\n" not in line["error"] for line in store.failures())
    assert np.isnan(store.read("image", np.setdiff1d(np.arange(70), store.ok_rows)).numpy()).all()

    good = [key for key in keys if key not in bad]
    # Other neighbours in a batch may change the last bits of float32, and so the last bit of float16.
    np.testing.assert_allclose(rows(store, good), np.stack([before[key] for key in good]), rtol=2e-3, atol=1e-4)


def test_too_many_failures_are_exit_code_1_every_time(extract, corpus, stores):
    damage(corpus)
    for _ in range(2):
        code, err = extract("corpora.0.max_failures=0.1")
        assert code == 1 and err.splitlines()[-1].startswith(f"error: {stores / 'images'}: 9 of 70 samples failed")
        assert "more than max_failures = 0.1" in err
    assert checksums(stores / "images")  # the store is complete all the same, and so are the others of the recipe
    assert Manifest.read(stores / "texts").skipped == 0
    assert extract("corpora.0.max_failures=0.13")[0] == 0


def test_a_corpus_without_one_good_image_is_a_store_of_failures(extract, corpus, stores):
    for path in (corpus / "images").iterdir():
        path.write_bytes(b"")
    assert extract()[0] == 1
    store = FeatureStore(stores / "images")
    assert len(store.failures()) == 70 and len(store.ok_rows) == 0


def test_every_kind_of_image_is_extracted(extract, tmp_path, stores):
    folder = tmp_path / "kinds"
    folder.mkdir()
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("P").save(folder / "palette.png", transparency=3)
    colour.save(folder / "animated.gif", save_all=True, append_images=[colour.rotate(90)])
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16)).save(folder / "sixteen.png")
    colour.convert("LA").save(folder / "grey.webp")
    Image.new("RGB", (1, 1)).save(folder / "one.bmp")
    source = f'corpora.0.source={{ kind = "folder", root = "{folder}" }}'
    assert extract(source, 'corpora.0.fields=["image"]')[0] == 0
    store = FeatureStore(stores / "images")
    assert len(store.ok_rows) == 6 and store.read("image", np.arange(6)).isfinite().all()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf_8_is_a_line_in_the_ledger(extract, corpus, stores):
    (corpus / "images" / os.fsdecode(b"caf\xe9.png")).write_bytes((corpus / "images/001.png").read_bytes())
    source = f'corpora.0.source={{ kind = "folder", root = "{corpus}" }}'
    assert extract(source, 'corpora.0.fields=["image"]')[0] == 0
    (line,) = FeatureStore(stores / "images").failures()
    assert line["key"] == r"images/caf\xe9.png" and "not UTF-8" in line["error"]


def test_missing_captions_and_images_are_failures_of_their_rows(extract, corpus, stores):
    table = corpus / "pairs.tsv"
    lines = table.read_text().splitlines()
    lines[5] = "\t" + lines[5].split("\t")[1]
    table.write_text("\n".join(lines))
    assert extract()[0] == 0
    (line,) = FeatureStore(stores / "images").failures()
    assert line == {"key": "images/004.png", "stage": "read", "error": "the sample has no text"}
    code, err = extract('corpora.1.fields=["image"]', "corpora.1.max_failures=0.0")
    assert code == 1 and "160 of 160 samples failed" in err


def test_samples_that_come_twice_are_counted_and_left_out(extract, corpus, stores):
    with (corpus / "pairs.tsv").open("a") as table:
        table.write("again\timages/003.png\nand again\timages/003.png\n")
    code, err = extract()
    assert code == 0 and f"{stores / 'images'}: 2 samples whose key had come before were left out" in err
    manifest = Manifest.read(stores / "images")
    assert manifest.rows == 70 and manifest.source["duplicates"] == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_a_teacher_cannot_say_in_the_stored_type_is_a_failure(extract, stores, monkeypatch, value):
    from distillkit.teachers.openclip import Openclip

    real = Openclip.encode_text

    def odd(self, tokens):
        said = real(self, tokens).clone()
        said[(tokens == self.tokenizer(["7"])[0, 1]).any(dim=1), 3] = value  # every text with a 7 in it
        return said

    monkeypatch.setattr(Openclip, "encode_text", odd)
    monkeypatch.setattr(Openclip, "_trimming_changes_nothing", lambda self: True)
    code, err = extract("corpora.1.max_failures=0.5")
    assert code == 0, err
    store = FeatureStore(stores / "texts")
    failed = {
        text for text, ok in zip(store.index["text"].to_pylist(), store.index["ok"].to_pylist(), strict=True) if not ok
    }
    assert failed == {text for text in store.index["text"].to_pylist() if text.endswith("7")} and len(failed) == 16
    assert {line["error"] for line in store.failures()} == {
        "text: the teacher gave a value that is not finite in float16"
    }
    if value == 1e6:
        assert extract("corpora.1.max_failures=0.0", 'corpora.1.dtype="float32"')[0] == 0


def test_recipes_that_do_not_fit_the_teacher_or_the_store(extract):
    code, err = extract('corpora.0.fields=["image", "logits"]')
    assert code == 1 and "corpus 'images': the teacher gives no 'logits'; it gives: image, text" in err
    code, err = extract("corpora.0.rows_per_shard=100")
    assert code == 1 and "rows_per_shard = 100 does not fit rows of 64 bytes; take a multiple of 64" in err


def test_out_may_use_placeholders(extract, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "elsewhere"))
    assert extract('out="{cache}/stores"')[0] == 0
    assert (tmp_path / "elsewhere/stores/images/manifest.json").is_file()


# The same again.


def test_threads_and_place_of_the_store_change_no_byte(extract, stores, tmp_path):
    assert extract()[0] == 0
    assert extract("decode_threads=5", f'out="{tmp_path}/other"')[0] == 0
    assert files(stores / "images") == files(tmp_path / "other/images")


def test_the_order_of_the_corpus_changes_rows_but_no_key(extract, corpus, stores, tmp_path):
    assert extract()[0] == 0
    header, *lines = (corpus / "pairs.tsv").read_text().splitlines()
    random.Random(0).shuffle(lines)
    (corpus / "pairs.tsv").write_text("\n".join([header, *lines]))
    assert extract(f'out="{tmp_path}/other"')[0] == 0
    keys = [f"images/{n:03d}.png" for n in range(70)]
    one, other = FeatureStore(stores / "images"), FeatureStore(tmp_path / "other/images")
    assert one.index["key"] != other.index["key"]
    np.testing.assert_allclose(rows(one, keys), rows(other, keys), rtol=2e-3, atol=1e-4)


def test_going_back_and_forth_between_recipes_loses_no_store(extract, stores):
    extract()
    first = checksums(stores / "images")
    extract('corpora.0.dtype="float32"')
    extract()
    extract('corpora.0.dtype="float32"')
    kept = [checksums(path) for path in stores.glob("images.before-*")]
    assert len(kept) == 3 and kept.count(first) == 2


def test_the_log_tells_what_each_shard_cost(extract, stores):
    extract()
    lines = [json.loads(line) for line in (stores / "images/extract.jsonl").read_text().splitlines()]
    assert [line["rows"] for line in lines] == [64, 6] and all(line["failed"] == 0 for line in lines)


# Two at once.


@pytest.fixture
def someone(stores):
    """Another process that writes some shards of the image store."""

    @contextlib.contextmanager
    def writing(*shards):
        code = (
            "import sys; from pathlib import Path; from distillkit.store.writing.claims import Claims;"
            f"claims = Claims(Path({str(stores / 'images')!r})); claims.take({list(shards)});"
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
        assert code == 1 and not (stores / "images/commits").exists()
        assert err.splitlines()[-1] == (
            f"error: {stores / 'images'}: another process is extracting shards 1 to 2 here; wait for it or stop it"
        )
        assert "shard 2 here" in extract("--shard", "2/2")[1]
    assert extract()[0] == 0


def test_the_one_who_writes_the_last_shard_completes_the_store(extract, stores, someone, tmp_path):
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    with someone(1):
        code, err = extract()
        assert code == 0 and f"{stores / 'images'}: 1 of 2 shards are to come from others" in err
    assert not (stores / "images/manifest.json").exists()
    assert extract()[0] == 0
    assert files(stores / "images") == files(tmp_path / "whole/images")


def test_another_recipe_does_not_pull_the_store_from_under_a_run(extract, stores, someone):
    extract()
    before = files(stores / "images")
    with someone(1):
        code, err = extract('corpora.0.dtype="float32"')
        assert code == 1 and "another process is extracting here, with another recipe (" in err
    assert files(stores / "images") == before


def test_what_others_have_begun_to_write_stays(extract, stores, someone):
    extract()
    begun = [stores / f"images/index/0000{shard}.arrow{atomic.TEMPORARY}" for shard in (0, 1)]
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


# No disk.


def test_a_full_disk_is_one_line_and_what_is_committed_stays(extract, stores, tmp_path, monkeypatch):
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    real, calls = layout.shard_index, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 4:  # the second field of the second shard
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(layout, "shard_index", full)
    code, err = extract()
    assert code == 1 and "no space left on the disk; what is committed is kept, make room" in err.splitlines()[-1]
    assert sorted(path.name for path in (stores / "images/commits").iterdir()) == ["00000.json"]
    assert not list(stores.rglob(f"*{atomic.TEMPORARY}"))
    code, err = extract()
    assert code == 0 and "70 rows in 2 shards, 1 already committed" in err
    assert files(stores / "images") == files(tmp_path / "whole/images")


def test_a_disk_that_is_really_full(extract, stores, tmp_path, monkeypatch):
    stores.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(stores)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        code, err = extract()
        assert code == 1 and "no space left on the disk" in err.splitlines()[-1]
        assert not list(stores.rglob(f"*{atomic.TEMPORARY}"))
        subprocess.run(["mount", "-o", "remount,size=10m", str(stores)], check=True)
        assert extract()[0] == 0
        extract(f'out="{tmp_path}/whole"')
        assert files(stores / "texts") == files(tmp_path / "whole/texts")
    finally:
        gc.collect()  # plans are mapped files beside the stores; the first run's error still holds one
        subprocess.run(["umount", str(stores)], check=True)


# Kills.


@pytest.fixture
def many_shards(tmp_path, corpus, teacher_folder):
    """A recipe of two images and three text shards, and the digests of an undisturbed run."""
    recipe = tmp_path / "extract.toml"
    recipe.write_text(EXTRACT.format(out=tmp_path / "out", corpus=corpus, teacher=teacher_folder))
    return recipe


def forked(*arguments):
    """The command line in a child of this process, which has everything imported already: it starts in no time."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.fsync = lambda handle: None
        sys.argv = ["distillkit", *map(str, arguments)]
        cli.main()
    except SystemExit as stopped:
        code = stopped.code or 0
    finally:
        os._exit(code)


def run_and_kill(start, arguments, whole_time, draw, rounds, folder, want):
    """Start, kill -9 at a random instant, again and again; a store that was finished is compared and begun anew."""
    kills = 0
    while kills < rounds:
        child, instant = start(*arguments), draw.random() * whole_time
        deadline = time.monotonic() + instant
        while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
        if done == (0, 0):
            os.kill(child, signal.SIGKILL)
            kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if all((folder / name / "manifest.json").is_file() for name in want):
            assert {name: checksums(folder / name) for name in want} == want
            shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_instant_and_run_again_it_is_the_same_store(many_shards, run_cli, tmp_path, quick_disk):
    torch.set_num_threads(1)
    started = time.monotonic()
    os.waitpid(forked("extract-teacher", many_shards, "--set", f'out="{tmp_path}/whole"'), 0)
    whole_time = time.monotonic() - started
    whole = {name: files(tmp_path / "whole" / name) for name in ("images", "texts")}
    want = {name: checksums(tmp_path / "whole" / name) for name in whole}

    arguments, draw = ("extract-teacher", many_shards), random.Random(0)
    run_and_kill(forked, arguments, whole_time, draw, 15, tmp_path / "out", want)
    code, _, err = run_cli(*arguments)
    assert code == 0, err
    assert {name: files(tmp_path / "out" / name) for name in whole} == whole


@pytest.mark.slow
def test_the_command_itself_killed_fifty_times(many_shards, tmp_path):
    command = [sys.executable, "-c", "from distillkit.cli import main; main()", "extract-teacher", str(many_shards)]
    started = time.monotonic()
    subprocess.run([*command, "--set", f'out="{tmp_path}/whole"'], check=True, capture_output=True)
    whole_time = time.monotonic() - started
    want = {name: checksums(tmp_path / "whole" / name) for name in ("images", "texts")}

    def start():
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid

    run_and_kill(start, (), whole_time, random.Random(0), 50, tmp_path / "out", want)
    subprocess.run(command, check=True, capture_output=True)
    assert {name: checksums(tmp_path / "out" / name) for name in want} == want


STOPPING = """
import os, signal, sys, threading, time
from distillkit import cli
from distillkit.teachers import _preprocess
from distillkit.store.writing.writer import StoreWriter
from distillkit.teachers.openclip import Openclip
commit, decode, forward, calls = StoreWriter.commit, _preprocess.decode, Openclip.forward, []
def slowly(path):
    print("decoding", file=open({log!r}, "a"), flush=True)
    time.sleep({decode})
    return decode(path)
def slow_commit(self, *shard):
    print("committing", file=open({log!r}, "a"), flush=True)
    time.sleep({commit})
    commit(self, *shard)
def and_stop(self, **inputs):
    calls.append(1)
    if len(calls) == {call}:
        if {again}:
            threading.Timer({again}, os.kill, (os.getpid(), signal.SIGINT)).start()
        os.kill(os.getpid(), signal.SIGINT)
    return forward(self, **inputs)
_preprocess.decode, StoreWriter.commit, Openclip.forward = slowly, slow_commit, and_stop
sys.argv = ["distillkit", "extract-teacher", {recipe!r}, "--set", "corpora.0.batch_size=2",
            "--set", 'corpora.0.fields=["image"]']
cli.main()
"""


@pytest.fixture
def stopped(many_shards, tmp_path):
    """An extraction that is sent Ctrl-C at its forward number `call`: (exit code, stderr, what it logged, seconds)."""

    def run(call, decode=0.0, commit=0.0, again=0.0):
        log = tmp_path / "log"
        code = STOPPING.format(
            log=str(log), recipe=str(many_shards), decode=decode, commit=commit, call=call, again=again
        )
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr and done.stdout == ""
        return done.returncode, done.stderr, log.read_text().splitlines(), time.monotonic() - started

    return run


def test_ctrl_c_finishes_the_shard_that_is_being_written_and_the_next_run_goes_on(
    stopped, many_shards, run_cli, stores
):
    """Ctrl-C during the first forward of the second shard, while the first one is still on its way to the disk."""
    code, err, log, _ = stopped(33, commit=1.0)
    assert code == 130 and err.splitlines()[-2] == "stopped; everything committed is kept, the same command continues"
    assert log.count("committing") == 1 and (stores / "images/commits/00000.json").is_file()
    assert not list(stores.rglob(f"*{atomic.TEMPORARY}"))
    arguments = ("--set", "corpora.0.batch_size=2", "--set", 'corpora.0.fields=["image"]')
    code, _, err = run_cli("extract-teacher", many_shards, *arguments)
    assert code == 0 and "70 rows in 2 shards, 1 already committed" in err
    assert (stores / "images/manifest.json").is_file()


def test_ctrl_c_drops_the_shard_that_is_being_computed_and_what_is_queued(stopped, stores):
    """At the second forward: two batches of two were shown, one waits, four images are under way; 60 never are."""
    code, _, log, _ = stopped(2, decode=0.1)
    assert code == 130 and log.count("decoding") <= 12
    assert not list((stores / "images").glob("commits/*")) and not list(stores.rglob(f"*{atomic.TEMPORARY}"))


def test_a_second_ctrl_c_stops_at_once(stopped, stores):
    code, _, log, seconds = stopped(33, commit=40.0, again=0.5)
    assert code == -signal.SIGINT and log.count("committing") == 1 and seconds < 30
