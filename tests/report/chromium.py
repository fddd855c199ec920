"""A headless Chromium that is spoken to over two pipes, in the words of its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip


def program():
    """Debian's Chromium, or None."""
    return shutil.which("chromium")


class Chromium:
    """One page: what it said and asked for is kept in `events`."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # Chromium reads from its file 3 and writes to 4
        command = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        words = ["bash", "-c", command, program(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(words, pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL)
        os.close(ours[0])
        os.close(theirs[1])
        self.to, self.found = os.fdopen(ours[1], "wb", buffering=0), os.fdopen(theirs[0], "rb")
        self.number, self.session, self.events, self.rest = 0, None, [], b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session = None
        self.ask("Browser.close")
        self.process.wait(30)
        self.to.close()
        self.found.close()

    def ask(self, method, **params):
        """The answer to one call; what happens meanwhile goes to `events`."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": params}
        self.to.write(json.dumps(asked | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while (told := self._next()).get("id") != self.number:
            self.events.append(told)
        assert "error" not in told, f"{method}: {told['error']}"
        return told["result"]

    def open(self, page: Path, *, wide=1200, high=900, **features):
        """Loads a page afresh; `features` are those that media queries ask for, and `media`."""
        media = features.pop("media", "")
        asked = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.ask("Emulation.setEmulatedMedia", media=media, features=asked)
        self.ask("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self.events.append(self._next())

    def value(self, script):
        """What a script comes to."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, path: Path):
        """The whole page, from top to bottom."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def said(self, *methods):
        """The events of these kinds since the page was opened."""
        return [one["params"] for one in self.events if one.get("method") in methods]

    def _next(self):
        while b"\0" not in self.rest:
            read = os.read(self.found.fileno(), 65536)
            assert read, "Chromium ended"
            self.rest += read
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)
