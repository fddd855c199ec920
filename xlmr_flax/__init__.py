"""Intermediate-task training of XLM-R on TPU pods, and its zero-shot scores.

From Python: load_config, run, evaluate, predict, load_encoder, export (see xlmr_flax.api). Importing the package
imports nothing heavy; each function imports what it needs.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlmr_flax.api import evaluate, export, load_config, load_encoder, predict, run

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "export", "load_config", "load_encoder", "predict", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'xlmr_flax' has no attribute {name!r}")
    from xlmr_flax import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """The package, whose `evaluate` is the function also when the room of that name has been imported."""

    @property
    def evaluate(self) -> Any:
        return __getattr__("evaluate")

    @evaluate.setter
    def evaluate(self, room: ModuleType) -> None:
        """Python sets a package's attribute when a room is imported; the room is found in sys.modules."""


sys.modules[__name__].__class__ = _Package
