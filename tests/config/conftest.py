"""A config that is right, to be made wrong in one place."""

import pytest

GOOD = """
name = "small"
[world]
[text]
files = ["text/*.txt"]
[tokenizer]
vocab_size = 300
[model]
preset = "tiny"
[[phases]]
name = "intermediate"
tasks = ["xnli"]
length = 48
batch_size = 32
epochs = 2
[[phases]]
name = "target"
parent = "intermediate"
tasks = ["pawsx"]
length = 32
batch_size = 16
steps = 100
[[evaluations]]
phase = "target"
tasks = ["pawsx"]
"""


@pytest.fixture
def config(tmp_path):
    """Writes a config file: the good one, or this text, with more text after it."""

    def write(text=GOOD, more=""):
        path = tmp_path / "small.toml"
        path.write_text(text + more, encoding="utf-8")
        return path

    return write
