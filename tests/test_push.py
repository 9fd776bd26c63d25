"""What is sent to a hub: the exported folder or the store as they are, with a card, and never a picture unasked."""

import json
import shutil

import pytest

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.push import load_of_store, push, push_store
from tests.exports.conftest import pictures, runs  # noqa: F401
from tests.hub import hub_here

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(monkeypatch):
    with hub_here(monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):  # noqa: F811
    """A run with an export, a report, and a picture that somebody left in the folder."""
    run = tmp_path_factory.mktemp("pushed") / "run"
    shutil.copytree(runs("pair"), run, ignore=shutil.ignore_patterns("exports"))
    export(run, "open_clip", say=lambda line: None)
    (run / "report.html").write_text("<img src='data:image/png;base64,AAAA'>")
    (run / "exports/open_clip/photo.JPG").write_bytes(b"a picture")
    return run


@pytest.fixture
def store(pictures, tmp_path):  # noqa: F811
    """A store with a pixel cache beside it."""
    place = shutil.copytree(pictures / "images", tmp_path / "images")
    (tmp_path / "images.pixels-32").mkdir()
    (tmp_path / "images.pixels-32/pixels.npy").write_bytes(b"pixels" * 10_000)
    return place


def test_what_arrives_is_what_was_exported_without_pictures(exported, hub):
    told = []
    address = push(exported, "me/small-clip", private=True, say=told.append)
    folder, there = exported / "exports/open_clip", hub.files["models/me/small-clip"]
    assert address.endswith("me/small-clip") and "models/me/small-clip" in hub.private
    assert {name: (folder / name).read_bytes() for name in there} == there
    assert set(there) == {"README.md", "distillkit.json", "open_clip_config.json", "open_clip_model.safetensors"}
    assert "2 files with pictures left out, --with-images sends them" in told[-1]
    before = hub.sent
    push(exported, "me/small-clip", say=lambda line: None)
    assert hub.sent == before > 100_000  # large files that are there are not sent again


def test_a_tokenizer_in_the_folder_is_looked_up_where_it_went(exported, hub, tmp_path):
    """open_clip asks the hub for the name in its configuration; here that is "the folder itself"."""
    run = shutil.copytree(exported, tmp_path / "run")
    path = run / "exports/open_clip/open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "."
    path.write_text(json.dumps(config))
    push(run, "me/small-clip", say=lambda line: None)
    there = json.loads(hub.files["models/me/small-clip"][path.name])
    assert there["model_cfg"]["text_cfg"].pop("hf_tokenizer_name") == "me/small-clip"
    assert config["model_cfg"]["text_cfg"].pop("hf_tokenizer_name") == "." and there == config
    assert json.loads(path.read_text())["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == "."


def test_pictures_go_when_they_are_asked_for(exported, hub):
    push(exported, "me/small-clip", with_images=True, say=lambda line: None)
    assert {"photo.JPG", "report.html"} <= set(hub.files["models/me/small-clip"])


def test_a_store_arrives_with_a_card_and_opens_there(store, hub, tmp_path):
    from distillkit.store.reading.reader import FeatureStore
    from distillkit.store.upkeep.verify import verify

    push_store(store, "me/images", say=lambda line: None)
    there = hub.files["datasets/me/images"]
    assert not any("pixels-" in name or name.endswith(".lock") for name in there)
    for name, data in there.items():
        (tmp_path / "fetched" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fetched" / name).write_bytes(data)
    fetched = FeatureStore(tmp_path / "fetched")
    assert fetched.digest == FeatureStore(store).digest and not verify(tmp_path / "fetched")
    assert f"| digest | {fetched.digest} |" in there["README.md"].decode()
    push_store(store, "me/images", with_images=True, say=lambda line: None)
    assert there["images.pixels-32/pixels.npy"] == b"pixels" * 10_000


def test_a_dry_run_lists_files_and_bytes_and_sends_nothing(store, hub, run_cli):
    code, out, err = run_cli("store", "push", store, "me/images", "--dry-run")
    load = load_of_store(store, with_images=False)
    assert code == 0 and not out and hub.files == {}
    lines = [line.split(maxsplit=1) for line in err.splitlines()]
    assert {name: int(size.replace(",", "")) for size, name in lines[:-1]} == load.sizes()
    assert lines[-1][0] == f"{sum(load.sizes().values()):,}" and "1 file with pictures left out" in lines[-1][1]


@pytest.mark.parametrize(
    ("name", "knobs", "told"),
    [
        ("nobody", {}, "is no name of a repository; write OWNER/NAME"),
        ("me/x y", {}, "is no name of a repository"),
        ("me/x", {"export": "onnx"}, "was not exported as onnx; there is open_clip"),
    ],
)
def test_mistakes_are_one_line(exported, hub, name, knobs, told):
    with pytest.raises(ExportError, match=told) as refusal:
        push(exported, name, say=lambda line: None, **knobs)
    assert "\n" not in str(refusal.value) and hub.files == {}


def test_who_is_not_let_in_or_is_offline_is_told_so(exported, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(ExportError, match=r"me/x: was not sent \(.*401") as refusal:
        push(exported, "me/x", say=lambda line: None)
    assert "\n" not in str(refusal.value) and hub.files == {}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ExportError, match="offline mode is enabled"):
        push(exported, "me/x", say=lambda line: None)


def test_a_run_that_was_not_exported_or_in_several_ways_is_told_so(runs, exported, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    shutil.copytree(exported, run)
    shutil.copytree(run / "exports/open_clip", run / "exports/timm")
    with pytest.raises(
        ExportError, match="was exported as open_clip, timm; say which one goes: --export open_clip or timm"
    ):
        push(run, "me/x", dry_run=True)
    shutil.rmtree(run / "exports")
    with pytest.raises(ExportError, match="nothing of it was exported; run: distillkit export"):
        push(run, "me/x", dry_run=True)


def test_results_go_as_hubs_read_them(exported):
    results = {"all": {"student": {"R@1": 0.5, "R@1.low": 0.4, "R@1.high": 0.6}}}
    found = {"networks": {"student": "0" * 64}, "results": results, "evals": {}}
    (exported / "evaluation.json").write_text(json.dumps(found))
    folder = export(exported, "open_clip", out=exported / "exports/second", say=lambda line: None)
    text = (folder / ".eval_results/eval_results.yaml").read_text()
    assert "value: 0.5" in text and "95 % interval 0.4 to 0.6" in text
    assert "| R@1 | 0.5 (0.4 to 0.6) |" in (folder / "README.md").read_text()
    shutil.rmtree(folder)
    (exported / "evaluation.json").unlink()


def test_what_was_sent_before_is_never_mixed_with_another_students(exported, hub, tmp_path, run_cli):
    """config.json of the one and model.safetensors of the other would open, and say what neither does."""
    push(exported, "me/small", say=lambda line: None)
    before = dict(hub.files["models/me/small"])
    other = shutil.copytree(exported, tmp_path / "other")
    (other / "exports/open_clip").rename(other / "exports/onnx")
    (other / "exports/onnx/open_clip_model.safetensors").rename(other / "exports/onnx/weights.safetensors")
    code, out, err = run_cli("push", other, "me/small")
    (told,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1 and not out and hub.files["models/me/small"] == before
    assert "me/small: holds 1 file of something else (open_clip_model.safetensors)" in told and "--overwrite" in told
    code, out, err = run_cli("push", other, "me/small", "--overwrite")
    there = hub.files["models/me/small"]
    assert code == 0 and out.strip().endswith("me/small"), err
    assert "weights.safetensors" in there and "open_clip_model.safetensors" not in there


def test_a_repository_of_somebody_else_is_not_filled(exported, store, hub):
    for kind, name in (("models", "config.json"), ("models", "open_clip_config.json"), ("datasets", "manifest.csv")):
        hub.files[f"{kind}/me/there"] = before = {name: b"theirs", "README.md": b"theirs"}
        send = push if kind == "models" else push_store
        what = exported if kind == "models" else store
        with pytest.raises(ExportError, match=rf"me/there: holds 1 file of something else \({name}\)"):
            send(what, "me/there", say=lambda line: None)
        assert hub.files[f"{kind}/me/there"] == before == {name: b"theirs", "README.md": b"theirs"}
    hub.files["models/me/there"] = {"README.md": b"as the hub makes it", "LICENSE": b"mine"}
    push(exported, "me/there", say=lambda line: None)
    assert hub.files["models/me/there"]["LICENSE"] == b"mine"


def test_what_is_to_be_private_is_not_sent_where_everybody_sees_it(exported, hub):
    push(exported, "me/open", say=lambda line: None)
    before = hub.sent
    with pytest.raises(ExportError, match="me/open: is there already, and everybody can see it"):
        push(exported, "me/open", private=True, say=lambda line: None)
    assert hub.sent == before and "models/me/open" not in hub.private


LATER, LOOK = "busy or out of order, push again later", "look at the connection, and there whether it has arrived"
LOG_IN, AGAIN = r"log in \(hf auth login\), look at the name", "somebody else may have changed it meanwhile"


@pytest.mark.parametrize(
    ("where", "code", "cure"),
    [
        ("POST /api/repos/create", 500, LATER),
        ("POST .*/preupload/", 403, LOG_IN),
        ("POST .*/objects/batch", 413, LOG_IN),
        ("PUT /o/", 403, LOG_IN),
        ("PUT /o/", 400, LOG_IN),
        ("POST .*/commit/", 412, AGAIN),
        ("POST .*/commit/", 429, LATER),
        ("POST .*/commit/", None, LOOK),
        ("GET /api/models/", None, LOOK),
        ("POST .*/commit/", 200, LOOK),
    ],
)
def test_whatever_a_hub_answers_is_one_line_and_what_helps(exported, hub, monkeypatch, where, code, cure):
    """An upload that is refused names an address that is signed; a proxy answers what is no JSON."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.refuse, hub.signed = (where, code), "?X-Amz-Signature=abc123"
    with pytest.raises(ExportError, match=rf"^me/x: was not sent \(.*\); .*{cure}") as refusal:
        push(exported, "me/x", say=lambda line: None)
    assert "\n" not in str(refusal.value) and "abc123" not in str(refusal.value)
    assert hub.files.get("models/me/x", {}) == {}
    hub.refuse = None
    push(exported, "me/x", say=lambda line: None)
    assert "distillkit.json" in hub.files["models/me/x"]
