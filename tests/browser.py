"""A headless Chromium, driven through its DevTools protocol over two pipes; nothing has to be installed for it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    "--disable-dev-shm-usage",
)
WAIT_S = 60.0
AS_3_AND_4 = """import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""


def need_chromium() -> str:
    """The path of a Chromium; the test is skipped where there is none."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"no browser is installed here: none of {', '.join(NAMES)} is on the path")


class Page:
    """One tab. What it logged, threw and asked the network for is kept."""

    def __init__(self, folder: Path) -> None:
        self._read, theirs_out = os.pipe()
        theirs_in, self._write = os.pipe()
        words = [
            need_chromium(),
            *FLAGS,
            f"--user-data-dir={folder}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        high = [
            fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (theirs_in, theirs_out)
        ]  # above those they become
        self._process = subprocess.Popen(
            [sys.executable, "-c", AS_3_AND_4, *map(str, high), *words],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for pipe in (theirs_in, theirs_out, *high):
            os.close(pipe)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._read, selectors.EVENT_READ)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            said["sessionId"] = self._session
        os.write(self._write, json.dumps(said).encode() + b"\0")
        until = time.monotonic() + WAIT_S
        while True:
            found = self._next(until)
            if found.get("id") == self._number:
                assert "error" not in found, found
                result = found["result"]
                assert isinstance(result, dict)
                return result
            self.events.append(found)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert self._ready.select(max(0.0, until - time.monotonic())), "the browser does not answer"
            got = os.read(self._read, 1 << 20)
            assert got, "the browser has ended"
            self._buffer += got
        one, _, self._buffer = self._buffer.partition(b"\0")
        found = json.loads(one)
        assert isinstance(found, dict)
        return found

    def look(self, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Set the size of the window, light or dark, and screen or print."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, url: str) -> None:
        """Go to a page, forgetting what was logged before."""
        self.events.clear()
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What an expression, which may be a promise, comes to in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Wait until an expression is true in the page."""
        until = time.monotonic() + WAIT_S
        safely = (
            f"try {{ const v = {expression}; return v instanceof Node ? true : v }} catch {{ return null }}"
        )
        tried = f"(() => {{ {safely} }})()"  # there may be no page yet
        while not (found := self.value(tried)):
            assert time.monotonic() < until, f"never came: {expression}; {self.complaints()}"
            time.sleep(0.05)
        return found

    def picture(self, path: Path, whole: bool = True) -> Path:
        """A screenshot, of the whole page."""
        shot = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole)
        )
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def complaints(self) -> list[str]:
        """Errors and warnings that the page logged, and exceptions that nobody caught."""
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(
                    " ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"])
                )
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Addresses that the page asked for, but for itself and the data that it carries."""
        events = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        sent = [found["request"]["url"] for found in events if found.get("type") != "Document"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def close(self) -> None:
        """End the browser."""
        try:
            self._session = ""
            self.call("Browser.close")
        except (AssertionError, OSError):
            self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
