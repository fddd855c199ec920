"""What could not be computed of a graph, while all that does not need it goes on."""

import contextlib
import traceback
from collections.abc import Iterator

from xlmr_flax.errors import InputError, Interrupted, TrainingError
from xlmr_flax.execute.context import Context
from xlmr_flax.graph.nodes import Node, folder_name
from xlmr_flax.train import processes


class Failures:
    """The nodes that failed, with their errors, and those that wait for them in vain."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.errors: dict[str, Exception] = {}  # by folder
        self.lost: list[str] = []
        self._keys: set[str] = set()

    def block(self, node: Node) -> bool:
        """Whether a node needs one that failed; it is then counted as lost."""
        if not any(parent.key in self._keys for parent in node.parents):
            return False
        self._keys.add(node.key)
        self.lost.append(folder_name(node))
        return True

    @contextlib.contextmanager
    def kept(self, node: Node) -> Iterator[None]:
        """Keeps the error of a node's computation. An unexpected one ends an experiment, but no study of many phases.

        Of several processes one alone may have had it, and the others wait: then it ends a study too.
        """
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            if not isinstance(error, InputError | TrainingError):
                if self.context.graph is None or processes.several():
                    raise
                self.context.say("".join(traceback.format_exception(error)))
            self._keys.add(node.key)
            self.errors[folder_name(node)] = error
            self.context.say(f"{folder_name(node)}: failed, and what does not need it goes on: {_sentence(error)}")

    def tell(self) -> None:
        """Raises what a run ends with when something failed; bad input alone is told as such."""
        if not self.errors:
            return
        first = next(iter(self.errors.values()))
        if len(self.errors) == 1 and isinstance(first, InputError | TrainingError):
            text = str(first)
        else:
            failed = "\n".join(f"- {name}: {_sentence(error)}" for name, error in self.errors.items())
            text = f"{len(self.errors)} of the parts failed:\n{failed}"
        if self.lost:
            text += f"\nnot computed, for want of that: {', '.join(self.lost)}"
        kind = InputError if all(isinstance(error, InputError) for error in self.errors.values()) else TrainingError
        raise kind(text) from first


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, InputError | TrainingError) else f"{type(error).__name__}: {error}"
