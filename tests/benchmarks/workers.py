"""Processes of their own that measure: pytest's has eight simulated devices and compiles without optimising."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

OF_TESTS = ("XLA_FLAGS", "NPROC", "JAX_PLATFORMS", "JAX_NUMPY_RANK_PROMOTION")  # what tests/conftest.py sets


class Worker:
    """A script of this folder, which prints a line of JSON when it is ready and then answers each line with one."""

    def __init__(self, script: str, *arguments: str, env: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in OF_TESTS}
        self.name = " ".join((script, *arguments))
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept | env
        )
        self.ready = self._answer()

    def told(self, line: str = "go") -> Any:
        """The answer to a line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            self.end()
        assert line, f"{self.name} ended without an answer; what it complained of stands above"
        return json.loads(line)
