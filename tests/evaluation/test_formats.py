"""Results in the files of other tools: each is read by the tool itself, or by what it says its fields are."""

import json

import pytest
import yaml

from tests.evaluation.worlds import results


@pytest.fixture
def evaluated(run, world, run_cli):
    words = ("--export", "clip_benchmark", "--export", "mteb", "--export", "eval_results")
    code, _, err = run_cli("evaluate", run, "--eval", world / "more.toml", *words)
    assert code == 0 and all(f"{form}: {run}/evaluation/{form}" in err for form in words[1::2]), err
    return run


def test_clip_benchmark_has_our_numbers_by_its_names(evaluated):
    folder, found = evaluated / "evaluation/clip_benchmark", results(evaluated)["results"]
    record = json.loads((folder / "student_zero_shot.json").read_text())
    assert record["task"] == "zeroshot_classification" and record["dataset"] == "zero_shot"
    assert record["metrics"] == {
        "acc1": found["zero_shot"]["student"]["top-1"],
        "acc5": found["zero_shot"]["student"]["top-5"],
        "mean_per_class_recall": found["zero_shot"]["student"]["mean per class"],
    }
    metrics = json.loads((folder / "teacher_retrieval.json").read_text())["metrics"]
    assert metrics["text_retrieval_recall@5"] == found["retrieval"]["teacher"]["R@5"]
    assert metrics["image_retrieval_recall@5"] == found["retrieval"]["teacher"]["text to image R@5"]
    assert not list(folder.glob("*agreement*"))


def test_the_hub_reads_our_yaml(evaluated):
    hub = pytest.importorskip("huggingface_hub", minversion="1.0")
    entries = yaml.safe_load((evaluated / "evaluation/eval_results/eval_results.yaml").read_text())
    parsed = hub.parse_eval_result_entries(entries)
    found = results(evaluated)["results"]
    assert {entry.task_id: entry.value for entry in parsed}["zero_shot: top-1"] == found["zero_shot"]["student"][
        "top-1"
    ]
    assert all(entry.dataset_id and "95 % interval" in entry.notes for entry in parsed)


def test_mteb_files_have_the_fields_of_its_results(evaluated):
    files = sorted((evaluated / "evaluation/mteb").rglob("*.json"))
    (path,) = [path for path in files if path.name == "knn.json" and "student" in str(path)]
    record = json.loads(path.read_text())
    fields = {"dataset_revision", "task_name", "mteb_version", "scores", "evaluation_time", "kg_co2_emissions"}
    assert record.keys() == fields
    (scores,) = record["scores"]["test"]
    assert scores["main_score"] == scores["top-1"] == results(evaluated)["results"]["knn"]["student"]["top-1"]
    assert {"hf_subset", "languages"} <= scores.keys()
    assert json.loads((path.parent / "model_meta.json").read_text())["revision"]
