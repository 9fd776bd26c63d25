"""No password or signature of an address is told, or kept in any file."""

import functools
import json
from pathlib import Path

import fsspec.config
import pytest
from fsspec.implementations.http import HTTPFileSystem

import distillkit
from distillkit.errors import DistillkitError, SecretGiven, refused
from distillkit.hidden import public
from distillkit.recipe import Component, TrainRecipe
from distillkit.recipe.load import load
from distillkit.runfolder import RunFolder
from distillkit.sources._places import file_at, folder_at
from distillkit.store.bucket.remote import local, workplace
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.addresses import refuse_secrets, refuse_secrets_within
from distillkit.system.refusals import as_of_a_disk
from distillkit.system.remote import Remote
from tests.servers import Parts, serving
from tests.store.conftest import FIELDS, Toy

SECRET = "hunter2verysecret"
ADDRESSES = (
    f"http://user:{SECRET}@127.0.0.1:9/pairs.tsv",
    f"https://{SECRET}@127.0.0.1:9/pairs.tsv",
    f"https://user:p@{SECRET}@127.0.0.1:9/pairs.tsv",
    f"simplecache::http://user:{SECRET}@127.0.0.1:9/pairs.tsv",
    f"ftp://user:{SECRET}@127.0.0.1/pairs.tsv",
    f"https://127.0.0.1:9/pairs.tsv?X-Amz-Algorithm=AWS4&X-Amz-Credential={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?versionId=3&X-Amz-Signature={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?x-amz-security-token={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?X-Goog-Signature={SECRET}&a=b",
    f"https://127.0.0.1:9/pairs.tsv?AWSAccessKeyId=x&Signature={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?sv=2024&sig={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?token={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?access_token={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv?api_key={SECRET}",
    f"https://127.0.0.1:9/pairs.tsv#token={SECRET}",
    *(
        f"https://127.0.0.1:9/pairs.tsv?a=b&{name}={SECRET}&c=d"
        for name in (
            *("key", "auth", "sas", "code", "jwt", "pwd", "passwd", "bearer", "KEY", "Code", "authorization"),
            *("user_pwd", "db-passwd", "x-jwt", "client_secret", "account_key", "subscription-key", "access-key"),
            *("X-Amz-Security-Token", "GoogleAccessId", "private_key", "refresh_token", "passphrase"),
        )
    ),
)
CONNECTIONS = (
    f"AccountKey={SECRET}",
    f"SharedAccessKey = {SECRET}==",
    f"DefaultEndpointsProtocol=https;AccountName=me;AccountKey={SECRET}==;EndpointSuffix=core.windows.net",
    f"Endpoint=sb://host/;SharedAccessKeyName=root;SharedAccessKey={SECRET}=",
    f"BlobEndpoint=https://me.host.invalid;SharedAccessSignature=sv=2024&sig={SECRET}",
    f"Server=tcp:host,1433;Database=db;User ID=me;Password={SECRET};",
    f"Driver=x; Server=host; Uid=me; Pwd={SECRET}",
    f"host=here dbname=db user=me password={SECRET}",
    f"account_name=me;account_key={SECRET}",
    f"endpoint=host;api_key={SECRET}",
)
HARMLESS = (
    "s3://bucket/images",
    "https://host/a@b/pairs.tsv?download=true&design=1&tokens=77",
    "abfs://container@account.dfs.core.windows.net/images",
    "github://org:repo@main/images",
    "sftp://user@host/images",
    "file:///a/path",
    "a photo of a {}, http:, @home; token=7",
    "monkey=1",
    "https://host/pairs.tsv?monkey=1&turkey=2&keys=3&sort_key=name&partition-key=4&barcode=5&zip_code=6&author=me",
    "https://host/keys/code/auth?page=2&encode=utf-8&design=3&passed=1&tokens=4&signed=yes",
    "https://host/pairs.tsv#code",
    "code",
    "key",
    "code=7",
    "key=a;code=b",
    "code=a auth=b key=c",
    "password",
    "a photo of a password=x",
    "SharedAccessKeyName=root",
    "an account key, a turkey=1; and pwd",
    "stores/key=1/code=2/images",
    "year=2020/month=3/sig=4",
    "model = 'vit'; weights = 'b'",
    "optim.lr=3e-4",
    "*.pwd;*.key",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_secret_is_refused_wherever_it_enters(address, tmp_path):
    ways = [
        lambda: Remote(address),
        lambda: folder_at(address),
        lambda: file_at(address),
        lambda: local(address),
        lambda: workplace(address),
        lambda: FeatureStore(address),
    ]
    for way in ways:
        with pytest.raises(SecretGiven) as caught:
            way()
        told = str(caught.value)
        assert SECRET not in told and "\n" not in told and "credentials come from the environment" in told
    assert SECRET not in public(f"404, url='{address}' for {address}")


@pytest.mark.parametrize("text", CONNECTIONS)
def test_a_connection_string_with_a_key_is_refused_wherever_it_enters(text, tmp_path, run_cli, recipes):
    for way in (
        lambda: refuse_secrets(text),
        lambda: refuse_secrets_within({"deep": [text]}, "here"),
        lambda: folder_at(text),
        lambda: file_at(text),
        lambda: distillkit.export(text, "hf"),
        lambda: distillkit.compare(["a", "b"], out=text),
        lambda: load(recipes[0], [f"out='{text}'"], kind=TrainRecipe),
    ):
        with pytest.raises(SecretGiven) as caught:
            way()
        assert SECRET not in str(caught.value) and "\n" not in str(caught.value)
    code, out, err = run_cli("extract-teacher", recipes[0], "--set", f"out='{text}'")
    assert code == 1 and SECRET not in out + err and err.count("\n") == 1


@pytest.mark.parametrize("address", [*ADDRESSES, *CONNECTIONS])
def test_no_error_of_ours_holds_it_in_whatever_path_or_line(address):
    for told in (address, str(Path(address)), f"{Path(address)}: is no run folder; make one"):
        if _is_whole(told, address):
            assert SECRET not in str(DistillkitError(told))
            assert SECRET not in refused(FileNotFoundError(2, "no such file", told))


def _is_whole(told, address):
    """Of a connection string within other words only what nothing else is called so is known."""
    return told == address or address in ADDRESSES or "AccountKey" in address or "SharedAccess" in address


@pytest.mark.parametrize("address", HARMLESS)
def test_others_are_not(address):
    refuse_secrets(address)
    assert public(address) == address == str(DistillkitError(address))


@pytest.mark.parametrize("address", ADDRESSES[:2] + ADDRESSES[-1:])
def test_functions_in_python_refuse_it_as_commands_do(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for way in (
        lambda: distillkit.train(address),
        lambda: distillkit.evaluate(Path(address)),
        lambda: distillkit.compare([Path(address), "b"]),
        lambda: distillkit.compare(["a", "b"], out=address),
        lambda: distillkit.export("run", "hf", out=address),
        lambda: distillkit.push(address, "me/it"),
        lambda: distillkit.push("run", address),
        lambda: distillkit.push_store(address, "me/it"),
        lambda: distillkit.load_student(address),
    ):
        with pytest.raises(DistillkitError) as caught:
            way()
        assert SECRET not in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_a_server_says_of_a_signed_address_is_not_repeated():
    """A server may send us on to one, which nobody wrote."""
    told = str(as_of_a_disk(OSError(f"403, url='https://host/a?X-Amz-Signature={SECRET}&x=1'"), "s3://bucket/a"))
    assert told == "s3://bucket/a: 403, url='https://host/a?X-Amz-Signature=...&x=1'"


COMMANDS = (
    ("extract-teacher", "{recipe}", "--set", "corpora.0.source.file={address}"),
    ("extract-teacher", "{recipe}", "--set", "corpora.0.source.file='{address}'"),
    ("extract-teacher", "{secret}"),
    ("recipe", "check", "{secret}"),
    ("recipe", "check", "{secret}", "--no-plugins"),
    ("store", "info", "{address}"),
    ("store", "verify", "{address}"),
    ("embed", "{address}", "{address}", "--out", "x.npy"),
    ("search", "{address}", "a cat"),
    ("evaluate", "{address}"),
    ("data", "check", "cc3m", "--root", "{address}"),
    ("train-student", "{recipe}", "--set", "data.images='{address}'"),
    ("push", "{address}", "me/it"),
    ("push", "run", "{address}"),
    ("export", "{address}", "--to", "hf"),
    ("export", "run", "--to", "hf", "--out", "{address}"),
    ("compare", "{address}", "run"),
    ("compare", "run", "other", "--out", "{address}"),
    ("store", "push", "{address}", "me/it"),
    ("mine-neighbours", "{recipe}", "--set", "corpus='{address}'"),
    ("nonsense", "{address}"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[:2]))
def test_every_command_refuses_it_in_one_line(words, recipes, run_cli, tmp_path):
    address = ADDRESSES[0]
    secret = tmp_path / "secret.toml"
    secret.write_text(recipes[0].read_text().replace(f"{tmp_path}/corpus/pairs.tsv", address))
    code, out, err = run_cli(*(word.format(recipe=recipes[0], address=address, secret=secret) for word in words))
    assert code == 1 and SECRET not in out + err and err.count("\n") == 1, err
    assert "http://...@127.0.0.1:9/pairs.tsv" in err and "has a password or a signature in it" in err
    assert not (tmp_path / "out").exists()


def test_python_is_refused_before_anything_is_written(tmp_path, monkeypatch, recipes):
    monkeypatch.setenv("CORPUS", ADDRESSES[0])
    source = Component(kind="csv", file="$CORPUS")
    with pytest.raises(SecretGiven):
        source.build("sources")
    recipe = load(recipes[1], ["data.workers=1"], kind=TrainRecipe)
    secret = recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": ADDRESSES[0]})})
    with pytest.raises(SecretGiven) as caught:
        RunFolder(tmp_path / "run").begin(secret, {})
    assert SECRET not in str(caught.value) and not (tmp_path / "run").exists()
    toy = Toy(tmp_path / "store", {}, {}, ["a", "b"], FIELDS)
    with pytest.raises(SecretGiven) as caught:
        toy.writer(identity={"source": {"knobs": {"database": f"postgres://me:{SECRET}@host/db"}}}).begin()
    assert SECRET not in str(caught.value) and not (tmp_path / "store").exists()


def test_a_web_server_that_asks_who_is_there_is_told_by_the_environment(tmp_path, monkeypatch):
    class Asking(Parts):
        def do_GET(self):  # noqa: N802
            if self.headers.get("Authorization") == f"Bearer {SECRET}":
                return super().do_GET()
            return self.send_error(401)

        do_HEAD = do_GET  # noqa: N815

    (tmp_path / "a.txt").write_text("hello")
    given = {"client_kwargs": {"headers": {"Authorization": f"Bearer {SECRET}"}}}
    with serving(functools.partial(Asking, directory=str(tmp_path))) as address:
        with pytest.raises(OSError, match="401") as caught:
            Remote(address).read("a.txt")
        assert SECRET not in str(caught.value)
        fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_HTTP": json.dumps(given)})
        try:
            HTTPFileSystem.clear_instance_cache()
            assert Remote(address).read("a.txt") == b"hello"
        finally:
            fsspec.config.conf.pop("http")
            HTTPFileSystem.clear_instance_cache()
