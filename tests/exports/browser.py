"""A headless Chromium that is spoken to over a pipe. https://chromedevtools.github.io/devtools-protocol/"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page. `asked`: every address that it asked for."""

    def __init__(self, size=(1000, 900)):
        ours, theirs = os.pipe(), os.pipe()  # what it reads, what it writes
        self._folder = tempfile.TemporaryDirectory()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        flags += [f"--user-data-dir={self._folder.name}", f"--window-size={size[0]},{size[1]}"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # the network is off
        opened = 'read=$1 write=$2; shift 2; exec "$@" 3<&"$read" 4>&"$write"'
        self._process = subprocess.Popen(
            ["bash", "-c", opened, "bash", str(ours[0]), str(theirs[1]), CHROMIUM, *flags, "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb")
        self._numbers, self._read, self.asked, self.errors = itertools.count(1), b"", [], []
        self._session = None
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    def _next(self):
        while b"\0" not in self._read:
            part = os.read(self._from.fileno(), 1 << 20)
            assert part, "the browser has ended"
            self._read += part
        first, _, self._read = self._read.partition(b"\0")
        told = json.loads(first)
        params = told.get("params", {})
        if told.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif told.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", "an error"))
        elif told.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        return told

    def open(self, address):
        self.send("Page.navigate", url=address)
        self.until(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def say(self, code):
        """The value of an expression on the page."""
        told = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, code, seconds=30):
        """Wait until an expression is true; how many seconds that took."""
        begun = time.perf_counter()
        while not self.say(code):
            assert time.perf_counter() - begun < seconds, (code, self.errors, self.say("document.body.innerText"))
            time.sleep(0.01)
        return time.perf_counter() - begun

    def choose(self, selector, paths):
        """Give files to an input, as a person does who chooses or drops them."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def picture(self, path, **look):
        """A PNG of the whole page; `look`: dark=True, width=390."""
        dark = {"name": "prefers-color-scheme", "value": "dark" if look.get("dark") else "light"}
        self.send("Emulation.setEmulatedMedia", features=[dark])
        width = look.get("width", 1000)
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        made = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._to.close()
        self._from.close()
        self._folder.cleanup()
