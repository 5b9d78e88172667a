"""A real Chromium for tests, driven over its DevTools protocol; tests skip where there is none."""

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

PATIENCE_MS = 10_000
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing but this machine is reachable, and the browser itself calls nobody.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--remote-debugging-port=0", "--window-size=1280,1000",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip

_UNTIL = """
new Promise((resolve, reject) => {
  const ends = performance.now() + %d;
  (function look() {
    const found = (() => (%s))();
    if (found) resolve(found);
    else if (performance.now() > ends) reject(new Error("never: " + %s));
    else setTimeout(look, 20);
  })();
})
"""


class ScriptError(AssertionError):
    """A script in the page threw, or waited in vain."""


class Tab:
    """One page; `complaints` are exceptions, failed assertions and refused loads of the page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def emulate(self, **features: str) -> None:
        """CSS media features, such as `prefers-reduced-motion`, with underscores for dashes."""
        named = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self._call("Emulation.setEmulatedMedia", features=named)

    def run(self, script: str) -> Any:
        """The value of an expression; of what it promises, if it is a promise."""
        answer = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            raise ScriptError(f"{thrown.get('description', thrown)}; the page: {self.complaints}")
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true in the page; its value."""
        return self.run(_UNTIL % (PATIENCE_MS, expression, json.dumps(expression)))

    def click(self, selector: str) -> None:
        """Click the first element that the selector finds, once there is one that can be."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.until(f"{found} && !{found}.disabled")
        self.run(f"{found}.click()")

    def texts(self, selector: str) -> list[str]:
        """The texts of every element that the selector finds."""
        script = f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
        found: list[str] = self.run(script)
        return found

    def unnamed(self) -> list[str]:
        """The roles of what takes the keyboard's focus and has no name for a screen reader."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            node["role"]["value"]
            for node in nodes
            if not node["ignored"]
            and not node.get("name", {}).get("value")
            and node["role"]["value"] not in ("RootWebArea", "list")
            and any(each["name"] == "focusable" for each in node.get("properties", ()))
        ]

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        id = next(self._ids)
        self._socket.send(json.dumps({"id": id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_MS / 1000 + 10))
            if message.get("id") == id:
                if "error" in message:
                    raise ScriptError(str(message["error"]))
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message["method"] == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.complaints.append(details.get("exception", details).get("description", "threw"))
        elif message["method"] == "Log.entryAdded":
            entry = message["params"]["entry"]
            # A friend's picture that does not load is no fault of the page.
            if entry["level"] == "error" and "ERR_NAME_NOT_RESOLVED" not in entry["text"]:
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """A running browser; the address of its DevTools."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"No browser: none of {', '.join(NAMES)} is on the PATH.")
    process = subprocess.Popen(
        [found, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{_devtools_port(process, profile / 'DevToolsActivePort')}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _devtools_port(process: subprocess.Popen[bytes], file: Path) -> str:
    for _ in range(600):
        assert process.poll() is None, "the browser did not start"
        if file.exists() and (lines := file.read_text().splitlines()):
            return lines[0]
        time.sleep(0.05)
    raise AssertionError("the browser never said where its DevTools are")


@contextmanager
def new_tab(browser: str) -> Iterator[Tab]:
    """A tab of its own, closed in the end."""
    target = httpx.put(f"{browser}/json/new?about:blank").raise_for_status().json()
    with connect(target["webSocketDebuggerUrl"], max_size=None, open_timeout=20) as socket:
        yield Tab(socket)
    httpx.get(f"{browser}/json/close/{target['id']}")
