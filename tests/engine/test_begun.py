"""A shard in hand is kept every five minutes: stopped anywhere, the next run goes on there and makes the same bytes."""

import json
import re
import shutil

import pytest

from distillkit.engine import begun
from distillkit.errors import SourceError, StoreError
from distillkit.extract import extract
from distillkit.store.format.layout import BEGUN
from distillkit.store.format.log import logged
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.unfinished import unfinished
from distillkit.store.upkeep.verify import verify
from distillkit.teachers.openclip import Openclip
from tests.engine.whole import checksums
from tests.faults.world import Colour, recipe, squares


class Stopped(Exception):
    pass


@pytest.fixture
def counted(monkeypatch):
    """Forwards of the teacher, counted; at number `stop_at` it is as if somebody pulled the plug."""
    calls = {"made": 0, "stop_at": None, "by": Stopped}
    forward = Openclip.forward

    def counting(self, **inputs):
        calls["made"] += 1
        if calls["made"] == calls["stop_at"]:
            raise calls["by"]()
        return forward(self, **inputs)

    monkeypatch.setattr(Openclip, "forward", counting)
    return calls


@pytest.fixture
def run(recipes, corpus, tmp_path, monkeypatch):
    """Stage 1 in one shard of 70 rows, four images at a time, two of which are broken."""
    for number in (3, 40):
        (corpus / f"images/{number:03d}.png").write_bytes(b"")
    lines = (corpus / "pairs.tsv").read_text().splitlines()
    lines[6] = "\t" + lines[6].partition("\t")[2]  # an image without a caption
    lines[9] = lines[9].partition("\t")[0] + "\t" + lines[8].partition("\t")[2]  # doubled: its row goes
    (corpus / "pairs.tsv").write_text("\n".join(lines) + "\n")

    def extracted(out, *more, every=0.0):
        monkeypatch.setattr(begun, "EVERY", every)
        settings = [f'out="{tmp_path / out}"', "corpora.0.rows_per_shard=128", "corpora.0.batch_size=4", *more]
        said = []
        extract(recipes[0], said.append, overrides=settings)
        return tmp_path / out / "images", said

    return extracted


def test_it_is_kept_every_five_minutes(monkeypatch, tmp_path):
    kept = begun.Begun(None, tmp_path, "", last=0.0)
    for now, due in ((299, False), (301, True)):
        monkeypatch.setattr(begun.time, "monotonic", lambda now=now: now)
        assert kept.due == due


@pytest.mark.parametrize("stop_at", [2, 7, 19, 24])
def test_it_goes_on_where_it_was_and_makes_the_same_bytes(run, counted, tmp_path, stop_at):
    whole, _ = run("whole", every=1e9)
    want, every = checksums(whole), counted["made"]
    assert not (whole / BEGUN).exists()
    counted.update(made=0, stop_at=stop_at)
    with pytest.raises(Stopped):
        run("out")
    store = tmp_path / "out/images"
    told = unfinished(store)
    assert (told.committed, told.begun > 0) == (0, stop_at > 2)
    assert ("of a shard that is not whole yet" in told.lines[0]) == (stop_at > 2)
    counted.update(made=0, stop_at=None)
    store, said = run("out")
    goes_on = [line.removeprefix(f"{store}: ") for line in said if " goes on " in line]
    where = f"from row {told.begun} of its 69" if told.begun < 69 else "behind the images of its rows"
    kept = f"{told.begun} rows of it had been kept"
    assert goes_on == ([f"shard 1 goes on {where}, as {kept}"] if stop_at > 2 else [])
    assert checksums(store) == want and not (store / BEGUN).exists()
    (line,) = logged(store)
    assert line["forward_seconds"].keys() == {"image", "text"}, "of what was kept, too"
    assert counted["made"] <= every - stop_at + 3  # two batches are in the air when the plug is pulled


def test_of_a_store_in_a_bucket_it_is_kept_on_this_machine(run, counted, tmp_path, s3, monkeypatch):
    """Its shards go up whole; the next run here goes on, and another machine begins the shard anew."""
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    there = 'out="s3://corpora/out"'
    run("whole", 'out="s3://corpora/whole"', every=1e9)
    every = counted["made"]
    for cache, saved in (("cache", 15), ("another machine's", 0)):
        counted.update(made=0, stop_at=19)
        with pytest.raises(Stopped):
            run("out", there)
        assert not [name for name in s3.bucket.find("corpora/out") if BEGUN in name]
        monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / cache))
        counted.update(made=0, stop_at=None)
        run("out", there)
        assert counted["made"] <= every - saved and (saved or counted["made"] == every)
        assert files(s3, "corpora/out") == files(s3, "corpora/whole")
        assert not list((tmp_path / cache).rglob(BEGUN))
        s3.bucket.rm("corpora/out", recursive=True)  # what is still in a cache here is no part of the next one


def files(s3, prefix):
    """Every file there and its bytes, but the log, which holds times."""
    found = (name for name in s3.bucket.find(prefix) if not name.endswith("extract.jsonl"))
    return {name.removeprefix(prefix): s3.bucket.cat_file(name) for name in found}


def test_another_recipe_does_not_set_aside_what_is_kept(run, counted, tmp_path):
    """A corpus of one shard has no commit before its end: then what is kept is all that was paid for."""
    counted.update(stop_at=19)
    with pytest.raises(Stopped):
        run("out")
    store, counted["stop_at"] = tmp_path / "out/images", None
    rows = unfinished(store).begun
    cost = r"to extract anew means 69 rows, 0:\d\d:\d\d at the [\d.,]+ rows/s of the "
    with pytest.raises(
        StoreError, match=rf"dtype: 'float16' -> 'float32'.*; {cost}{rows} that are kept of it\. Nothing"
    ):
        run("out", 'corpora.0.dtype="float32"')
    assert unfinished(store).begun == rows and not list(store.parent.glob("*.before-*"))
    said = run("out")[1]
    assert not any("extracting anew" in line for line in said)


def test_where_nothing_is_kept_another_recipe_begins_unasked(run, counted, tmp_path):
    counted.update(stop_at=19)
    with pytest.raises(Stopped):
        run("out", every=1e9)
    counted["stop_at"] = None
    said = run("out", 'corpora.0.dtype="float32"')[1]
    assert any(re.search("dtype: .*; extracting anew", line) for line in said)


@pytest.mark.parametrize("by", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("stop_at", [2, 12, 24])
def test_whoever_stops_it_keeps_all_that_was_said(run, counted, tmp_path, monkeypatch, stop_at, by):
    whole, _ = run("whole", every=1e9)
    want, every = checksums(whole), counted["made"]
    counted.update(made=0, stop_at=stop_at, by=by)
    monkeypatch.setattr(begun, "LEAST", 0.0)
    with pytest.raises(by):
        run("out", every=1e9)
    assert unfinished(tmp_path / "out/images").begun > 0
    counted.update(made=0, stop_at=None)
    store, _ = run("out", every=1e9)
    assert checksums(store) == want and counted["made"] == every - stop_at + 1


def test_of_a_corpus_that_is_gone_nothing_is_kept(run, counted, corpus, tmp_path, monkeypatch):
    """Else its failures would be: a mount is lost, everything fails, and somebody presses Ctrl-C."""
    monkeypatch.setattr(begun, "LEAST", 0.0)

    def lost():
        corpus.rename(tmp_path / "elsewhere")
        return KeyboardInterrupt()

    counted.update(stop_at=12, by=lost)
    with pytest.raises(SourceError, match=r"the corpus is gone .* the shard in hand is dropped"):
        run("out", every=1e9)
    assert not (tmp_path / "out/images" / BEGUN).exists()


def test_stopped_again_and_again_it_gets_there(run, counted, tmp_path):
    want = checksums(run("whole", every=1e9)[0])
    for _ in range(60):
        counted.update(made=0, stop_at=4)
        try:
            store, _ = run("out")
            break
        except Stopped:
            continue
    assert checksums(store) == want


def test_what_is_damaged_or_of_other_batches_is_computed_again(run, counted, tmp_path):
    want = checksums(run("whole", every=1e9)[0])
    for spoil in (lambda rows: rows.write_bytes(b"nothing"), lambda rows: rows.unlink()):
        counted.update(made=0, stop_at=9)
        with pytest.raises(Stopped):
            run("out")
        counted.update(made=0, stop_at=None)
        spoil(tmp_path / "out/images" / BEGUN / "00000.rows")
    assert checksums(run("out")[0]) == want


@pytest.mark.parametrize("by", [Stopped, KeyboardInterrupt])
def test_a_quick_shard_is_never_kept(run, counted, tmp_path, by):
    counted.update(stop_at=12, by=by)
    with pytest.raises(by):
        run("out", every=300.0)
    assert not (tmp_path / "out/images" / BEGUN).exists()


@pytest.fixture
def held(tmp_path, monkeypatch):
    """What is kept of a shard of 60 squares that was killed at its fifth batch, and how to go on with it."""
    corpus, place = squares(tmp_path / "corpus", 60), tmp_path / "recipe.toml"
    small = recipe(tmp_path / "out", corpus, {"one": 1.0}, ["one/image"])
    place.write_text(small.replace("rows_per_shard = 64", "rows_per_shard = 64\nbatch_size = 8"))
    monkeypatch.setattr(begun, "EVERY", 0.0)
    real, made = Colour.forward, iter(range(100))

    def forward(self, *inputs, **named):
        if next(made) == 4:
            raise Stopped
        return real(self, *inputs, **named)

    monkeypatch.setattr(Colour, "forward", forward)
    with pytest.raises(Stopped):
        extract(place, lambda line: None)
    monkeypatch.setattr(Colour, "forward", real)
    store = tmp_path / "out/images"

    def go_on():
        said = []
        extract(place, said.append)
        found = FeatureStore(store)
        assert verify(store) == [] and len(found.ok_rows) == 60
        assert (found.read("image", found.ok_rows)[:, 0] > 0).all(), "rows of nothing"
        kept = any("rows of it had been kept" in line for line in said)
        shutil.rmtree(store)
        shutil.copytree(tmp_path / "kept", store)
        return kept

    shutil.copytree(store, tmp_path / "kept")
    return store / BEGUN / "00000.json", go_on


FACTS = ("batch_size", "reached", "rows", "failures", "clipped", "images", "dropped", "seconds")


def test_a_record_of_an_older_version_counts(held):
    record, go_on = held
    older = json.loads(record.read_bytes())
    del older["sha256"]
    record.write_text(json.dumps(older))
    assert unfinished(record.parents[1]).begun == older["facts"]["rows"] > 0 and go_on()
    for key in ("forward", "wait"):  # which the first ones had not
        del older["facts"][key]
    record.write_text(json.dumps(older))
    assert go_on()


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("key", FACTS)
def test_a_record_that_lacks_a_fact_is_not_gone_on_with(held, key, older):
    record, go_on = held
    said = json.loads(record.read_bytes())
    del said["facts"][key]
    if older:
        del said["sha256"]
    record.write_text(json.dumps(said))
    assert not go_on()


@pytest.mark.parametrize(
    "strange",
    [
        {"reached": {"image": 61}},
        {"reached": {"image": -8}},
        {"reached": {"image": "8"}},
        {"reached": {"imagf": 8}},
        {"reached": 8},
        {"rows": 61},
        {"rows": -1},
        {"rows": 8.5},
        {"failures": [[60, "decode", "grey"]]},
        {"failures": [[3, "decode"]]},
        {"clipped": {"one/text": 1}},
        {"seconds": None},
        {"images": -1},
        {"more": 1},
    ],
    ids=str,
)
def test_an_older_record_that_tells_what_cannot_be_is_not_gone_on_with(held, strange):
    record, go_on = held
    said = json.loads(record.read_bytes())
    del said["sha256"]
    record.write_text(json.dumps(said | {"facts": said["facts"] | strange}))
    assert not go_on()


@pytest.mark.parametrize("bit", [4, 16, 32])
def test_how_far_it_was_is_not_believed_where_a_bit_of_it_is_flipped(held, bit):
    record, go_on = held
    said = json.loads(record.read_bytes())
    was = said["facts"]["reached"]["image"]
    record.write_bytes(record.read_bytes().replace(f'"image": {was}'.encode(), f'"image": {was ^ bit}'.encode()))
    assert unfinished(record.parents[1]).begun == 0 and not go_on()
