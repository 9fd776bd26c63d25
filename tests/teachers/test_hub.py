"""A hub that nobody answers at, and models whose terms must be accepted first."""

import socket
import time

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError

from distillkit.errors import DistillkitError, TeacherError
from distillkit.students._weights import openclip_teacher, timm_teacher
from distillkit.teachers import _hub, _openclip_network, _timm_network
from distillkit.teachers._hub import how_to_fetch, hub


@pytest.fixture
def online(monkeypatch):
    """As on a machine that never heard of being offline, with no proxy."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(_hub, "getproxies", dict)

    def at(endpoint):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)

    return at


def test_a_hub_that_nobody_answers_at_is_not_waited_for(online):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        online(f"http://127.0.0.1:{closed.getsockname()[1]}")
        started = time.perf_counter()
        with hub():
            assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE and time.perf_counter() - started < _hub.PATIENCE + 1
    online("https://no.such.place.invalid")
    with hub():
        assert constants.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_asked(online):
    with socket.create_server(("127.0.0.1", 0)) as server:
        online(f"http://127.0.0.1:{server.getsockname()[1]}")
        with hub():
            assert not constants.HF_HUB_OFFLINE


def test_behind_a_proxy_the_client_finds_out_itself(online, monkeypatch):
    online("https://no.such.place.invalid")
    monkeypatch.setattr(_hub, "getproxies", lambda: {"https": "http://proxy:3128"})
    with hub():
        assert not constants.HF_HUB_OFFLINE


def test_who_asked_to_be_offline_stays_offline(online, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub():
        assert constants.HF_HUB_OFFLINE
    assert constants.HF_HUB_OFFLINE


def test_terms_come_before_the_download():
    plain = 'run: hf download a/b --local-dir FOLDER, and set model = "local-dir:FOLDER"'
    assert how_to_fetch("a/b", ValueError("no network")) == plain
    refused = ValueError("cannot load")
    refused.__cause__ = GatedRepoError.__new__(GatedRepoError)
    told = how_to_fetch("a/b", refused)
    assert told == f"accept its terms at https://huggingface.co/a/b, run: hf auth login, then {plain}"


def test_a_folder_that_holds_all_of_a_teacher_asks_nobody(online, tmp_path):
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"text_cfg": {}}}')
    assert _hub.is_all_in_a_folder(f"local-dir:{tmp_path}") and _hub.is_all_in_a_folder("local-dir:/nowhere")
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"text_cfg": {"hf_tokenizer_name": "a/b"}}}')
    assert not any(map(_hub.is_all_in_a_folder, (f"local-dir:{tmp_path}", "hf-hub:a/b", "ViT-B-32/openai")))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.2)
        online(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with hub(needed=False):
            assert constants.HF_HUB_OFFLINE
        with pytest.raises(TimeoutError):
            listening.accept()


@pytest.mark.parametrize("find", [_openclip_network.find, lambda name: _timm_network.refuse_absent(name, None)])
def test_a_path_in_place_of_a_name_is_called_one(find, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TeacherError, match=f"that is a folder, and no model has that name; write local-dir:{tmp_path}"):
        find(str(tmp_path))
    with pytest.raises(TeacherError, match=r"that is a file, .* weights = that file"):
        find(str(tmp_path / "file"))
    with pytest.raises(TeacherError, match=f"no such folder, did you mean {tmp_path}/file"):
        find(str(tmp_path / "fil"))
    with pytest.raises(TeacherError, match=r"has no model 'ViT.*', did you mean"):
        find("ViT/openai")


@pytest.mark.parametrize("inherited", [openclip_teacher, lambda name: timm_teacher(name, 32)])
def test_a_folder_that_a_student_inherits_from_is_called_one(inherited, tmp_path):
    with pytest.raises(DistillkitError, match=f"that is a folder, and no model has that name; write .*run:{tmp_path}"):
        inherited(str(tmp_path))
