"""The same corpora on a disk, in a bucket, on the web: the same keys, the same plan, the same pixels."""

import copy
import functools
import importlib
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from distillkit.errors import MissingExtra, NotNow, SourceError
from distillkit.pixels import decode
from distillkit.recipe import Component
from distillkit.sources.folder import Folder
from distillkit.sources.textlines import TextLines
from distillkit.sources.webdataset import WebDataset
from distillkit.store.format.plan import make_plan, plan_digest
from distillkit.system.remote import Remote
from tests.servers import Parts, Plain, bad_line, serving
from tests.sources.test_webdataset import sample, write_tar

KINDS = ("folder", "csv", "webdataset", "parquet", "jsonl", "textlines", "class_prompts")


def corpus(kind, folder):
    folder.mkdir()
    return importlib.import_module(f"tests.sources.test_{kind}").example(folder)


def built(kind, knobs, folder, url):
    """The source of a kind whose places below `folder` lie at `url` instead."""
    there = {
        name: value.replace(str(folder), url) if isinstance(value, str) else value for name, value in knobs.items()
    }
    component = Component(kind=kind, **there)
    component.check("sources", "source")
    return component.build("sources")


def content(source):
    """The plan of a source, and of each of its images the pixels."""
    plan, duplicates = make_plan(source, source.root)
    assert duplicates == 0
    places = [place for place in plan["image"].to_pylist() if place is not None]
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda place: decode(source.read(place)).tobytes(), places))
    return plan_digest(plan), plan["key"].to_pylist(), images


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_bucket_on_the_web_and_as_a_file_url(kind, tmp_path, s3, web):
    folder = tmp_path / "corpus"
    knobs = corpus(kind, folder)
    want = content(built(kind, knobs, folder, str(folder)))
    assert content(built(kind, knobs, folder, s3(folder, "deep/er"))) == want
    assert content(built(kind, knobs, folder, folder.as_uri())) == want
    with web(folder) as address:
        assert content(built(kind, knobs, folder, address)) == want


def test_classes_and_patterns_are_those_of_the_disk(tmp_path, s3):
    folder = tmp_path / "corpus"
    corpus("folder", folder)
    url = s3(folder)
    near, far = (Folder(root=root, classes=True) for root in (str(folder), url))
    assert [(one.key, one.label) for one in near] == [(one.key, one.label) for one in far]
    for name in ("a/01.tar", "a/02.tar", "b/01.tar", "c/d/10.tar"):
        write_tar(folder / name, sample(name.replace("/", "").removesuffix(".tar")))
    url = s3(folder)
    for pattern in ("*/01.tar", "**/*.tar", "a/*.tar", "{a,b}/01.tar", "c/d/??.tar", "b/[0-9]1.tar"):
        near, far = ([one.key for one in WebDataset(root=root, shards=pattern)] for root in (str(folder), url))
        assert near == far and near
    with pytest.raises(SourceError, match=r"s3://corpora/z/\*\.tar: no such file; mend source\.root or the pattern"):
        list(WebDataset(root=url, shards="z/*.tar"))


def test_what_is_not_there_is_told_in_one_line(s3, web, tmp_path, impatient):
    s3(tmp_path)
    for make, told in (
        (lambda: TextLines(file="s3://corpora/absent.txt"), r"s3://corpora/absent\.txt: no such file"),
        (lambda: list(WebDataset(root="s3://corpora", shards="0.tar")), r"s3://corpora/0\.tar: no such file"),
        (lambda: list(Folder(root="s3://other")), r"s3://other: cannot be listed"),
        (lambda: list(Folder(root="nosuch://host")), r"nosuch://host: cannot be listed .*Protocol not known: nosuch"),
        (lambda: Folder(root="s3://corpora").read("a.png"), r"s3://corpora/a\.png: no such file"),
        (lambda: Folder(root="s3://corpora").read("../a.png"), r"leaves s3://corpora; refused"),
        (lambda: Folder(root="s3://corpora").read("/etc/passwd"), r"leaves s3://corpora; refused"),
        (lambda: make_plan(Folder(root="s3://corpora/empty"), None), r"s3://corpora/empty: cannot be listed"),
    ):
        with pytest.raises(SourceError, match=told) as caught:
            make()
        assert "\n" not in str(caught.value)
    with web(tmp_path) as address, pytest.raises(SourceError, match=r"absent\.txt: no such file"):
        TextLines(file=f"{address}/absent.txt")


def test_an_extra_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(MissingExtra, match=r's3fs is not installed; run: pip install "distillkit\[s3\]"'):
        TextLines(file="s3://corpora/texts.txt")


def dropping(number, path):
    """Every fifth answer is cut off, the second first."""
    return ("at once", "halfway")[number % 2] if number == 1 or random.Random(number).random() < 0.2 else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_line_changes_nothing(kind, tmp_path, web, impatient):
    folder = tmp_path / "corpus"
    knobs = corpus(kind, folder)
    want = content(built(kind, knobs, folder, str(folder)))
    with web(folder) as address, serving(bad_line(address, dropping)) as bad:
        assert content(built(kind, knobs, folder, bad)) == want


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
def test_a_bad_line_to_a_bucket_changes_nothing(kind, tmp_path, s3, s3_server, impatient, monkeypatch):
    folder = tmp_path / "corpus"
    knobs = corpus(kind, folder)
    want = content(built(kind, knobs, folder, str(folder)))
    url = s3(folder)
    with serving(bad_line(s3_server, dropping)) as bad:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
        assert content(built(kind, knobs, folder, url)) == want


def test_a_line_that_stays_dead_is_a_source_error_of_one_sample(tmp_path, web, impatient):
    folder = tmp_path / "corpus"
    corpus("folder", folder)
    with (
        web(folder) as address,
        serving(bad_line(address, lambda number, path: "at once" if path == "/top.png" else None)) as bad,
    ):
        source = Folder(root=bad)
        assert len(list(source)) == 6
        with pytest.raises(SourceError, match=r"top\.png: ") as caught:
            source.read("top.png")
        assert "\n" not in str(caught.value)
        assert decode(source.read("b/2.png")).size == (4, 4)
    told = r"b/2\.png: .*: cannot be read now, .*; see that its server can be reached, and run the same command again"
    with pytest.raises(NotNow, match=told):  # the whole server is gone
        source.read("b/2.png")


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_no_image_is_to_blame_where_its_bucket_cannot_be_reached(kind, tmp_path, s3, impatient, monkeypatch):
    folder = tmp_path / "corpus"
    knobs = corpus(kind, folder)
    url, places = s3(folder), make_plan(built(kind, knobs, folder, str(folder)), folder)[0]["image"].to_pylist()
    with serving(Plain) as gone:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gone)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(NotNow, match=r"cannot be read now, .*; see that its server can be reached"):
        built(kind, knobs, folder, url).read(next(filter(None, places)))


def test_a_server_that_sends_no_parts_serves_images_and_says_so_of_tars(tmp_path, web):
    folder = tmp_path / "corpus"
    corpus("folder", folder)
    want = content(Folder(root=str(folder)))
    write_tar(folder / "0.tar", [(f"{n}.png", os.urandom(100_000)) for n in range(60)])
    with web(folder, Plain) as address:
        assert content(Folder(root=address)) == want
        with pytest.raises(SourceError, match=r"0\.tar: the server sends no parts of files \(HTTP ranges\); download"):
            list(WebDataset(root=address, shards="0.tar"))


def test_pages_that_link_elsewhere_lead_nowhere(tmp_path):
    links = ["../up.png", "/x/../../etc/p.png", "http://10.0.0.1/b.png", "ok.png", "./", "//other/c.png", "?C=N;O=D"]

    class Hostile(Parts):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(" ".join(f'<a href="{link}">x</a>' for link in [*links, "%2e%2e/d.png"]).encode())

    with serving(functools.partial(Hostile, directory=str(tmp_path))) as address:
        assert [one.key for one in Folder(root=address)] == ["ok.png", "other/c.png"]
        links.append("again/")
        with pytest.raises(SourceError, match=r"a folder 32 deep; does this server list itself\?"):
            list(Folder(root=address))


def test_it_travels_into_other_processes_and_over_a_fork(tmp_path, s3):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    source = Folder(root=s3(tmp_path))
    image = source.read("a.png")
    assert copy.deepcopy(source).read("a.png") == image
    child = os.fork()
    if child == 0:
        os._exit(0 if source.read("a.png") == image else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert source.read("a.png") == image


class Shelf:
    """A bucket of a library, and of servers, that know less than others."""

    def __init__(self, refusal):
        self.refusal, self.files = refusal, {}

    def exists(self, path):
        return path in self.files

    def put_file(self, lpath, rpath, mode="overwrite"):
        if mode == "create" and self.refusal:
            raise OSError(self.refusal)
        self.files[rpath] = Path(lpath).read_bytes()


class OldShelf(Shelf):
    def put_file(self, lpath, rpath):
        super().put_file(lpath, rpath)


def test_a_file_is_created_where_none_is(tmp_path, s3, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    there = Remote("s3://corpora/plans")
    assert there.create(tmp_path / "one", "plan") and not there.create(tmp_path / "other", "plan")
    assert there.read("plan") == b"one"
    for shelf in (Shelf("NotImplemented: a header you provided"), OldShelf(None)):
        monkeypatch.setattr(Remote, "_filesystem", lambda self, shelf=shelf: (shelf, "plans"))
        assert there.create(tmp_path / "one", "plan") and not there.create(tmp_path / "other", "plan")
        assert shelf.files == {"plans/plan": b"one"}


def test_who_waits_for_a_server_is_told(impatient, monkeypatch, caplog):
    """Libraries try again for minutes below one try of ours; a hiccup alone is told to nobody."""
    answers = iter([OSError("Please be slower"), OSError("no route to host"), b"rows", OSError("no"), b""])

    class Busy:
        def cat_file(self, path, start, end):
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

    monkeypatch.setattr(Remote, "_filesystem", lambda self: (Busy(), "corpora"))
    there = Remote("s3://corpora")
    monkeypatch.setattr("distillkit.system.remote._SILENT", -1.0)
    assert there.read("a") == b"rows"
    assert caplog.messages == [
        "s3://corpora/a: Please be slower; trying again",
        "s3://corpora/a: no route to host; trying again",
    ]
    monkeypatch.setattr("distillkit.system.remote._SILENT", 10.0)
    assert there.read("a") == b"" and len(caplog.messages) == 2
