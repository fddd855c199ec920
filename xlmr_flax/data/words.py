"""Sub-words of many texts, where each distinct word is looked up once.

XLM-R's pre-tokeniser cuts the normal form at white space, and the model sees one word at a time, so the sub-words of a
text are those of its words. With 250,002 pieces the model needs about 25 µs for a word, and a remembered one next to
nothing.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import tokenizers

from xlmr_flax.errors import InputError

SPACE = "\u2581"  # how sentencepiece writes the space before a word

WHITE_SPACE = {"type": "WhitespaceSplit"}
METASPACE = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
XLM_R = {"type": "Sequence", "pretokenizers": [WHITE_SPACE, METASPACE]}

# Where a normal form keeps these, the library cuts it otherwise: a ▁ begins a word, and Python counts four control
# characters as white space that Unicode does not.
ODD = re.compile("[▁\x1c-\x1f]")

# About 100 MB; text without spaces, where a sentence is a word, would grow without end.
REMEMBERED = 400_000


class WordByWord:
    """Encodes texts as the tokenizer does, and remembers their words from call to call."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        self.bare = tokenizers.Tokenizer(backend.model)  # the same model, not a copy, without what goes before it
        self.known: dict[str, list[int]] = {}
        added = [re.escape(token.content) for token in backend.get_added_tokens_decoder().values()]
        self.added = re.compile("|".join(added) or "(?!)")  # found in the text as it stands

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The sub-words of each text, without special tokens."""
        words = [self._words(text) for text in texts]
        self._learn(words)
        whole = [text for text, of_text in zip(texts, words, strict=True) if of_text is None]
        others = iter(library_ids(self.backend, whole))
        known = self.known
        return [
            next(others) if of_text is None else [number for word in of_text for number in known[word]]
            for of_text in words
        ]

    def _words(self, text: str) -> list[str] | None:
        """The words of the normal form; None where the whole text is the library's to cut."""
        normaliser = self.backend.normalizer
        try:
            normal = text if normaliser is None else normaliser.normalize_str(text)
        except (TypeError, UnicodeEncodeError):
            refuse_half_characters(text)
            raise
        return None if self.added.search(text) or ODD.search(normal) else normal.split()

    def _learn(self, words: Sequence[list[str] | None]) -> None:
        if len(self.known) > REMEMBERED:
            self.known.clear()
        new = list(dict.fromkeys(word for some in words if some for word in some if word not in self.known))
        found = library_ids(self.bare, [f"{SPACE}{word}" for word in new])
        self.known.update(zip(new, found, strict=True))


def is_word_by_word(backend: tokenizers.Tokenizer) -> bool:
    """Whether this tokenizer works as XLM-R's does: words at white space, a Unigram model, nothing added but words."""
    return (
        backend.pre_tokenizer is not None
        and isinstance(backend.model, tokenizers.models.Unigram)
        and _state(backend.pre_tokenizer) == XLM_R
        and not any(token.normalized for token in backend.get_added_tokens_decoder().values())
    )


def library_ids(backend: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    """The sub-words of each text as the library gives them, in parallel."""
    encodings = checked(backend.encode_batch_fast, texts)
    return [encoding.ids for encoding in encodings]


def checked(encode_batch: Callable[..., list[tokenizers.Encoding]], texts: list[str]) -> list[tokenizers.Encoding]:
    """What the library gives for these texts; one with half a character is an InputError."""
    try:
        return encode_batch(texts, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):
        for text in texts:
            refuse_half_characters(text)
        raise


def refuse_half_characters(text: str) -> None:
    """Raises InputError where the text holds what no encoding can write."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(
            f"the text {text[:60]!r} holds half of a surrogate pair, which is no character; "
            "write the whole character into the data file"
        ) from None


def _state(pre_tokenizer: Any) -> Any:
    return json.loads(pre_tokenizer.__getstate__())
