"""A headless Chromium, spoken to over two pipes: what a page says, asks the network for, and does when pointed at.

https://chromedevtools.github.io/devtools-protocol/; messages are JSON, each ended by a zero byte.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT = 60


def chromium():
    """Where it is, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in a browser of its own. `said`: console messages and exceptions; `asked`: addresses that were asked."""

    def __init__(self, folder):
        ours, theirs = os.pipe(), os.pipe()
        self._write, self._read = ours[1], theirs[0]
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
        ]
        line = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", line, chromium(), *flags, f"--user-data-dir={folder}"],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._numbers, self._left, self.said, self.asked, self._seen = itertools.count(1), b"", [], [], set()
        self._session = None
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        os.close(self._write)
        self.process.terminate()
        self.process.wait(WAIT)
        os.close(self._read)

    def call(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, (method, told["error"])
                return told["result"]

    def _next(self):
        until = time.monotonic() + WAIT
        while b"\0" not in self._left:
            assert select.select([self._read], [], [], max(until - time.monotonic(), 0))[0], (
                "the browser does not answer"
            )
            got = os.read(self._read, 1 << 20)
            assert got, "the browser has ended"
            self._left += got
        message, _, self._left = self._left.partition(b"\0")
        told = json.loads(message)
        self._heard(told.get("method"), told.get("params", {}))
        return told

    def _heard(self, method, told):
        self._seen.add(method)
        if method == "Runtime.exceptionThrown":
            self.said.append(told["exceptionDetails"]["exception"].get("description", "?"))
        elif method == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(one.get("value")) for one in told["args"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def open(self, path, width=1280, height=900, dark=False, phone=False):
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        sharp = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=sharp, mobile=phone
        )
        self._seen.clear()
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        while "Page.loadEventFired" not in self._seen:
            self._next()

    def run(self, script):
        """The value of an expression; promises are waited for."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]["exception"].get("description")
        return told["result"].get("value")

    def point(self, x, y, kind="mouseMoved", **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def screenshot(self, path):
        """The whole page, however long."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        Path(path).write_bytes(base64.b64decode(taken["data"]))
