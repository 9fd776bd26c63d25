"""The manifests are whole, every fact in them has its source, and `data check` says what is there."""

import hashlib
import re
from pathlib import Path

import pytest

from distillkit.corpora import check as data_check
from distillkit.corpora import manifests
from distillkit.corpora.facts import Facts
from distillkit.recipe import Component
from tests.corpora.layouts import lay

ROOT = Path(__file__).parents[2]
OTHERS = [name for name in manifests.names() if name != "demo"]


def test_every_corpus_of_the_papers_has_a_manifest():
    sets = [
        "imagenet_v2",
        "imagenet_r",
        "imagenet_a",
        "imagenet_sketch",
        "objectnet",
        "coco",
        "flickr30k",
        "ade20k",
        "nyu_depth",
    ]
    elevater = [
        "caltech101",
        "cifar10",
        "cifar100",
        "country211",
        "dtd",
        "eurosat",
        "fer2013",
        "fgvc_aircraft",
        "food101",
        "gtsrb",
        "hateful_memes",
        "kitti_distance",
        "mnist",
        "flowers102",
        "pets",
        "pcam",
        "rendered_sst2",
        "resisc45",
        "stanford_cars",
        "voc2007",
    ]
    fine_grained = [
        "food101",
        "cifar10",
        "cifar100",
        "sun397",
        "stanford_cars",
        "fgvc_aircraft",
        "voc2007",
        "dtd",
        "pets",
        "caltech101",
        "flowers102",
        "cub200",
    ]
    ood = [f"ood_{name}" for name in ["birds", "flowers", "food", "sun", "cars", "tiered_imagenet", "robotics"]]
    trained = ["cc3m", "cc12m", "gcc15m", "yfcc14m", "imagenet1k", "imagenet21k"]
    assert len(elevater) == 20 and len(fine_grained) == 12
    assert set(OTHERS) == {*sets, *elevater, *fine_grained, *ood, *trained}
    evaluated = {*sets, *elevater, *fine_grained, *ood}
    assert all(manifests.load(name)["recipes"] and manifests.load(name)["metrics"] for name in evaluated)


@pytest.mark.parametrize("name", OTHERS)
def test_manifests_are_facts_with_sources(name):
    facts = Facts.model_validate(manifests.load(name))
    for address in [facts.url, facts.licence_url, *facts.papers, *(fact.source for fact in facts.told)]:
        assert re.fullmatch(r"https://[\w.-]+/?\S*", address), address
    assert all((ROOT / recipe).is_file() for recipe in facts.recipes)
    for part in facts.parts:
        Component(**part.source).check("sources", part.name)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_missing_and_what_is_there(name, tmp_path, run_cli):
    root = tmp_path / "corpus"
    code, out, err = run_cli("data", "check", name, "--root", root)
    assert code == 1 and "missing (" in out and out.splitlines()[-1].startswith("  next: ") and err == ""
    root.mkdir()
    assert run_cli("data", "check", name, "--root", root)[0] == 1
    lay(name, root)
    code, out, _ = run_cli("data", "check", name, "--root", root)
    assert code == 0 and "missing (" not in out and f'"{root}' in out
    found = run_cli("data", "check", name, "--root", root, "--thorough")[1]
    assert re.search(r"\b\d+ samples?\b", found)


def test_counts_and_checksums_are_compared_when_asked(tmp_path, run_cli, monkeypatch):
    lay("imagenet1k", tmp_path)
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(b"not the tar")
    code, out, _ = run_cli("data", "check", "imagenet1k", "--root", tmp_path, "--thorough")
    assert code == 1 and "6 samples instead of 1,281,167" in out
    assert f"md5 {hashlib.md5(b'not the tar').hexdigest()} instead of 29b22e2961454d5413ddabcf34fc5622" in out


def test_a_corpus_in_a_bucket(tmp_path, s3, run_cli):
    lay("gcc15m", tmp_path)
    code, out, _ = run_cli("data", "check", "gcc15m", "--root", s3(tmp_path))
    assert code == 0 and "2 files" in out


def test_the_source_line_can_be_pasted_into_a_recipe(tmp_path):
    import tomllib

    lay("flickr30k", tmp_path)
    line = next(line for line, _ in data_check.check("flickr30k", str(tmp_path)) if "source = " in line)
    source = tomllib.loads(line[line.index("source = ") :])["source"]
    assert [one.text for one in Component(**source).build("sources")] == ["one", "two"] * 2


def test_the_demo_and_the_list(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    code, out, _ = run_cli("data", "check", "demo")
    assert code == 1 and out.splitlines()[-1].strip().startswith("next: ")
    code, out, _ = run_cli("data", "list")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == manifests.names()
    assert run_cli("data", "check", "nonsense")[0] == run_cli("data", "show", "nonsense")[0] == 1
    assert "made of packages" in run_cli("data", "show", "demo")[1]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_known_is_told_and_what_was_not_read_is_said_to_be_so(name, run_cli):
    code, out, _ = run_cli("data", "show", name)
    facts = Facts.model_validate(manifests.load(name))
    assert code == 0 and facts.url in out and facts.next in out
    assert all(one.source in out for one in facts.told) and all(recipe in out for recipe in facts.recipes)
    assert out.count("not confirmed; see") == sum(not one.confirmed for one in facts.told)


@pytest.mark.parametrize("record", ["", "{", "[]", '{"images": {}}'])
def test_a_demo_that_is_not_prepared_to_the_end_or_told_badly_is_not_prepared(run_cli, tmp_path, monkeypatch, record):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/prepared.json").write_text(record)
    code, out, _ = run_cli("data", "check", "demo")
    assert code == 1 and f"{tmp_path}/demo: not prepared" in out and "next: distillkit data prepare demo" in out
