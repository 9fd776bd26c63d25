"""Tars. Kind C: whatever a tar holds beside samples is counted, and nothing behind its first end mark is lost."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile

import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.sources import webdataset
from distillkit.sources.webdataset import WebDataset
from distillkit.store.format.plan import make_plan


def picture(colour="red"):
    made = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(made, "PNG")
    return made.getvalue()


def write_tar(path, members, **knobs):
    """A tar of (name, content) pairs; a TarInfo instead of a name is taken as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **knobs) as tar:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            content = content.encode() if isinstance(content, str) else content
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def sample(stem, text="a cat", **more):
    return [
        (f"{stem}.png", picture()),
        (f"{stem}.txt", text),
        *((f"{stem}.{name}", text) for name, text in more.items()),
    ]


def example(folder):
    write_tar(folder / "data/00000.tar", sample("000000000") + sample("000000001", "a dog"))
    write_tar(folder / "data/00001.tar", sample("000010000", "café — 文"))
    return {"root": str(folder / "data"), "shards": "{00000..00001}.tar"}


def read(folder, **knobs):
    return list(WebDataset(root=str(folder), **knobs))


def texts(folder, **knobs):
    return {sample.key: sample.text for sample in read(folder, **knobs)}


def reasons(folder, **knobs):
    """By key, why an image cannot be read; None where it can."""
    source, told = WebDataset(root=str(folder), **knobs), {}
    for one in source:
        try:
            told[one.key] = source.read(one.image) and None
        except SourceError as error:
            told[one.key] = str(error)
    return told


def test_every_image_is_read_at_its_place(tmp_path):
    colours = {f"{n:09d}": (n, 2 * n, 255 - n) for n in range(40)}
    for shard in range(4):
        members = [(f"{stem}.png", picture(colour)) for stem, colour in colours.items() if int(stem) % 4 == shard]
        write_tar(tmp_path / f"{shard:05d}.tar", members)
    source = WebDataset(root=str(tmp_path))
    samples = list(source)
    random.Random(0).shuffle(samples)
    assert {one.key: source.read(one.image) for one in samples} == {key: picture(c) for key, c in colours.items()}


def test_long_names_and_every_tar_format(tmp_path):
    for number, format_ in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        stem = f"{number}/{'deep/' * 12}{'x' * (20 if number == 0 else 200)} — 文"
        write_tar(tmp_path / f"{number}.tar", sample(stem), format=format_)
    assert len(texts(tmp_path)) == 3 and set(texts(tmp_path).values()) == {"a cat"}
    assert set(reasons(tmp_path).values()) == {None}


def test_patterns(tmp_path):
    for name in ("a/01.tar", "a/02.tar", "b/01.tar", "b/10.tar"):
        write_tar(tmp_path / name, sample(name.replace("/", "").removesuffix(".tar")))

    def keys(shards):
        return [one.key for one in read(tmp_path, shards=shards)]

    assert keys("{a,b}/01.tar") == ["a01", "b01"]
    assert keys("a/{01..02}.tar") == keys("a/*.tar") == keys("a/{01,02,01}.tar") == ["a01", "a02"]
    assert sorted(keys("{b/{10,01},a/02}.tar")) == ["a02", "b01", "b10"]
    assert sorted(keys("**/*.tar")) == ["a01", "a02", "b01", "b10"]
    for shards, told in (
        ("a/{01..03}.tar", r"a/03\.tar: no such file"),
        ("c/*.tar", r"c/\*\.tar: no such file"),
        ("../*.tar", "leaves"),
        ("/etc/*.tar", "leaves"),
    ):
        with pytest.raises(SourceError, match=told):
            keys(shards)
    with pytest.raises(SourceError, match="absent: no such folder"):
        read(tmp_path / "absent")


def test_keys_are_stems_and_get_their_shards_name_where_stems_repeat(tmp_path):
    write_tar(tmp_path / "0.tar", sample("a", "1") + sample("b", "2"))
    write_tar(tmp_path / "1.tar", sample("c", "3") + sample("a", "4"))
    want = {"0.tar/a": "1", "b": "2", "c": "3", "1.tar/a": "4"}
    assert texts(tmp_path) == want
    assert texts(tmp_path, shards="{1,0}.tar") == want  # another order, the same keys


def test_members_of_a_sample_may_be_anywhere_in_their_shard(tmp_path):
    members = sample("a", "1") + sample("b", "2") + sample("deep/a", "3")
    random.Random(1).shuffle(members)
    write_tar(tmp_path / "0.tar", members)
    assert texts(tmp_path) == {"a": "1", "b": "2", "deep/a": "3"} and set(reasons(tmp_path).values()) == {None}


def test_a_stem_that_comes_twice_in_one_shard_is_a_duplicate(tmp_path):
    write_tar(tmp_path / "0.tar", [("a.png", picture("red")), ("a.png", picture("blue")), ("a.txt", "a cat")])
    source = WebDataset(root=str(tmp_path))
    plan, duplicates = make_plan(source, source.root)
    assert plan["key"].to_pylist() == ["a"] and duplicates == 1
    assert source.read(plan["image"][0].as_py()) == picture("red")


def test_texts_and_labels_from_members_and_from_fields_of_json(tmp_path):
    facts = json.dumps({"caption": "from json", "all": ["one", "two"], "deep": {"label": 7}, "n": None})
    write_tar(tmp_path / "0.tar", sample("a", "\ufeffa cat\n", json=facts, cls="3\n"))
    assert texts(tmp_path) == {"a": "a cat"}
    assert texts(tmp_path, text="json.caption") == {"a": "from json"}
    assert texts(tmp_path, text=None) == texts(tmp_path, text="json.n") == texts(tmp_path, text="seg") == {"a": None}
    assert [one.label for one in read(tmp_path, label="cls")] == ["3\n"]
    assert [one.label for one in read(tmp_path, label="json.deep.label")] == ["7"]
    for knobs, told in (
        ({"text": "json.deep"}, "is no text"),
        ({"text": "txt.caption"}, "damaged"),
        ({"text": "json.all"}, 'has 2 captions; set source.captions to "all"'),
    ):
        with pytest.raises(SourceError, match=told):
            read(tmp_path, **knobs)


def test_several_captions(tmp_path):
    facts = json.dumps({"all": ["one", "", "two"]})
    write_tar(tmp_path / "0.tar", sample("a", "first\n\nsecond\n", json=facts))
    assert texts(tmp_path) == {"a": "first\n\nsecond"}
    assert texts(tmp_path, captions="all") == {"a/0": "first", "a/1": "second"}
    assert texts(tmp_path, captions=1) == {"a": "second"} and texts(tmp_path, captions=2) == {"a": None}
    assert texts(tmp_path, captions="all", text="json.all") == {"a/0": "one", "a/1": "two"}
    assert len({one.image for one in read(tmp_path, captions="all")}) == 1


def test_tars_put_one_behind_the_other_are_read_to_their_end(tmp_path):
    first = write_tar(tmp_path / "other/0.tar", sample("a", "1")).read_bytes()
    second = write_tar(tmp_path / "other/1.tar", sample("b", "2")).read_bytes()
    (tmp_path / "0.tar").write_bytes(first + second)
    assert texts(tmp_path) == {"a": "1", "b": "2"} and set(reasons(tmp_path).values()) == {None}
    (tmp_path / "0.tar").write_bytes(first + second[:1200])
    with pytest.raises(SourceError, match="cut off or damaged"):
        read(tmp_path)


def test_a_tail_that_is_no_tar_costs_nothing_and_is_told(tmp_path):
    whole = write_tar(tmp_path / "0.tar", sample("a")).read_bytes()
    (tmp_path / "0.tar").write_bytes(whole + bytes(700) + b"signed by nobody")
    source = WebDataset(root=str(tmp_path))
    assert [one.key for one in source] == ["a"]
    assert source.account.line(1) == "1 sample taken; passed over: 1 tail of tars that are no tar"


def test_dots_in_names_do_not_make_several_pictures_one(tmp_path):
    names = [f"2024.01.{day:02d}" for day in range(16)]
    write_tar(tmp_path / "0.tar", [member for name in names for member in sample(name, name)])
    with pytest.raises(SourceError, match=r"16 pictures fall into one sample '2024' .* set source\.dots = \"last\""):
        read(tmp_path)
    assert texts(tmp_path, dots="last") == {name: name for name in names}
    assert set(reasons(tmp_path, dots="last").values()) == {None}


def test_an_image_may_be_called_by_another_name(tmp_path):
    write_tar(
        tmp_path / "0.tar",
        [(f"{n}.{part}", content) for n in "ab" for part, content in (("Input.PNG", picture()), ("target.png", b""))],
    )
    with pytest.raises(SourceError, match=r"2 pictures .* source\.image = \"input\.png\""):
        read(tmp_path)
    assert reasons(tmp_path, image="input.png") == {"a": None, "b": None}
    source = WebDataset(root=str(tmp_path), image=".input.png")
    assert [source.read(one.image) for one in source] == [picture()] * 2
    assert source.account.line(2) == "2 samples taken; passed over: 2 .png"


def test_what_a_tar_has_beside_samples_is_counted(tmp_path):
    more = [("a.mp4", b""), ("._a.png", b""), (".git/b.png", b""), ("b.png", picture()), ("b.mp4", b"")]
    write_tar(tmp_path / "0.tar", sample("a") + more)
    source = WebDataset(root=str(tmp_path))
    assert [one.key for one in source] == ["a", "b"]
    assert source.account.line(2) == "2 samples taken; passed over: 2 .mp4, 2 hidden"


# Hostile tars.


def odd(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def test_members_that_leave_links_and_devices_become_lines_of_the_ledger(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture())
    members = [
        ("../secret.png", picture()),
        ("/etc/absolute.png", picture()),
        ("deep/../../up.png", picture()),
        odd("link.png", tarfile.SYMTYPE, "../secret.png"),
        odd("hard.png", tarfile.LNKTYPE, "/etc/passwd"),
        odd("device.png", tarfile.CHRTYPE),
        odd("pipe.png", tarfile.FIFOTYPE),
        odd("texts.txt", tarfile.SYMTYPE, "/etc/passwd"),
        odd("folder.png", tarfile.DIRTYPE),
        ("good.png", picture()),
        ("notes.json", "{}"),
        (".hidden.png", picture()),
    ]
    write_tar(tmp_path / "data/0.tar", members)
    told = reasons(tmp_path / "data")
    assert told.pop("good") is None
    assert told.keys() == {
        "../secret",
        "/etc/absolute",
        "deep/../../up",
        "link",
        "hard",
        "device",
        "pipe",
        "texts",
        "notes",
    }
    assert told["../secret"] == "0.tar: the member '../secret.png' leaves its archive; refused"
    assert "leaves" in told["/etc/absolute"] and "leaves" in told["deep/../../up"]
    assert "a link; refused" in told["link"] and "a link; refused" in told["hard"]
    assert "no plain file" in told["device"] and "no plain file" in told["pipe"]
    assert told["notes"] == "0.tar: 'notes' has no image, only: json" and "'texts' has no image" in told["texts"]
    assert {one.text for one in read(tmp_path / "data")} == {None}


def test_a_tar_cut_anywhere_is_named_or_kept_up_to_there(tmp_path):
    whole = write_tar(tmp_path / "whole/0.tar", sample("a") + sample("b") + sample("c")).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    cut = tmp_path / "cut/0.tar"
    write_tar(tmp_path / "cut/1.tar", sample("z"))
    for length in (0, 1, 511, 512, 700, 1023, 1024, 1536, 2000, 3 * 512, end - 512, end - 100, end, end + 100):
        cut.write_bytes(whole[:length])
        with pytest.raises(SourceError) as caught:
            read(tmp_path / "cut")
        assert str(cut) in str(caught.value) and 'set source.damaged = "skip"' in str(caught.value)
        assert "\n" not in str(caught.value)
        told = reasons(tmp_path / "cut", damaged="skip")
        assert told.pop("z") is None and told["0.tar"].startswith(("0.tar: cut off", "0.tar: cannot be read"))
        assert all(reason is None for key, reason in told.items() if key not in ("0.tar", "a", "b", "c"))
    assert set(reasons(tmp_path / "cut", damaged="skip")) == {"a", "b", "c", "0.tar", "z"}
    cut.write_bytes(whole[: end + 512])
    assert set(texts(tmp_path / "cut")) == {"a", "b", "c", "z"}


def test_damage_in_the_middle_does_not_pass_for_the_end(tmp_path):
    path = write_tar(tmp_path / "0.tar", sample("a") + sample("b") + sample("c"))
    whole = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        at = tar.getmember("b.png").offset
    whole[at + 10 : at + 200] = b"\xff" * 190
    path.write_bytes(whole)
    with pytest.raises(SourceError, match=rf"0\.tar: cut off or damaged at byte {at}"):
        read(tmp_path)
    whole[at : at + 512] = tarfile.TarInfo("b.png").tobuf()[:124] + b"\xff" * 12 + bytes(376)  # a negative size
    block = whole[at : at + 512]
    block[148:156] = b" " * 8
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    path.write_bytes(whole)
    with pytest.raises(SourceError, match=r"0\.tar: "):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"caf\xe9", b"{", b'{"n": "\\ud800"}', b"[" * 100_000])
def test_a_text_that_cannot_be_read_costs_its_row_nothing_else(tmp_path, content):
    write_tar(tmp_path / "0.tar", [*sample("a"), ("a.json", b'{"n": "fine"}'), *sample("b"), ("b.json", content)])
    source = WebDataset(root=str(tmp_path), text="json.n")
    assert {one.key: one.text for one in source} == {"a": "fine", "b": None}
    assert source.account.line(2) == "2 samples taken; passed over: 2 .txt; left out: 1 .json that cannot be read"
    assert [(loss["key"], loss["stage"]) for loss in source.account.losses] == [("b", "text")]
    assert texts(tmp_path) == {"a": "a cat", "b": "a cat"}


def test_members_too_large_for_memory_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(webdataset, "LARGEST_IMAGE", 50)
    monkeypatch.setattr(webdataset, "LARGEST_TEXT", 10)
    write_tar(tmp_path / "0.tar", sample("a", "x" * 11))
    assert texts(tmp_path) == {"a": None}
    assert reasons(tmp_path)["a"] == f"0.tar: the member 'a.png' has {len(picture())} bytes; refused"


def test_other_files_are_no_tars(tmp_path):
    for content in (b"", b"<html>not found</html>", picture(), b"\x1f\x8b" + bytes(2000)):
        (tmp_path / "0.tar").write_bytes(content)
        with pytest.raises(SourceError, match=r"0\.tar: "):
            read(tmp_path)
    write_tar(tmp_path / "0.tar", [])
    with pytest.raises(SourceError, match="no sample of it can be taken"):
        make_plan(WebDataset(root=str(tmp_path)), tmp_path)


def test_a_tar_that_shrank_after_the_plan_is_told(tmp_path):
    path = write_tar(tmp_path / "0.tar", sample("a"))
    source = WebDataset(root=str(tmp_path))
    (one,) = source
    path.write_bytes(path.read_bytes()[:550])
    with pytest.raises(SourceError, match=r"0\.tar: ends before byte .* cut off since it was planned"):
        source.read(one.image)
    path.unlink()
    with pytest.raises(SourceError, match=r"0\.tar: No such file"):
        source.read(one.image)
    with pytest.raises(SourceError):
        source.read(f"0.tar@0+{10**18}")


def test_bytes_flipped_anywhere_are_an_error_of_one_line_or_a_line_of_the_ledger(tmp_path):
    whole = write_tar(tmp_path / "0.tar", sample("a", json='{"c": "x"}') + sample("é" * 60)).read_bytes()
    draw = random.Random(0)
    for damaged in ["stop", "skip"] * 150:
        content = bytearray(whole)
        for _ in range(draw.choice((1, 3, 30))):
            content[draw.randrange(len(content))] = draw.choice((0, 255, 48, draw.randrange(256)))
        (tmp_path / "0.tar").write_bytes(content)
        try:
            source = WebDataset(root=str(tmp_path), text="json.c", damaged=damaged)
            plan, _ = make_plan(source, source.root)
        except SourceError as error:
            assert "\n" not in str(error)
        else:
            reasons(tmp_path, text="json.c", damaged=damaged)
            assert plan.num_rows


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_kind_f_a_tar_that_is_compressed_is_to_be_unpacked_not_fetched_again(tmp_path, compress):
    tar = write_tar(tmp_path / "a.tar", sample("0"))
    tar.write_bytes(compress(tar.read_bytes()))
    with pytest.raises(SourceError, match=r"it is compressed, so nothing in it can be read at its place: unpack it"):
        read(tmp_path)
