"""The manifests are whole, every fact in them has its source, and `data check` says what is there."""

import hashlib
import io
import re
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distillkit.corpora import check as data_check
from distillkit.corpora import manifests
from distillkit.corpora.check import Facts
from distillkit.recipe import Component

OTHERS = [name for name in manifests.names() if name != "demo"]


def picture():
    made = io.BytesIO()
    Image.new("RGB", (4, 4)).save(made, "JPEG")
    return made.getvalue()


def tar(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as made:
        for name, content in (("000000000.jpg", picture()), ("000000000.txt", b"a cat"), ("000000000.json", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))


def file(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture() if content is None else content)


def captions(root):
    table = {"image": [{"bytes": picture(), "path": "1.jpg"}], "caption": [["one", "two"]], "filename": ["1.jpg"]}
    (root / "data").mkdir(parents=True)
    pq.write_table(pa.table(table), root / "data/test-00000-of-00009.parquet")


LAYOUTS = {  # each a corpus as its manifest says that it lies, in the small
    "cc3m": lambda root: tar(root / "00000.tar"),
    "cc12m": lambda root: tar(root / "00000.tar"),
    "gcc15m": lambda root: [tar(root / "cc3m/00000.tar"), tar(root / "cc12m/00000.tar")],
    "yfcc14m": lambda root: tar(root / "00000.tar"),
    "imagenet1k": lambda root: [file(root / f"{part}/n01440764/n01440764_18.JPEG") for part in ("train", "val")],
    "imagenet21k": lambda root: file(root / "n02084071/n02084071_1.JPEG"),
    "coco": lambda root: [
        file(root / "train2014/COCO_train2014_000000000009.jpg"),
        file(root / "val2014/COCO_val2014_000000000042.jpg"),
        file(root / "captions.jsonl", b'{"image": "val2014/COCO_val2014_000000000042.jpg", "text": ["one", "two"]}\n'),
    ],
    "flickr30k": captions,
}


def test_every_corpus_of_the_papers_has_a_manifest():
    assert set(OTHERS) == set(LAYOUTS)


@pytest.mark.parametrize("name", OTHERS)
def test_manifests_are_facts_with_sources(name):
    facts = Facts.model_validate(manifests.load(name))
    for address in [facts.url, facts.licence_url, *facts.papers, *(fact.source for fact in facts.counts + facts.files)]:
        assert re.fullmatch(r"https://[\w.-]+/?\S*", address), address
    for part in facts.parts:
        Component(**part.source).check("sources", part.name)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_missing_and_what_is_there(name, tmp_path, run_cli):
    root = tmp_path / "corpus"
    code, out, err = run_cli("data", "check", name, "--root", root)
    assert code == 1 and "missing (" in out and out.splitlines()[-1].startswith("  next: ") and err == ""
    root.mkdir()
    assert run_cli("data", "check", name, "--root", root)[0] == 1
    LAYOUTS[name](root)
    code, out, _ = run_cli("data", "check", name, "--root", root)
    assert code == 0 and "missing (" not in out and f'"{root}' in out
    found = run_cli("data", "check", name, "--root", root, "--thorough")[1]
    assert re.search(r"\b[12] samples", found) or "2 samples" in found


def test_counts_and_checksums_are_compared_when_asked(tmp_path, run_cli, monkeypatch):
    LAYOUTS["imagenet1k"](tmp_path)
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(b"not the tar")
    code, out, _ = run_cli("data", "check", "imagenet1k", "--root", tmp_path, "--thorough")
    assert code == 1 and "1 samples instead of 1,281,167" in out
    assert f"md5 {hashlib.md5(b'not the tar').hexdigest()} instead of 29b22e2961454d5413ddabcf34fc5622" in out


def test_a_corpus_in_a_bucket(tmp_path, s3, run_cli):
    LAYOUTS["gcc15m"](tmp_path)
    code, out, _ = run_cli("data", "check", "gcc15m", "--root", s3(tmp_path))
    assert code == 0 and "2 files" in out


def test_the_source_line_can_be_pasted_into_a_recipe(tmp_path):
    import tomllib

    LAYOUTS["flickr30k"](tmp_path)
    (line,) = [line for line, _ in data_check.check("flickr30k", str(tmp_path)) if "source = " in line]
    source = tomllib.loads(line[line.index("source = ") :])["source"]
    assert [one.text for one in Component(**source).build("sources")] == ["one", "two"]


def test_the_demo_and_the_list(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    code, out, _ = run_cli("data", "check", "demo")
    assert code == 1 and out.splitlines()[-1].strip().startswith("next: ")
    code, out, _ = run_cli("data", "list")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == manifests.names()
    assert run_cli("data", "check", "nonsense")[0] == 1
