"""A hub that nobody answers at, and models whose terms must be accepted first."""

import socket
import time
from threading import Event

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
    monkeypatch.setattr(_hub, "_known", {})

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


@pytest.fixture
def never(monkeypatch):
    """Set when the test is over: until then whoever waits for it hangs, as in a network that drops all packets."""
    monkeypatch.setattr(_hub, "PATIENCE", 0.2)
    event = Event()
    yield event
    event.set()


def asked_three_times():
    """Whether the client was to be asked, each time."""
    said = []
    for _ in range(3):
        with hub():
            said.append(not constants.HF_HUB_OFFLINE)
    return said


def resolving_to(monkeypatch, addresses, asked):
    def resolve(host, port, *more, **options):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


class Dropping(socket.socket):
    """Its calls to 192.0.2.* are answered by nobody, whatever time it was given."""

    over: Event

    def connect(self, address):
        if address[0].startswith("192.0.2."):
            self.over.wait()
            raise TimeoutError("timed out")
        return super().connect(address)


def test_many_addresses_that_never_answer_are_waited_for_together_and_once(online, monkeypatch, never):
    asked = []
    resolving_to(monkeypatch, [f"192.0.2.{n}" for n in range(1, 20)], asked)
    monkeypatch.setattr(Dropping, "over", never, raising=False)
    monkeypatch.setattr(socket, "socket", Dropping)
    online("https://hub.invalid")
    assert asked_three_times() == [False] * 3 and asked == ["hub.invalid"]


def test_one_address_of_many_that_answers_is_enough(online, monkeypatch, never):
    monkeypatch.setattr(_hub, "PATIENCE", 60.0)  # which is not waited for
    asked = []
    monkeypatch.setattr(Dropping, "over", never, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        resolving_to(monkeypatch, ["192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.3"], asked)
        monkeypatch.setattr(socket, "socket", Dropping)
        online(f"http://hub.invalid:{server.getsockname()[1]}")
        assert asked_three_times() == [True] * 3 and asked == ["hub.invalid"]


def test_a_resolver_that_hangs_is_waited_for_once(online, monkeypatch, never):
    asked = []

    def hang(host, *more, **options):
        asked.append(host)
        never.wait()
        raise socket.gaierror("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    online("https://hub.invalid")
    assert asked_three_times() == [False] * 3 and asked == ["hub.invalid"]


def test_it_is_asked_again_after_a_while_and_another_hub_at_once(online, monkeypatch):
    now, asked = [1000.0], []
    monkeypatch.setattr(_hub.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(_hub, "_takes_a_call", lambda host, port: asked.append(host) or len(asked) > 1)
    online("https://hub.invalid")
    assert asked_three_times() == [False] * 3 and asked == ["hub.invalid"]
    now[0] += _hub.KEPT + 1
    assert asked_three_times() == [True] * 3 and asked == ["hub.invalid"] * 2
    online("https://other.invalid")
    assert asked_three_times() == [True] * 3 and asked[2:] == ["other.invalid"]


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
