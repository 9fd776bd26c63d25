"""A stand-in for a hub of models and data: its API on this machine, with what was sent to it.

https://huggingface.co/docs/hub/api; large files go by https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

import base64
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.servers import serving

SMALL = 10_000  # bytes; larger files are sent apart


class Repositories:
    """`files[kind/owner/name][path]`: the bytes there. `token`: without it, nobody is let in. `refuse`: a pattern of
    requests, and what they are answered: None is a connection that is cut. `signed`: behind addresses of uploads.
    """

    def __init__(self, token="secret"):
        self.token, self.files, self.private, self._objects, self.sent = token, {}, set(), {}, 0
        self.refuse, self.signed = None, ""

    def handler(self):
        hub = self

        class Hub(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *said):
                pass

            def parse_request(self):
                good = super().parse_request()
                if not good or not hub.refuse or not re.match(hub.refuse[0], f"{self.command} {self.path}"):
                    return good
                self.body()
                self.close_connection = True
                if hub.refuse[1] is not None:
                    self.send_response(hub.refuse[1])
                    self.send_header("Content-Length", "9")
                    self.send_header("Connection", "close")  # else the next request may go by what is being closed
                    self.end_headers()
                    self.wfile.write(b"<p>no</p>")
                return False

            def answer(self, code, value):
                data = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def do_GET(self):
                found = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)", self.path.partition("?")[0])
                name = f"{found[1]}/{found[2]}" if found else ""
                if name not in hub.files:
                    return self.answer(404, {"error": self.path})
                there = [{"rfilename": path} for path in (".gitattributes", *hub.files[name])]
                told = {"id": found[2], "private": name in hub.private, "siblings": there, "tags": []}
                return self.answer(200, told | {"downloads": 0, "likes": 0})

            def do_PUT(self):
                data = self.body()
                hub.sent += len(data)
                hub._objects[self.path.partition("?")[0].rpartition("/")[2]] = data
                self.answer(200, {})

            def do_POST(self):
                data = self.body()
                if self.headers.get("Authorization") != f"Bearer {hub.token}":
                    return self.answer(401, {"error": "Invalid username or password."})
                for pattern, way in (
                    (r"/api/repos/create", self.create),
                    (r"/api/validate-yaml", self.validate),
                    (r"/api/(models|datasets)/(.+)/preupload/main", self.modes),
                    (r"/(?:datasets/)?.+\.git/info/lfs/objects/batch", self.batch),
                    (r"/api/(models|datasets)/(.+)/commit/main", self.commit),
                ):
                    found = re.fullmatch(pattern, self.path.partition("?")[0])
                    if found:
                        return way(data, *found.groups())
                return self.answer(404, {"error": self.path})

            def create(self, data):
                asked = json.loads(data)
                kind = {"model": "models", "dataset": "datasets"}[asked.get("type") or "model"]
                name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                address = {"url": f"http://{self.headers['Host']}/{name}", "id": name}
                if f"{kind}/{name}" in hub.files:  # it stays as public or private as it is
                    return self.answer(409, {"error": "You already created this repo"} | address)
                hub.files[f"{kind}/{name}"] = {}
                if asked.get("private") or asked.get("visibility") == "private":
                    hub.private.add(f"{kind}/{name}")
                return self.answer(200, address)

            def validate(self, data):
                content = json.loads(data)["content"]
                told = [] if content.startswith("---\nlicense: ") else [{"message": "no licence is named"}]
                self.answer(200, {"errors": told, "warnings": []})

            def modes(self, data, kind, name):
                files = json.loads(data)["files"]
                told = [
                    {"path": one["path"], "uploadMode": "lfs" if one["size"] > SMALL else "regular"} for one in files
                ]
                self.answer(200, {"files": [one | {"shouldIgnore": False} for one in told]})

            def batch(self, data):
                host = self.headers["Host"]
                objects = [
                    {"oid": one["oid"], "size": one["size"]}
                    | (
                        {}
                        if one["oid"] in hub._objects
                        else {"actions": {"upload": {"href": f"http://{host}/o/{one['oid']}{hub.signed}"}}}
                    )
                    for one in json.loads(data)["objects"]
                ]
                self.answer(200, {"transfer": "basic", "objects": objects})

            def commit(self, data, kind, name):
                place = name if kind == "models" else f"{kind}/{name}"
                files = hub.files[f"{kind}/{name}"]
                for line in map(json.loads, data.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        files[value["path"]] = hub._objects[value["oid"]]
                    elif line["key"] == "deletedFile":
                        del files[value["path"]]
                self.answer(
                    200,
                    {
                        "success": True,
                        "commitOid": "0" * 40,
                        "commitUrl": f"http://{self.headers['Host']}/{place}/commit/{'0' * 40}",
                    },
                )

        return Hub


@contextmanager
def hub_here(monkeypatch):
    """The repositories of a hub that huggingface_hub talks to."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    made = Repositories()
    with serving(made.handler()) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", made.token)
        yield made
