"""The plan at the paper's size, on a corpus of a thousandth; what is missing is said, what is there is begun."""

from pathlib import Path

import pytest

from distillkit.claims import paper as papers
from distillkit.errors import RecipeError

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "pipelines/claims").glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_plan_tells_corpora_disk_hours_and_commands_and_what_is_missing(path, monkeypatch):
    monkeypatch.setattr(papers, "take", lambda step, say: pytest.fail("nothing may begin"))
    said = []
    assert not papers.paper(path, said.append, nodes=2)
    text = "\n".join(said)
    for word in ("licence", "GPU-hours", "bytes a row", "node 2", "--shard 2/2", "torchrun --nnodes 2", "missing"):
        assert word in text, word


def test_hours_are_those_of_the_multiply_accumulates():
    """40 million images of a ViT-L/14 at 312 a second are 35.6 hours of an A100."""
    said = []
    papers.paper(ROOT / "pipelines/claims/dimefm.toml", said.append)
    (line,) = [line for line in said if line.strip().startswith("extraction")]
    hours = float(line.split("about ")[1].split()[0].replace(",", ""))
    texts = 28_400_000 * 2 * 6.65e9 / 50.6e12 / 3600
    assert hours == pytest.approx(40_000_000 / 312 / 3600 + texts, rel=0.02)


def test_where_all_is_there_both_stages_are_begun(recipes, tmp_path, monkeypatch, corpus):
    extract, train = recipes
    text = (ROOT / "pipelines/claims/dimefm.toml").read_text()
    text = text.replace('"pipelines/dime_fm.toml"', f'"{train}"')
    text = text.replace('"pipelines/extract/dime_fm.toml"', f'"{extract}"')
    (tmp_path / "toy.toml").write_text(text.replace("images = 40_000_000", "images = 40_000"))
    train.write_text(train.read_text() + "\n[data.expect]\nrows = 70\nwidths = { image = 32, text = 32, scale = 1 }\n")
    begun, said = [], []
    monkeypatch.setattr(papers, "take", lambda step, say: begun.append(step.run))
    assert papers.paper(tmp_path / "toy.toml", said.append)
    assert begun == [f"extract-teacher {extract}", f"train-student {train}"]
    assert papers.paper(tmp_path / "toy.toml", said.append, start=False) and len(begun) == 2
    (corpus / "pairs.tsv").unlink()
    assert not papers.paper(tmp_path / "toy.toml", said.append) and len(begun) == 2
    assert any("missing      corpus images" in line for line in said)


def test_a_file_without_a_scale_is_refused(tmp_path):
    text = (ROOT / "pipelines/claims/dimefm.toml").read_text()
    before, _, after = text.partition("[scale]")
    (tmp_path / "toy.toml").write_text(before + "[quick]" + after.partition("[quick]")[2])
    with pytest.raises(RecipeError, match=r"has no \[scale\]"):
        papers.paper(tmp_path / "toy.toml", print)
