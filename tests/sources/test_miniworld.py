"""The generated world's files: counts, reproducibility, languages, layouts."""

import itertools
import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from xlmr_flax.config.world import LANGUAGES_MAX, Sizes, WorldSettings
from xlmr_flax.errors import InputError
from xlmr_flax.sources.conll import read_tagged
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.sources.dictionary import read_pairs as read_pairs_of_words
from xlmr_flax.sources.miniworld.draws import distinct, stream
from xlmr_flax.sources.miniworld.language import grammar_of, make_language, surface, tell
from xlmr_flax.sources.miniworld.lexicon import alphabet_of
from xlmr_flax.sources.miniworld.words import ANCHORS, CONTENT, DIGITS, NAMES, TAGS
from xlmr_flax.sources.miniworld.world import Event, Thing
from xlmr_flax.sources.miniworld.write import write_world
from xlmr_flax.sources.squad import read_squad
from xlmr_flax.sources.tatoeba import read_tatoeba
from xlmr_flax.sources.text import read_text
from xlmr_flax.sources.tsv import read_pairs

# Odd numbers that divide by nothing, small enough to write in a second.
SMALL = WorldSettings(
    languages=("x1", "x2", "x5", "x7"),
    documents=211,
    documents_by_language=(("x2", 17),),
    nli=Sizes(train=101, dev=31, test=37),
    paraphrase=Sizes(train=97, dev=29, test=41),
    tagging=Sizes(train=103, dev=23, test=67),
    questions=Sizes(train=61, dev=27, test=33),
    choice=Sizes(train=53, dev=21, test=0),
    retrieval_pairs=300,
)
CODES = ("en", *SMALL.languages)


def written(folder: Path, settings: WorldSettings) -> dict[str, bytes]:
    write_world(settings, folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("world")
    write_world(SMALL, place)
    return place


@pytest.fixture(scope="module")
def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_every_file_has_exactly_the_examples_asked_for(folder, files):
    expected = {"world.json": None}
    for name, sizes in (("xnli", SMALL.nli), ("pawsx", SMALL.paraphrase), ("udpos", SMALL.tagging)):
        expected[f"{name}/train-en.tsv"] = sizes.train
        for code in CODES:
            expected |= {f"{name}/dev-{code}.tsv": sizes.dev, f"{name}/test-{code}.tsv": sizes.test}
    expected |= {"squad/train-v1.1.json": SMALL.questions.train, "squad/dev-v1.1.json": SMALL.questions.dev}
    expected |= {f"xquad/xquad.{code}.json": SMALL.questions.test for code in CODES}
    expected |= {"cosmosqa/train.csv": SMALL.choice.train, "cosmosqa/valid.csv": SMALL.choice.dev}
    expected |= {f"text/{code}.txt": 17 if code == "x2" else 211 for code in CODES}
    for code in SMALL.languages:
        expected |= {f"tatoeba/tatoeba.{code}-eng.{side}": SMALL.retrieval_pairs for side in (code, "eng")}
    told = {name: rows_in(folder / name) for name in files if not name.startswith("dictionaries/")}
    assert told == expected


def test_a_dictionary_of_each_pair_of_languages_is_read_back_and_back_again(folder):
    by_pair = {
        (one, other): read_pairs_of_words(folder / f"dictionaries/{one}-{other}.txt")
        for one in CODES for other in CODES if one != other
    }  # fmt: skip
    assert len(by_pair) == len(list((folder / "dictionaries").iterdir()))
    for (one, other), words in by_pair.items():
        assert len(words) > 50
        for word, translations in words.items():
            assert word not in translations
            assert all(word in by_pair[other, one][translation] for translation in translations)


def rows_in(path: Path) -> int | None:
    readers = {"xnli": read_pairs, "pawsx": read_pairs, "udpos": read_tagged, "squad": read_squad, "xquad": read_squad}
    readers |= {"cosmosqa": read_cosmosqa, "text": read_text}
    if path.parent.name == "tatoeba":
        code = path.name.split(".")[1].removesuffix("-eng")
        return len(read_tatoeba(path.with_suffix(f".{code}"), path.with_suffix(".eng")))
    return len(readers[path.parent.name](path)) if path.parent.name in readers else None


def test_the_same_settings_write_the_same_bytes(files, tmp_path):
    assert written(tmp_path, SMALL) == files


def test_another_seed_writes_other_bytes_in_every_file(files, tmp_path):
    other = written(tmp_path, SMALL.model_copy(update={"seed": 1}))
    assert other.keys() == files.keys()
    assert [name for name in files if other[name] == files[name]] == []
    lexicon, before = (json.loads(some["world.json"])["lexicon"]["x1"] for some in (other, files))
    assert sum(lexicon[word] == before[word] for word in CONTENT) < 5


def test_adding_a_language_changes_no_other_file(files, tmp_path):
    more = written(tmp_path, SMALL.model_copy(update={"languages": ("x3", *SMALL.languages)}))
    assert [name for name in files if more[name] != files[name]] == ["world.json"]
    assert all("x3" in name for name in more.keys() - files.keys())
    lexicon, before = (json.loads(some["world.json"])["lexicon"] for some in (more, files))
    assert {code: lexicon[code] for code in CODES} == before


@pytest.mark.parametrize(
    ("family", "folders"),
    [
        ("nli", ("xnli",)),
        ("paraphrase", ("pawsx",)),
        ("tagging", ("udpos",)),
        ("questions", ("squad", "xquad")),
        ("choice", ("cosmosqa",)),
    ],
)
def test_a_familys_size_changes_no_other_family_and_no_other_split(files, tmp_path, family, folders):
    sizes = getattr(SMALL, family)
    other = written(tmp_path, SMALL.model_copy(update={family: sizes.model_copy(update={"train": sizes.train + 8})}))
    changed = [name for name in files if other[name] != files[name]]
    assert [name for name in changed if name != "world.json"] == [
        name for name in files if name.startswith(folders) and "train" in name
    ]


def test_fewer_documents_are_the_first_of_more(files, tmp_path):
    other = written(tmp_path, SMALL.model_copy(update={"documents": 50}))
    assert files["text/en.txt"].startswith(other["text/en.txt"])
    assert other["text/x2.txt"] == files["text/x2.txt"]  # its number is its own
    assert other["text/en.txt"].count(b"\n") == 50


def test_documents_are_not_translations_of_each_other(files):
    words = json.loads(files["world.json"])["lexicon"]["x1"]
    english = [set(line.split()) for line in files["text/en.txt"].decode().splitlines()]
    invented = [set(line.split()) for line in files["text/x1.txt"].decode().splitlines()]
    translated = [{words.get(word, word) for word in document} for document in english]
    same = sum(a == b for a, b in zip(translated, invented, strict=True))
    assert same <= 2  # of 211; nearly all would be, were they parallel


@pytest.mark.parametrize("family", ["xnli", "pawsx", "udpos"])
@pytest.mark.parametrize("code", CODES)
def test_splits_have_no_example_in_common(folder, family, code):
    read = read_tagged if family == "udpos" else read_pairs
    splits = [f"train-{code}", f"dev-{code}", f"test-{code}"][code != "en" :]
    told = [[row._replace(id="", group="") for row in read(folder / family / f"{split}.tsv")] for split in splits]
    for rows in told:
        assert len(set(rows)) == len(rows)
    for one, other in itertools.combinations(told, 2):
        assert not set(one) & set(other)


def test_questions_of_different_splits_have_no_paragraph_in_common(folder):
    names = ("squad/train-v1.1.json", "squad/dev-v1.1.json", "xquad/xquad.en.json")
    contexts = [{row.context for row in read_squad(folder / name)} for name in names]
    assert [len(some) for some in contexts] == [31, 14, 17]  # two questions each
    assert len(set.union(*contexts)) == 31 + 14 + 17


def test_articles_hold_several_paragraphs(folder):
    data = json.loads((folder / "xquad/xquad.x5.json").read_text())["data"]
    assert [len(article["paragraphs"]) for article in data] == [5, 5, 5, 2]
    assert len({article["title"] for article in data}) == 4


def test_tables_end_their_lines_as_the_official_files_do(files):
    for name in ("xnli/test-x1.tsv", "pawsx/train-en.tsv", "cosmosqa/valid.csv"):
        assert files[name].count(b"\n") == files[name].count(b"\r\n") > 0
    assert files["cosmosqa/train.csv"].startswith(b"id,context,question,answer0,answer1,answer2,answer3,label\r\n")
    assert not any(b"\r" in files[name] for name in ("udpos/test-x1.tsv", "text/x1.txt", "tatoeba/tatoeba.x1-eng.x1"))


def test_every_alphabet_is_its_own_and_survives_normalisation():
    letters = "".join("".join(alphabet_of(number)) for number in range(1, LANGUAGES_MAX + 1))
    assert len(letters) == len(set(letters)) == 16 * LANGUAGES_MAX
    assert all(unicodedata.category(letter) in ("Ll", "Lo") for letter in letters)
    assert unicodedata.normalize("NFKC", letters) == letters
    assert not any("LATIN" in unicodedata.name(letter) for letter in letters)


def test_languages_share_names_digits_and_punctuation_only(files):
    vocabularies = vocabularies_of(files)
    for one, other in itertools.combinations(CODES, 2):
        shared = vocabularies[one] & vocabularies[other]
        assert shared <= set(ANCHORS)
        assert {".", "?", "5", "Anna"} <= shared


def test_without_anchors_languages_share_not_one_letter(tmp_path):
    vocabularies = vocabularies_of(written(tmp_path, SMALL.model_copy(update={"shared_anchors": False})))
    letters = {code: set("".join(words)) for code, words in vocabularies.items()}
    for one, other in itertools.combinations(CODES, 2):
        assert not letters[one] & letters[other]
    assert {".", "5", "Anna"} <= vocabularies["en"]


def vocabularies_of(files: dict[str, bytes]) -> dict[str, set[str]]:
    """Every word that stands in a file of that language."""
    found = {}
    for code in CODES:
        own = [
            name for name in files if name.split("/")[0] in ("xnli", "pawsx", "udpos", "text") and f"{code}." in name
        ]
        words = set(b" ".join(files[name] for name in own).decode().split())
        found[code] = words - set(TAGS.values()) - {"entailment", "neutral", "contradiction", "0", "1"}
    return found


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_the_rate_of_cognates_is_the_share_of_content_words_that_english_has_too(rate):
    words = make_language(0, "x1", cognate_frac=rate, shared_anchors=False).lexicon.words
    same = [word for word in CONTENT if words[word] == word]
    assert len(same) == round(rate * len(CONTENT))
    assert not any(words[word] == word for word in TAGS if word not in CONTENT)


def test_a_higher_rate_only_adds_cognates():
    few, many = (make_language(0, "x1", cognate_frac=rate, shared_anchors=True).lexicon.words for rate in (0.2, 0.6))
    assert all(many[word] == word for word in CONTENT if few[word] == word)
    assert all(many[word] in (word, few[word]) for word in TAGS)


@pytest.mark.parametrize("code", ["x1", "x4", "x33", "x60"])
def test_a_language_has_another_word_for_each_english_one(code):
    words = make_language(3, code, cognate_frac=0.0, shared_anchors=True).lexicon.words
    assert words.keys() == TAGS.keys()
    assert len(set(words.values())) == len(words)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("en", "overnight Anna never hated 3 red dogs in the garden ."),
        ("x1", "overnight Anna never hated 3 red dog+s in the garden ."),
        ("x2", "overnight Anna hated never 3 dog+s red in the garden ."),
        ("x3", "overnight Anna in the garden 3 red dog+s never hated ."),
        ("x4", "overnight hated never Anna 3 s+dog red in the garden ."),
        ("x5", "overnight Anna garden in 3 red dog never hated ."),
    ],
)
def test_each_language_has_its_own_order_of_words(code, told):
    event = Event(
        Thing("Anna"), "loved", Thing("dog", None, "red", "3"), "garden", "overnight", ("time",), ("place",), True
    )
    language = make_language(0, code, cognate_frac=0.0, shared_anchors=True)
    words, plural = language.lexicon.words, language.lexicon.plural
    wanted = []
    for word in told.split():
        parts = [plural if part == "s" else words["dog" if part == "dogs" else part] for part in word.split("+")]
        wanted.append("".join(parts) + ("s" if word == "dogs" else ""))
    assert surface(tell(language, event)) == " ".join(wanted)


def test_later_languages_have_grammars_of_many_kinds():
    grammars = [grammar_of(number) for number in range(1, LANGUAGES_MAX + 1)]
    assert {grammar.order for grammar in grammars[5:]} == {"SVO", "SOV", "VSO"}
    assert len(set(grammars)) > 30


def test_retrieval_has_no_anchors_and_no_line_twice(folder):
    for code in SMALL.languages:
        rows = read_tatoeba(folder / f"tatoeba/tatoeba.{code}-eng.{code}", folder / f"tatoeba/tatoeba.{code}-eng.eng")
        assert len({row.source for row in rows}) == len({row.target for row in rows}) == 300
        assert len({frozenset(Counter(row.target.split()).items()) for row in rows}) == 300  # nor in another order
        words = {word for row in rows for word in (row.source + " " + row.target).split()}
        assert not words & {*NAMES, *DIGITS}
        # The full stop is all that the two sides share.
        assert {w for row in rows for w in row.source.split()} & {w for row in rows for w in row.target.split()} == {
            "."
        }


def test_retrieval_lines_are_translations(folder, files):
    words = json.loads(files["world.json"])["lexicon"]["x1"]
    for row in read_tatoeba(folder / "tatoeba/tatoeba.x1-eng.x1", folder / "tatoeba/tatoeba.x1-eng.eng"):
        assert row.source == " ".join(words[word] for word in row.target.split())  # x1 has English's order


def test_tags_are_universal_and_those_of_the_words(folder, files):
    lexicon = json.loads(files["world.json"])["lexicon"]
    universal = {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "NUM", "PRON", "PROPN", "PUNCT", "VERB"}
    for code in CODES:
        tag_of = {word: TAGS[english] for english, word in lexicon[code].items()}
        rows = read_tagged(folder / f"udpos/test-{code}.tsv")
        pairs = {pair for row in rows for pair in zip(row.words, row.tags, strict=True)}
        assert {tag for _, tag in pairs} == universal - ({"DET"} if code == "x5" else set())
        assert {(word, tag) for word, tag in pairs if word in tag_of} <= set(tag_of.items())
        assert {tag for word, tag in pairs if word not in tag_of} <= {"NOUN"}  # plurals


def test_the_default_world_uses_every_word_of_every_language(tmp_path):
    settings = WorldSettings(
        languages=("x1",), nli=Sizes(train=0, dev=0, test=0), questions=Sizes(train=0, dev=0, test=0)
    )
    files = written(tmp_path, settings)
    lexicon = json.loads(files["world.json"])["lexicon"]
    for code in ("en", "x1"):
        words = files[f"text/{code}.txt"].decode().split()
        assert set(lexicon[code].values()) <= set(words)


def test_world_json_says_the_settings(files):
    described = json.loads(files["world.json"])
    assert WorldSettings.model_validate_json(json.dumps(described["settings"])) == SMALL
    assert described["lexicon"]["en"]["dog"] == "dog"


def test_a_world_is_not_written_over_another(tmp_path):
    tiny = WorldSettings(
        languages=("x1",), documents=1, retrieval_pairs=1,
        **dict.fromkeys(("nli", "paraphrase", "tagging", "questions"), Sizes(train=1, dev=1, test=1)),
        choice=Sizes(train=1, dev=1, test=0),
    )  # fmt: skip
    write_world(tiny, tmp_path)
    write_world(tiny, tmp_path)
    other = tiny.model_copy(update={"seed": 5, "documents": 2})
    with pytest.raises(
        InputError, match=r"holds a world with other settings \(seed, documents\).*choose an empty folder"
    ):
        write_world(other, tmp_path)


def test_more_examples_than_the_world_has_are_refused():
    rng = stream(0, "test")
    with pytest.raises(
        InputError, match=r"retrieval_pairs=7: the world has no more than 6 different ones; ask for fewer"
    ):
        distinct("retrieval_pairs", 7, lambda _: rng.randint(1, 6), str)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"languages": ("x1", "de")}, r"'de' is no invented language; choose from x1 … x60"),
        ({"languages": ("x61",)}, r"'x61' is no invented language"),
        ({"languages": ("x1", "x1")}, r"names a language twice"),
        ({"documents_by_language": (("x9", 5),)}, r"'x9' is not told here"),
        ({"documents_by_language": (("x1", -5),)}, r"'x1' wants one number of documents"),
        ({"documents_by_language": (("x1", 5), ("x1", 6))}, r"'x1' wants one number of documents"),
        ({"choice": Sizes(train=1, dev=1, test=1)}, r"choice.test=1 has no file to go to.*set 0"),
        ({"cognate_frac": 1.5}, r"cognate_frac"),
    ],
)
def test_settings_that_make_no_world_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        WorldSettings(**settings)
