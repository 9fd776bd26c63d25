"""Real servers on this machine: S3 (moto's), the web with and without parts of files, and a bad line before both."""

import functools
import http.client
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@contextmanager
def serving(handler):
    """The address of a server that answers with `handler`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Plain(SimpleHTTPRequestHandler):
    """Whole files and lists of folders."""

    def log_message(self, *said):
        pass


class Parts(Plain):
    """Parts of files too, as every server of large files sends them."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().do_GET()
        with path.open("rb") as file:
            file.seek(int(asked[1]))
            part = file.read(int(asked[2]) + 1 - int(asked[1]))
        self.send_response(206 if part else 416)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None


def bad_line(target, dropped):
    """A proxy for `target`; `dropped(number, path)` says of the n-th request whether its answer is cut off, or how."""
    count = iter(range(10**9))

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which knows "Expect: 100-continue", as S3 clients say

        def log_message(self, *said):
            pass

        def forward(self):
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            how = dropped(next(count), self.path)
            if how == "at once":
                self.close_connection = True
                return
            onward = http.client.HTTPConnection(target.removeprefix("http://"))
            onward.request(self.command, self.path, content, dict(self.headers))
            answer = onward.getresponse()
            body = answer.read()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if how == "halfway" else body)
            self.close_connection = how == "halfway"
            onward.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

    return Proxy


@pytest.fixture(scope="session")
def s3_server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """An empty bucket, s3://corpora, on a real HTTP server; returns a function that puts a folder there."""
    import s3fs

    for name, value in (("AWS_ENDPOINT_URL", s3_server), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    if bucket.exists("corpora"):
        bucket.rm("corpora", recursive=True)
    bucket.mkdir("corpora")

    def put(folder, name=""):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in files:
            key = "/".join(part for part in ("corpora", name, path.relative_to(folder).as_posix()) if part)
            bucket.pipe_file(key, path.read_bytes())
        return f"s3://corpora/{name}".rstrip("/")

    put.bucket = bucket
    yield put
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def web():
    """Serves a folder: `with web(folder) as address`; `handler=Plain` sends no parts of files."""

    def serve(folder, handler=Parts):
        return serving(functools.partial(handler, directory=str(folder)))

    return serve


@pytest.fixture
def impatient(monkeypatch):
    """Tries again at once, and more often."""
    from distillkit.system import remote

    monkeypatch.setattr(remote, "_WAITS", (0.01,) * 12)
