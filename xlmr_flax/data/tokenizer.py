"""Loads XLM-R's kind of tokenizer from a folder, and encodes many texts at once.

The tokenizer's own offsets are wrong wherever its normaliser changes the number of characters (full-width, combining,
zero-width), so `encode` takes them from data/align.py.
"""

import hashlib
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from xlmr_flax.data.align import token_spans
from xlmr_flax.data.words import SPACE, WordByWord, checked, is_word_by_word, library_ids, refuse_half_characters
from xlmr_flax.errors import InputError, quiet

SPECIAL_WORDS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
JSON_FILE = "tokenizer.json"
SENTENCEPIECE_FILE = "sentencepiece.bpe.model"

# The library's record of one text is some kilobytes: a whole data set of them at once would fill the memory.
TEXTS_AT_ONCE = 4096

NO_TOKENIZER = "this is no tokenizer that the tokenizers library can read"
PROBE = "A cat, ein Käfig. １ \u200b猫"  # that a tokenizer has to encode before it is believed

NORMALISER = "nmt_nfkc"  # XLM-R's
LONGEST_PIECE, SEEDS = 16, 1_000_000  # sentencepiece's own limits

# Sums over training threads differ in the last bits with their number; a fixed one gives one result on every machine.
TRAINING_THREADS = 8

# Weights may have unused rows for alignment, but not a whole other vocabulary.
SPARE_ROWS = 1024


class Pieces(NamedTuple):
    """The sub-words of one text, without special tokens."""

    ids: np.ndarray  # int32
    spans: np.ndarray  # int32 (ids, 2): where each lies in the text, in code points
    aligned: bool  # False: `spans` are the library's own


@dataclass(frozen=True)
class Tokenizer:
    """A sub-word vocabulary with XLM-R's five special words."""

    backend: tokenizers.Tokenizer = field(repr=False, compare=False)
    fingerprint: str
    vocab_size: int
    bos: int
    pad: int
    eos: int
    unk: int
    mask: int

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The sub-words of each text as int32, without special tokens."""
        word_by_word = is_word_by_word(self.backend)
        encode = WordByWord(self.backend).ids if word_by_word else partial(library_ids, self.backend)
        return [np.array(ids, np.int32) for some in _chunks(texts) for ids in encode(some)]

    def encode(self, texts: Sequence[str]) -> list[Pieces]:
        """The sub-words of each text, and where in the text each comes from."""
        return [
            self._pieces(text, encoding)
            for some in _chunks(texts)
            for text, encoding in zip(some, checked(self.backend.encode_batch, some), strict=True)
        ]

    def normalise(self, text: str) -> str:
        """The text as the vocabulary sees it."""
        normaliser = self.backend.normalizer
        return text if normaliser is None else normaliser.normalize_str(text)

    def _pieces(self, text: str, encoding: tokenizers.Encoding) -> Pieces:
        spans = token_spans(text, encoding.tokens, self.normalise)
        own = np.array(encoding.offsets, np.int32).reshape(-1, 2) if spans is None else spans
        return Pieces(np.array(encoding.ids, np.int32), own, spans is not None)


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        yield list(texts[first : first + TEXTS_AT_ONCE])


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a local folder: tokenizer.json, or else only sentencepiece.bpe.model."""
    for name, read in ((JSON_FILE, _read_json), (SENTENCEPIECE_FILE, from_sentencepiece)):
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            return _wrapped(read(content, folder / name), hashlib.sha256(content).hexdigest(), folder / name)
    found = "it has neither" if folder.is_dir() else "there is no such folder"
    raise InputError(f"{folder}: {found}; wanted a folder with {JSON_FILE} or {SENTENCEPIECE_FILE}")


def check_fits(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Refuses a tokenizer that was not made for embeddings of `vocab_size` rows."""
    if tokenizer.vocab_size > vocab_size or tokenizer.vocab_size + SPARE_ROWS <= vocab_size:
        raise InputError(
            f"the tokenizer has {tokenizer.vocab_size} words and the weights have vocab_size={vocab_size}; "
            "take the tokenizer that belongs to the weights"
        )


def _read_json(content: bytes, path: Path) -> tokenizers.Tokenizer:
    backend = _tried(partial(tokenizers.Tokenizer.from_buffer, content), path)
    # Some published folders bake these in; lengths are ours to choose.
    backend.no_truncation()
    backend.no_padding()
    return backend


def _tried(make: Callable[[], tokenizers.Tokenizer], path: Path) -> tokenizers.Tokenizer:
    """What the library makes, once it has encoded a text; damage that it does not look for ends it only then."""
    try:
        with quiet():  # of its panics it prints where in its own code they are
            backend = make()
            backend.encode(PROBE)
    except BaseException as problem:  # the library raises bare Exception, and its panics are not even that
        if not isinstance(problem, Exception) and type(problem).__name__ != "PanicException":
            raise
        raise InputError(f"{path}: {NO_TOKENIZER} ({problem})") from problem
    return backend


def from_sentencepiece(content: bytes, path: Path) -> tokenizers.Tokenizer:
    """The Unigram model of `content` with XLM-R's ids, as transformers builds it."""
    from google.protobuf.message import DecodeError
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    proto = ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as problem:
        raise InputError(f"{path}: this is no sentencepiece model ({problem})") from problem
    if proto.trainer_spec.model_type != 1:
        raise InputError(f"{path}: this sentencepiece model is not a Unigram model, which XLM-R's kind is")
    # fairseq's order: <s> <pad> </s> <unk>, then the pieces after sentencepiece's own three, then <mask>.
    scores = [(word, 0.0) for word in SPECIAL_WORDS[:4]]
    scores += [(piece.piece, piece.score) for piece in proto.pieces[3:]]
    scores += [(SPECIAL_WORDS[4], 0.0)]
    return _tried(partial(_as_xlm_r, scores, proto.normalizer_spec.precompiled_charsmap), path)


def _as_xlm_r(scores: list[tuple[str, float]], charsmap: bytes) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.Unigram(scores, unk_id=3, byte_fallback=False))
    if charsmap:
        backend.normalizer = normalizers.Precompiled(charsmap)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    backend.add_special_tokens(
        [AddedToken(word, lstrip=word == "<mask>", normalized=False, special=True) for word in SPECIAL_WORDS]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return backend


def _wrapped(backend: tokenizers.Tokenizer, fingerprint: str, path: Path) -> Tokenizer:
    ids = [backend.token_to_id(word) for word in SPECIAL_WORDS]
    missing = [word for word, number in zip(SPECIAL_WORDS, ids, strict=True) if number is None]
    if missing:
        raise InputError(
            f"{path}: the tokenizer lacks {' '.join(missing)}; "
            f"wanted one of XLM-R's kind, with {' '.join(SPECIAL_WORDS)}"
        )
    vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    return Tokenizer(backend, fingerprint, vocab_size, *ids)


def train_tokenizer(texts: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Trains a Unigram vocabulary of `vocab_size` ids, special words included, and writes the files that XLM-R has."""
    if vocab_size <= len(SPECIAL_WORDS):
        raise InputError(
            f"a vocabulary of {vocab_size} is no more than the special words: ask for at least some hundreds"
        )
    content = _trained(texts, vocab_size)
    backend = from_sentencepiece(content, folder / SENTENCEPIECE_FILE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SENTENCEPIECE_FILE).write_bytes(content)
    (folder / JSON_FILE).write_text(backend.to_str(pretty=True), encoding="utf-8")
    mask = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    roles = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    roles |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    settings = {
        "tokenizer_class": "XLMRobertaTokenizer",
        "add_prefix_space": True,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "special_tokens_map.json", roles | {"mask_token": mask})
    _write_json(
        folder / "tokenizer_config.json",
        settings | roles | {"mask_token": mask | {"__type": "AddedToken", "special": True}},
    )


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _trained(texts: Iterable[str], vocab_size: int) -> bytes:
    lines = list(_whole_characters(texts))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".tsv") as seeds:
        seeds.writelines(f"{piece}\t{count}\n" for piece, count in _seeds(lines))
        seeds.flush()
        content = _trained_from(lines, seeds.name, vocab_size)
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    model = ModelProto.FromString(content)
    model.trainer_spec.ClearField("seed_sentencepieces_file")  # another name each time
    return model.SerializeToString(deterministic=True)


def _trained_from(lines: list[str], seeds: str, vocab_size: int) -> bytes:
    import sentencepiece

    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            seed_sentencepieces_file=seeds,
            model_writer=written,
            model_type="unigram",
            # <pad> and <mask> are not among sentencepiece's own.
            vocab_size=vocab_size - 2,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            normalization_rule_name=NORMALISER,
            character_coverage=0.9995,
            # Longer lines would be left out without a word.
            max_sentence_length=2**30,
            num_threads=TRAINING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as problem:
        raise InputError(_why(str(problem), vocab_size)) from problem
    return written.getvalue()


def _seeds(lines: Iterable[str]) -> list[tuple[str, int]]:
    """The candidates for pieces: every word, and every part of one, that occurs twice or more.

    sentencepiece's own candidates are what two *different* words share, so in a small vocabulary "the" is none and
    falls to pieces, and masked LM guesses letters from letters.
    """
    import sentencepiece

    normaliser = sentencepiece.SentencePieceNormalizer(rule_name=NORMALISER)
    words = Counter(
        f"{SPACE}{word}" for line in lines for word in normaliser.normalize(line).replace(SPACE, " ").split()
    )
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for stop in range(start + 2, min(len(word), start + LONGEST_PIECE) + 1):
                parts[word[start:stop]] += count
    return sorted(
        ((part, n) for part, n in parts.items() if n > 1), key=lambda item: (-item[1] * len(item[0]), item[0])
    )[:SEEDS]


def _whole_characters(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        refuse_half_characters(text)
        yield text


def _why(problem: str, vocab_size: int) -> str:
    if most := re.search(r"size too high .* value <= (\d+)", problem):
        have = int(most[1]) + 2
        return (
            f"a vocabulary of {vocab_size} is more than the text supports, which is {have}: "
            f"ask for at most {have} or give more text"
        )
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", problem):
        need = int(least[1]) + 2
        return f"a vocabulary of {vocab_size} has no room for the characters of the text: ask for at least {need}"
    if "sentences_.empty()" in problem or "all_chars_count" in problem:
        return "the text to train a tokenizer on is empty: give at least one line with words"
    return f"sentencepiece could not train a vocabulary of {vocab_size}: {problem}"
