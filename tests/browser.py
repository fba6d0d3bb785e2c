"""A page in headless Chromium, driven through its DevTools pipe. It needs nothing but the browser.

The browser reads commands from file descriptor 3 and writes answers and events to 4, each a JSON text that ends with a
zero byte (``--remote-debugging-pipe``).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

AXE = os.environ.get("AXE_CORE")  # axe.min.js of the npm package axe-core
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page. ``events`` collects all that the browser reports."""

    def __init__(
        self, path: str | Path, width: int = 1400, height: int = 900, dark: bool = False, wait: float = 60
    ):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        inward, self.outward = os.pipe()
        self.inward, outward = os.pipe()
        ends = [
            fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (inward, outward)
        ]  # not 3 or 4, so neither is lost
        os.close(inward)
        os.close(outward)

        def place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
            "--hide-scrollbars", f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}",
            "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, pass_fds=(3, 4), preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for end in ends:
            os.close(end)
        self.rest, self.number, self.session, self.wait = b"", 0, None, wait
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Browser.setDownloadBehavior", behavior="deny")
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        end = time.monotonic() + wait
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next(end))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        os.close(self.outward)
        os.close(self.inward)
        self.folder.cleanup()

    def call(self, method: str, **params) -> dict:
        """Send a command and return its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self.session
        os.write(self.outward, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.wait
        while True:
            found = self._next(end)
            if found.get("id") == self.number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
            self.events.append(found)

    def _next(self, end: float) -> dict:
        while b"\0" not in self.rest:
            if not select.select([self.inward], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            more = os.read(self.inward, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def run(self, code: str):
        """Run JavaScript in the page and return its value. It may use ``await``."""
        code = f"(async () => {{ {code} }})()"
        found = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", "error in the page"))
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + self.wait
        while not self.run(f"return Boolean({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def key(self, name: str) -> None:
        """Press a key: Enter, ArrowDown, Escape, or a sign."""
        codes = {"Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "Escape": 27, "ArrowLeft": 37}
        about = {"key": name, "windowsVirtualKeyCode": codes.get(name, ord(name[0]))}
        text = {"text": "\r"} if name == "Enter" else {"text": name} if len(name) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def write(self, text: str) -> None:
        """Type into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        """Move, press, release or turn the wheel at a place of the window."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def problems(self) -> list[str]:
        """Errors in the console, exceptions, and requests to anything but the page itself."""
        self.run("return 0")  # so that events before it have come
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:500])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(params["args"])[:500])
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                address = params["request"]["url"]
                if params.get("type") != "Document" and not address.startswith(("data:", "blob:")):
                    found.append(f"request: {address[:200]}")
        return found

    def violations(self) -> list[str]:
        """What axe-core finds wrong in the page as it is now, shadow trees included: rule and places."""
        self.run(Path(AXE).read_text(encoding="utf-8"))
        return self.run(
            "const found = await axe.run(document, {resultTypes: ['violations']}); return found.violations.map((v) => "
            "v.id + ': ' + v.nodes.slice(0, 5).map((node) => node.target.flat().join(' ')).join(', '))"
        )

    def picture(self, path: str | Path, whole: bool = False) -> None:
        """Save a PNG of the window, or of the whole page."""
        options = {"captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = size | {"x": 0, "y": 0, "scale": 1}
        Path(path).write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", format="png", **options)["data"])
        )
