"""Stores in a bucket of a real S3 server: written shard by shard, continued by any machine, read through a cache."""

import inspect
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

import distillkit
from distillkit.callable import CallableModule, public
from distillkit.cli.console import say
from distillkit.errors import StoreError
from distillkit.mining.job import Job
from distillkit.recipe import MineRecipe
from distillkit.store.bucket.remote import local, origin, shown, workplace
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system.refusals import NotWritable, as_of_a_disk
from distillkit.system.remote import Remote
from distillkit.testing.promise import must
from tests.conftest import draw
from tests.servers import bad_line, serving

URL = "s3://corpora/stores/store"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def another_machine(cache):
    shutil.rmtree(cache, ignore_errors=True)


def bucket(s3, prefix="corpora/stores"):
    """Every file below a prefix and its bytes, but the log, which holds times."""
    names = s3.bucket.find(prefix)
    files = {name.removeprefix(f"{prefix}/"): s3.bucket.cat_file(name) for name in names}
    return {name: content for name, content in files.items() if not name.endswith("extract.jsonl")}


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def toy_there(make_toy, s3):
    """A toy whose store goes to the bucket."""
    return make_toy(path=workplace("s3://corpora/stores") / "store")


def test_the_bucket_holds_what_the_disk_would(make_toy, toy_there, s3, tmp_path):
    make_toy(path=tmp_path / "here/store").write()
    toy_there.write()
    assert bucket(s3) == files(tmp_path / "here")
    assert shown(toy_there.path) == URL
    kept = sum(path.stat().st_size for path in toy_there.path.rglob("*/c/*/*") if path.is_file())
    assert kept == 0  # the shards went


def test_rows_are_read_through_the_cache_and_fetched_once(toy_there, s3, cache, monkeypatch):
    toy_there.write()
    another_machine(cache)
    store = FeatureStore(URL)
    assert store.read("patches", np.array([149 - 149, 10, 100])).numpy().tobytes() == (
        toy_there.arrays["toy/patches"][[0, 10, 100]].tobytes()
    )
    assert not (store.path / "toy/image").exists()  # nobody asked for it
    assert store.index["key"].to_pylist() == toy_there.keys
    assert {line["key"] for line in store.failures()} == {"k0003", "k0070", "k0149"}
    assert len(store.ok_rows) == 147

    again = pickle.loads(pickle.dumps(store))  # noqa: S301
    s3.bucket.rm("corpora/stores/store/toy", recursive=True)
    assert again.read("patches", np.array([10])).equal(store.read("patches", np.array([10])))
    assert FeatureStore(URL).path == store.path
    with pytest.raises(StoreError, match=r"s3://corpora/stores/store/toy/image/c/0/0: cannot be fetched"):
        again.read("image", np.array([10]))


def test_damage_on_the_way_is_never_a_row(toy_there, s3, cache):
    toy_there.write()
    name = "corpora/stores/store/toy/image/c/1/0"
    content = bytearray(s3.bucket.cat_file(name))
    content[100] ^= 1
    s3.bucket.pipe_file(name, bytes(content))
    with pytest.raises(StoreError, match=r"toy/image/c/1/0 is damaged; run: distillkit store verify s3://corpora"):
        FeatureStore(URL).read("image", np.array([10, 80, 140]))
    np.testing.assert_array_equal(FeatureStore(URL).read("image", [10])[0], toy_there.arrays["toy/image"][10])
    assert [path.name for path in (local(URL) / "toy/image/c").glob("*/*") if path.is_file()].count("0") == 2
    problems = verify(local(URL))
    assert len(problems) == 1 and "toy/image/c/1/0: sha256" in problems[0]


def test_verify_looks_at_the_bucket_not_at_the_cache(toy_there, s3):
    toy_there.write()
    FeatureStore(URL).read("image", np.array([10]))
    assert verify(local(URL)) == []
    for name in ("index/00000.arrow", "toy/image/zarr.json", "plan.arrow"):
        s3.bucket.rm(f"corpora/stores/store/{name}")
    assert [problem.partition(": ")[2][:7] for problem in verify(local(URL))] == ["missing"] * 3


def test_another_store_at_the_same_url_is_another_mirror(make_toy, toy_there, s3):
    toy_there.write()
    one = FeatureStore(URL)
    s3.bucket.rm("corpora/stores", recursive=True)
    make_toy(rows=200, path=toy_there.path).write()
    other = FeatureStore(URL)
    assert len(other) == 200 and len(one) == 150 and one.path != other.path
    assert other.digest != one.digest


@pytest.mark.parametrize("rows", [200, 100])
def test_who_reads_one_store_while_another_takes_its_place_is_told_so(make_toy, toy_there, s3, rows):
    """And not that the other one, whose files are sound, is damaged. What came before is read on."""
    toy_there.write()
    one = FeatureStore(URL)
    before = one.read("image", np.array([10]))
    s3.bucket.rm("corpora/stores", recursive=True)
    make_toy(rows=rows, path=toy_there.path).write()
    with pytest.raises(StoreError, match=r"another store took its place since it was opened .*; run the same command"):
        one.read("image", np.array([140]))
    assert torch.equal(one.read("image", np.array([10])), before)
    assert verify(local(URL)) == []


def test_additions_come_and_change(make_toy, toy_there, s3):
    from distillkit.store.format.manifest import Field

    toy_there.write()
    assert set(FeatureStore(URL).teachers) == {"toy"}

    def add(seed):
        more = make_toy(path=toy_there.path / "added/more")
        more.arrays = {"more/image": np.full((150, 32), seed, np.float16)}
        more.write(
            fields={"more/image": Field(teacher="more", shape=[32], dtype="float16")},
            identity={"teachers": {"more": {"model": "more", "weights_sha256": str(seed)}}},
        )

    add(1)
    store = FeatureStore(URL, teacher="more")
    assert float(store.read("image", np.array([5]))[0, 0]) == 1
    s3.bucket.rm("corpora/stores/store/added", recursive=True)
    add(2)
    assert float(FeatureStore(URL, teacher="more").read("image", np.array([5]))[0, 0]) == 2


def test_any_machine_continues_and_does_nothing_twice(make_toy, toy_there, s3, cache, tmp_path):
    make_toy(path=tmp_path / "here/store").write()
    writer = toy_there.writer()
    writer.begin()
    toy_there.commit(writer, 0)
    toy_there.commit(writer, 2)
    with pytest.raises(StoreError, match="no complete feature store"):
        FeatureStore(URL)
    another_machine(cache)

    workplace("s3://corpora/stores")
    writer = toy_there.writer()
    assert [writer.committed(shard) for shard in range(3)] == [True, False, True]
    writer.begin()
    toy_there.commit(writer, 1)
    writer.finish({"toy": "1"})
    assert bucket(s3) == files(tmp_path / "here")


def test_two_machines_share_a_store(toy_there, s3, cache, monkeypatch, tmp_path):
    one = toy_there.writer()
    one.begin()
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "other"))
    toy_there.path = workplace("s3://corpora/stores") / "store"
    other = toy_there.writer()
    other.begin()
    toy_there.commit(other, 1)
    toy_there.commit(other, 2)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(cache))
    toy_there.commit(one, 0)
    assert not one.committed(1)
    one.refresh()
    assert one.committed(1) and one.committed(2)
    one.finish({"toy": "1"})
    assert verify(local(URL)) == []


def test_of_two_recipes_that_begin_at_once_the_first_has_the_place(toy_there, make_toy, s3, monkeypatch, tmp_path):
    one = toy_there.writer()
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "other"))
    larger = make_toy(rows=200, path=workplace("s3://corpora/stores") / "store")
    other = larger.writer()
    other.begin()
    there = bucket(s3)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StoreError, match="another process has begun a store of another recipe here; stop it, or"):
        one.begin()
    must("A writer that finds one of them with another plan must touch nothing", bucket(s3) == there)


def test_who_began_and_was_killed_is_named(toy_there, make_toy, s3, monkeypatch, tmp_path):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as killing, pytest.raises(Killed):
        killing.setattr("distillkit.store.bucket.remote.Origin.push", kill)
        toy_there.writer().begin()
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "other"))
    larger = make_toy(rows=200, path=workplace("s3://corpora/stores") / "store")
    with pytest.raises(StoreError, match=r"where none runs any more, remove s3://corpora/stores/store/begins.json"):
        larger.writer().begin()
    make_toy(path=larger.path).writer().begin()
    assert "corpora/stores/store/begins.json" not in s3.bucket.find("corpora/stores")


def test_a_listing_that_is_behind_takes_nothing_back(toy_there, s3, monkeypatch):
    sizes, late = Remote.sizes, ("commits/00001.json", "toy/image/c/0/0", "plan.json")
    writer = toy_there.writer()
    writer.begin()
    toy_there.commit(writer, 0)
    toy_there.commit(writer, 1)
    lagging = lambda remote: {name: size for name, size in sizes(remote).items() if name not in late}  # noqa: E731
    monkeypatch.setattr(Remote, "sizes", lagging)
    writer.refresh()
    kept = [writer.committed(shard) for shard in range(3)] == [True, True, False] and writer.mend() == []
    sentence = "A file that a bucket's listing lacks, or tells otherwise, must be asked for by its name"
    must(sentence, kept)
    assert toy_there.writer(identity={"batch_size": 3}).previous_identity() == writer.identity


def test_a_commit_that_another_machine_took_back_is_not_believed(toy_there, s3):
    writer = toy_there.writer()
    writer.begin()
    toy_there.commit(writer, 0)
    s3.bucket.rm("corpora/stores/store/commits/00000.json")
    writer.refresh()
    assert not writer.committed(0)


def test_a_manifest_has_the_commits_that_are_there(toy_there, s3, monkeypatch, tmp_path):
    """Another machine made a shard again, and its rows are others: an image was mended."""
    one = toy_there.writer()
    one.begin()
    for shard in range(3):
        toy_there.commit(one, shard)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "other"))
    here, toy_there.path = toy_there.path, workplace("s3://corpora/stores") / "store"
    other = toy_there.writer()
    other.forget(0)
    toy_there.failed.pop(3)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StoreError, match=r"commits/00000.json: another process has taken that shard back"):
        one.finish({"toy": "1"})
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "other"))
    toy_there.commit(other, 0)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    assert one.path == here and one.finish({"toy": "1"}).skipped == 2
    assert verify(local(URL)) == []


def test_lost_files_are_made_again(toy_there, s3, cache):
    toy_there.write()
    want = bucket(s3)
    s3.bucket.rm("corpora/stores/store/toy/text/c/1/0")
    another_machine(cache)
    workplace("s3://corpora/stores")
    writer = toy_there.writer()
    assert writer.finished() and writer.mend() == [1] and not writer.finished()
    toy_there.write()
    assert bucket(s3) == want


def test_another_recipe_is_refused_and_readers_write_nothing(toy_there, s3):
    toy_there.write()
    writer = toy_there.writer(identity={"batch_size": 3})
    with pytest.raises(StoreError, match=r"s3://corpora/stores/store: holds a store of another recipe, and a bucket"):
        writer.set_aside()
    toy_there.path = local(URL)
    with pytest.raises(StoreError, match="stores behind a URL are written by extract-teacher alone"):
        toy_there.writer()


def test_a_bad_line_changes_nothing(make_toy, toy_there, s3, s3_server, impatient, monkeypatch, tmp_path, cache):
    make_toy(path=tmp_path / "here/store").write()

    def dropped(number, path):
        return "at once" if number == 1 or random.Random(number).random() < 0.15 else None

    with serving(bad_line(s3_server, dropped)) as bad:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
        toy_there.write()
        assert bucket(s3) == files(tmp_path / "here")
        another_machine(cache)
        rows = FeatureStore(URL).read("image", np.arange(60)).numpy()
        failed = np.arange(60) == 3
        np.testing.assert_array_equal(rows[~failed], toy_there.arrays["toy/image"][:60][~failed])


def test_paths_stay_paths(tmp_path):
    assert local("a/b") == Path("a/b") and local(tmp_path) == tmp_path and local(tmp_path.as_uri()) == tmp_path
    assert workplace("a/b") == Path("a/b") and workplace(tmp_path.as_uri()) == tmp_path
    assert origin(tmp_path) is None and shown(Path("a/b")) == "a/b"


def extraction(recipe, out):
    command = [
        sys.executable,
        "-c",
        "from distillkit.cli import main; main()",
        "extract-teacher",
        str(recipe),
        "--set",
        f'out="{out}"',
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_at_any_instant_and_continued_by_another_machine(recipes, s3, cache, kills, run_cli):
    recipe, _ = recipes
    code, _, err = run_cli("extract-teacher", recipe, "--set", 'out="s3://corpora/want"')
    assert code == 0, err
    want = bucket(s3, "corpora/want")
    chance = random.Random(kills)
    for _ in range(kills):
        running = extraction(recipe, "s3://corpora/killed")
        # At any number of files, and then at any instant until the next; a run may have come to its end before.
        there = chance.randrange(min(len(bucket(s3, "corpora/killed")), len(want) - 1), len(want))
        while running.poll() is None and len(s3.bucket.find("corpora/killed")) < there:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.1))
        running.send_signal(signal.SIGKILL)
        running.communicate()
        another_machine(cache)
    code, out, err = run_cli("extract-teacher", recipe, "--set", 'out="s3://corpora/killed"')
    assert code == 0, err
    assert out.split() == ["s3://corpora/killed/images", "s3://corpora/killed/texts"]
    assert bucket(s3, "corpora/killed") == want
    assert run_cli("store", "verify", "s3://corpora/killed/images")[0] == 0
    assert "already complete" in run_cli("extract-teacher", recipe, "--set", 'out="s3://corpora/killed"')[2]


def test_students_are_trained_from_a_bucket(recipes, s3, cache, run_cli):
    extract, train = recipes
    assert run_cli("extract-teacher", extract, "--set", 'out="s3://corpora/out"')[0] == 0
    another_machine(cache)
    knobs = ['data.images="s3://corpora/out/images"', 'data.texts="s3://corpora/out/texts"', "optim.epochs=1"]
    code, _, err = run_cli("train-student", train, *(part for knob in knobs for part in ("--set", knob)))
    assert code == 0, err
    code, out, _ = run_cli("store", "info", "s3://corpora/out/images")
    assert code == 0 and "70 rows" in out
    assert Manifest.read(local("s3://corpora/out/images")).rows == 70
    assert os.environ["DISTILLKIT_CACHE"] == str(cache)


def test_any_machine_continues_a_store_of_int8(recipes, s3, cache, run_cli):
    for part in ("1/2", "2/2"):
        knobs = ['out="s3://corpora/out"', 'corpora.0.dtype="int8"', "corpora.0.rows_per_shard=128"]
        code, _, err = run_cli(
            "extract-teacher", recipes[0], *(one for knob in knobs for one in ("--set", knob)), "--shard", part
        )
        assert code == 0, err
        another_machine(cache)
    assert verify(local("s3://corpora/out/images")) == []


def test_int8_fields_are_read_with_their_steps(recipes, s3, cache, run_cli, tmp_path):
    extract, _ = recipes
    for out in ("s3://corpora/out", tmp_path / "near"):
        knobs = [f'out="{out}"', 'corpora.0.dtype="int8"', "corpora.0.rows_per_shard=128"]
        code, _, err = run_cli("extract-teacher", extract, *(part for knob in knobs for part in ("--set", knob)))
        assert code == 0, err
    another_machine(cache)
    far, near = FeatureStore("s3://corpora/out/images"), FeatureStore(tmp_path / "near/images")
    assert far.field("image").dtype == "int8" and far.digest == near.digest
    assert far.read("image", near.ok_rows).equal(near.read("image", near.ok_rows))
    assert verify(far.path) == []


def test_names_of_classes_are_there_too(tmp_path, teacher_folder, s3, cache, run_cli):
    for name in ("cat", "dog"):
        draw(tmp_path / "photos" / name, 3)
    recipe = tmp_path / "classes.toml"
    recipe.write_text(
        f'name = "toy"\nout = "s3://corpora/classes"\n'
        f'teacher = {{ kind = "openclip", model = "local-dir:{teacher_folder}" }}\n'
        f'[[corpora]]\nname = "images"\nfields = ["image"]\n'
        f'source = {{ kind = "folder", root = "{tmp_path / "photos"}", classes = true }}\n'
    )
    code, _, err = run_cli("extract-teacher", recipe)
    assert code == 0, err
    another_machine(cache)
    there = FeatureStore(local("s3://corpora/classes/images"))
    assert there.class_numbers == {"cat": 0, "dog": 1}


def test_a_view_is_of_the_bucket_whatever_becomes_of_the_cache(toy_there, s3, cache, tmp_path, run_cli):
    toy_there.write()
    url, view = URL, tmp_path / "view"
    code, _, err = run_cli("store", "view", url, view, "--rows", "3:9")
    assert code == 0 and f"{view}: 5 rows of {url}, digest" in err and str(cache) not in err
    assert json.loads((view / "view.json").read_text())["store"] == url
    another_machine(cache)
    moved = (tmp_path / "another/place").absolute()
    moved.parent.mkdir()
    view.rename(moved)
    with pytest.raises(StoreError, match=rf"is a view of {url}, which .* open it once: distillkit store info {url}$"):
        FeatureStore(moved)
    assert run_cli("store", "info", url)[0] == 0
    store = FeatureStore(moved)
    rows = store.ok_rows
    assert set(rows) <= set(range(3, 9)) and len(rows)
    np.testing.assert_array_equal(store.read("image", rows).numpy(), toy_there.arrays["toy/image"][rows])
    for asked in (("info", moved), ("info", url), ("verify", url)):
        _, out, err = run_cli("store", *asked)
        assert url in out + err and str(cache) not in out + err, asked


def test_neighbours_for_a_bucket_are_refused_before_they_are_sought(toy_there, s3, monkeypatch):
    toy_there.write()
    recipe = MineRecipe(name="near", queries=URL, corpus=URL, field="image", corpus_field="image", k=2)
    with pytest.raises(StoreError, match=rf"^{URL}: .*copy it to a disk, and name the copy as `queries`$"):
        Job.of(recipe)


def test_a_bucket_that_cannot_be_written_is_told_with_what_to_do(make_toy, s3, monkeypatch):
    with pytest.raises(StoreError, match=r"^s3://nowhere/\S+: cannot be written, there is no such bucket; make it, or"):
        make_toy(path=workplace("s3://nowhere/stores") / "store").write()

    class Denied:
        def __getattr__(self, name):
            return getattr(s3.bucket, name)

        def put_file(self, file, path, mode="overwrite"):
            raise PermissionError("Access Denied")

    monkeypatch.setattr(Remote, "_filesystem", lambda remote: (Denied(), remote.url.removeprefix("s3://")))
    with pytest.raises(StoreError, match=r"^s3://\S+: Access Denied; get the right to write there, or name another"):
        make_toy(path=workplace("s3://corpora/stores") / "store").write()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("NoSuchBucket", "cannot be written, there is no such bucket; make it, or name another place"),
        ("404", "cannot be written, there is no such bucket; make it, or name another place"),
        ("NoSuchKey", "cannot be written, the server answers NoSuchKey; name another place"),
        ("AccessDenied", "so it is; get the right to write there, or name another place"),
        ("RequestTimeTooSkewed", "so it is; set this machine's clock, or name another place"),
        ("ExpiredToken", "so it is; sign in again, or bring new keys, or name another place"),
        ("InvalidAccessKeyId", "so it is; give the keys that this server knows, or name another place"),
        ("InvalidStorageClass", "so it is; name another place"),
    ],
)
def test_what_a_server_refuses_is_told_by_its_code(s3, tmp_path, monkeypatch, code, told):
    """All that s3fs makes FileNotFoundError of was "no such bucket", and whatever is final a want of rights."""
    tries = refusing(s3, monkeypatch, code, 99)
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(NotWritable) as raised:
        Remote("s3://corpora/stores").upload(tmp_path / "file", "index/0")
    assert str(raised.value).endswith(told) and "s3://corpora/stores/index/0" in str(raised.value) and tries == [1]


def test_an_upload_whose_parts_a_server_threw_away_is_begun_anew(s3, tmp_path, monkeypatch, impatient):
    tries = refusing(s3, monkeypatch, "NoSuchUpload", 2)
    (tmp_path / "file").write_bytes(b"1")
    there = Remote("s3://corpora/stores")
    there.upload(tmp_path / "file", "index/0")
    assert there.read("index/0") == b"1" and tries == [1, 1]
    tries = refusing(s3, monkeypatch, "NoSuchUpload", 99)
    with pytest.raises(OSError, match="so it is") as raised:
        there.upload(tmp_path / "file", "index/0")
    assert not isinstance(raised.value, NotWritable) and "bucket" not in str(raised.value)


def test_reading_in_a_bucket_that_is_not_there_says_so(s3):
    for code, told in (("NoSuchBucket", "no such bucket"), ("NoSuchKey", "no such file"), ("404", "no such file")):
        assert as_of_a_disk(refusal(code), "s3://nowhere/x").strerror == told


def refusal(code):
    """As s3fs raises it."""
    answer = {"Error": {"Code": code, "Message": "so it is"}}
    return translate_boto_error(ClientError(answer, "UploadPart"))


def refusing(s3, monkeypatch, code, times):
    """A bucket that answers `code` to the first `times` uploads; a list with one item for each."""
    tries = []

    class Refusing:
        def __getattr__(self, name):
            return getattr(s3.bucket, name)

        def put_file(self, *words, **more):
            if len(tries) < times:
                tries.append(1)
                raise refusal(code)
            return s3.bucket.put_file(*words, **more)

    monkeypatch.setattr(Remote, "_filesystem", lambda remote: (Refusing(), remote.url.removeprefix("s3://")))
    return tries


def test_a_file_that_went_before_it_was_sent_is_what_a_line_names(s3, tmp_path):
    """The bucket was said not to be there."""
    for put in (Remote("s3://corpora/stores").upload, Remote("s3://corpora/stores").create):
        with pytest.raises(FileNotFoundError) as told:
            put(tmp_path / "gone", "index/0")
        assert told.value.filename == str(tmp_path / "gone")


def test_an_error_that_python_raises_names_the_url_and_so_does_what_is_said(toy_there, s3, cache):
    """The command line alone did: who called from Python read of a folder in a cache."""
    toy_there.write()
    here = local(URL)
    with pytest.raises(StoreError, match=rf"^{URL}: no field 'nobody/image'") as raised:
        FeatureStore(here).field_name("nobody/image")
    assert str(cache) not in str(raised.value)
    module, said = CallableModule("distillkit.door"), []

    def door(place, say, *, more=None):
        say(f"{place}: complete")

    module.door = door
    for call in (lambda: module(here, said.append), lambda: module(here, say=said.append)):
        call()
    assert said == [f"{URL}: complete"] * 2
    with pytest.raises(TypeError):
        module(here)


def test_so_it_is_of_every_function_that_says_something(toy_there, s3, cache):
    """The modules that are called did it, and store verify, append, merge and a dozen others did not."""
    doors = {name: getattr(distillkit, name) for name in distillkit._HOMES}
    says = {name for name, door in doors.items() if callable(door) and "say" in inspect.signature(door).parameters}
    plain = {name: doors[name] for name in says if not isinstance(doors[name], CallableModule)}
    assert len(plain) > 12 and {door.__code__.co_name for door in plain.values()} == {"called"}
    toy_there.write()

    def checked(store, say):
        say(f"{store}: checked")

    said = []
    public(checked, "checked")(local(URL), said.append)
    assert said == [f"{URL}: checked"]


def test_progress_names_the_url_not_the_folder_that_stands_for_it(toy_there, s3, cache, capsys):
    toy_there.write()
    here = local(URL)
    for path in (toy_there.path, here):
        say(f"{path}: complete; why: distillkit store failures {path}")
        assert capsys.readouterr().err == f"{URL}: complete; why: distillkit store failures {URL}\n"
    file = here / "manifest.json"
    say(f"error: {file}: damaged, remove it")
    assert capsys.readouterr().err == f"error: {file}: damaged, remove it\n"


@pytest.mark.parametrize("content", ["", "[]", '{"writes": false}'])
def test_a_damaged_note_of_where_a_store_is_from_is_told_and_lines_about_it_are(toy_there, s3, cache, run_cli, content):
    """The line that told it looked there again, and both ended in a traceback."""
    toy_there.write()
    here = local(URL)
    (here / "remote.json").write_text(content)
    code, _, err = run_cli("store", "info", URL)
    assert code == 1 and err.startswith(f"error: {here}/remote.json: is damaged (") and f"; delete {here}, it is" in err
    say(f"{here}: {here}/{'a' * 300}: x")  # no file has such a name
    shutil.rmtree(here)
    assert run_cli("store", "info", URL)[0] == 0


def test_what_a_server_says_of_an_object_is_told(toy_there, s3, cache, monkeypatch):
    toy_there.write()
    store = FeatureStore(URL)

    def refused(self, name, file):
        raise OSError(f"{self.where(name)}: Access Denied")

    monkeypatch.setattr(Remote, "copy", refused)
    with pytest.raises(StoreError, match=r"c/0/0: cannot be fetched \(s3://\S+: Access Denied\); run") as told:
        store.read("image", [9])
    assert "None" not in str(told.value) and str(cache) not in str(told.value)
