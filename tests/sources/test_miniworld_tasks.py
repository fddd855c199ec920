"""The files of every task that a generated world tells beside the first few: counts, formats, and right labels."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from xlmr_flax.config.world import Sizes, WorldSettings
from xlmr_flax.graph.nodes import WorldNode
from xlmr_flax.sources.miniworld.choices import LEADS_TO
from xlmr_flax.sources.miniworld.entities import entities
from xlmr_flax.sources.miniworld.words import KIND, NAMES, OPPOSITE, PLACES, TIMES
from xlmr_flax.sources.miniworld.world import make_world
from xlmr_flax.sources.miniworld.write import write_world

SEED = 6


def sizes(train: int, dev: int, test: int) -> Sizes:
    return Sizes(train=train, dev=dev, test=test)


# Odd numbers that divide by nothing, no two alike in one family.
SETTINGS = WorldSettings(
    seed=SEED, languages=("x1", "x4"), documents=3, retrieval_pairs=5,
    nli=sizes(41, 5, 7), paraphrase=sizes(23, 5, 7), tagging=sizes(5, 3, 7), questions=sizes(33, 3, 5),
    choice=sizes(5, 3, 0), mnli=sizes(31, 11, 13), snli=sizes(29, 11, 13), anli=sizes(17, 7, 9), qqp=sizes(31, 11, 13),
    hellaswag=sizes(61, 11, 13), commonsenseqa=sizes(61, 11, 13), socialiqa=sizes(37, 11, 13), xcopa=sizes(61, 11, 13),
    panx=sizes(61, 11, 13), ccg=sizes(61, 11, 13), squad_v2=sizes(101, 11, 0), mlqa=sizes(0, 11, 13),
    tydiqa=sizes(31, 0, 13), bucc2018=sizes(0, 21, 31), mewslix=sizes(61, 23, 27), lareqa=13, translated=True,
)  # fmt: skip
CODES = ("en", *SETTINGS.languages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("tasks")
    write_world(SETTINGS, place)
    return place


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cells(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def headed(path: Path) -> list[dict[str, str]]:
    header, *rows = cells(path)
    return [dict(zip(header, row, strict=True)) for row in rows]


def asked(path: Path) -> list[tuple[str, dict]]:
    """Every question of a SQuAD file beside its context."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return [(part["context"], one) for article in articles for part in article["paragraphs"] for one in part["qas"]]


def sentences(path: Path) -> list[list[list[str]]]:
    blocks = path.read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n")
    return [[line.split("\t") for line in block.split("\n")] for block in blocks]


def rows_in(path: Path) -> int:
    """The examples of a file, counted by its format alone."""
    match path.suffix:
        case ".jsonl":
            return len(jsonl(path))
        case ".json" if "labels" in path.parent.name:
            return len(json.loads(path.read_text()))
        case ".json":
            return len(asked(path))
    if path.parent.name in ("panx", "ccg"):
        return len(sentences(path))
    return len(cells(path)) - (path.parent.name in ("mnli", "qqp", "multinli") or "x-final" in str(path))


def expected() -> dict[str, int]:
    counts: dict[str, int] = {}
    splits = ("train", "dev", "test")

    def files(name: str, family: Sizes, names: tuple[str, ...] = splits, told: str = "", codes=CODES) -> None:
        for split, official in zip(splits, names, strict=True):
            for code in codes[: 1 if split == "train" else None] if "{code}" in name else [""]:
                if getattr(family, split):
                    counts[name.format(split=official, code=code)] = getattr(family, split)

    files("mnli/{split}.tsv", SETTINGS.mnli, ("train", "dev_matched", "dev_mismatched"))
    files("snli/snli_1.0_{split}.jsonl", SETTINGS.snli)
    for number in (1, 2, 3):
        files(f"anli/R{number}/{{split}}.jsonl", SETTINGS.anli)
    files("qqp/{split}.tsv", SETTINGS.qqp)
    files("hellaswag/hellaswag_{split}.jsonl", SETTINGS.hellaswag, ("train", "val", "test"))
    names = ("train_rand_split", "dev_rand_split", "test_rand_split_no_answers")
    files("commonsenseqa/{split}.jsonl", SETTINGS.commonsenseqa, names)
    files("siqa/socialIQa_v1.4_{split}.jsonl", SETTINGS.socialiqa, ("trn", "dev", "tst"))
    files("xcopa/{split}-{code}.jsonl", SETTINGS.xcopa, ("train", "val", "test"))
    files("panx/{split}-{code}.tsv", SETTINGS.panx)
    files("ccg/{split}.tsv", SETTINGS.ccg)
    files("squad/{split}-v2.0.json", SETTINGS.squad_v2)
    for one in CODES:
        files(f"mlqa/MLQA_V1/{{split}}/{{split}}-context-{one}-question-{{code}}.json", SETTINGS.mlqa)
        counts[f"lareqa/xquad-r/{one}.json"] = SETTINGS.lareqa
    files(
        "tydiqa/tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{code}.{split}.json", SETTINGS.tydiqa, ("train", "none", "dev")
    )
    for code in SETTINGS.languages:
        place = f"bucc2018/{code}-en/{code}-en"
        for split, count in (("sample", SETTINGS.bucc2018.dev), ("training", SETTINGS.bucc2018.test)):
            every = 2 * count + round(0.1 * count)
            counts |= {f"{place}.{split}.{code}": every, f"{place}.{split}.en": every, f"{place}.{split}.gold": count}
        counts |= {
            f"multinli/multinli.train.{code}.tsv": SETTINGS.nli.train,
            f"x-final/{code}/translated_train.tsv": SETTINGS.paraphrase.train,
            f"translated/mnli/train-{code}.jsonl": SETTINGS.mnli.train,
            f"translated/mnli/dev-{code}.jsonl": SETTINGS.mnli.dev,
            f"translated/mnli/test-{code}.jsonl": SETTINGS.mnli.test,
            f"translated/qqp/train-{code}.jsonl": SETTINGS.qqp.train,
            f"translated/qqp/test-{code}.jsonl": SETTINGS.qqp.dev,
            f"translated/hellaswag/train-{code}.jsonl": SETTINGS.hellaswag.train,
            f"translated/hellaswag/test-{code}.jsonl": SETTINGS.hellaswag.dev,
            f"xtreme_translations/SQuAD/translate-train/squad.translate.train.en-{code}.json": SETTINGS.questions.train,
            f"xtreme_translations/TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-{code}.json": 31,
        }
    counts["mewslix/candidate_set_entities.jsonl"] = 54
    counts |= {f"mewslix/wikipedia_pairs-{split}.jsonl": count for split, count in (("train", 61), ("dev", 23))}
    for split, count in (("dev", 23), ("test", 27)):
        for code in CODES:
            counts[f"mewslix/wikinews_mentions/{split}-{code}.jsonl"] = count
            counts[f"mewslix/wikinews_labels/{split}-{code}.json"] = count
    return counts


FIRST = ("xnli", "pawsx", "udpos", "xquad", "cosmosqa", "tatoeba", "text", "world.json", "dictionaries/")


def test_every_file_has_exactly_the_examples_asked_for(folder):
    names = [name for name in written(folder) if not name.startswith(FIRST) and not name.endswith("-v1.1.json")]
    assert {name: rows_in(folder / name) for name in names} == expected()


def test_the_same_settings_write_the_same_bytes(folder, tmp_path):
    write_world(SETTINGS, tmp_path)
    assert written(tmp_path) == written(folder)


def test_a_familys_size_changes_no_file_of_another(folder, tmp_path):
    old = written(folder)
    for family in ("anli", "hellaswag", "squad_v2", "bucc2018", "mewslix"):
        bigger = getattr(SETTINGS, family).model_copy(update={"dev": 12})
        write_world(SETTINGS.model_copy(update={family: bigger}), tmp_path / family)
        new = written(tmp_path / family)
        place = {"squad_v2": "squad/dev-v2.0"}.get(family, family)
        changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)} - {"world.json"}
        assert changed
        assert all(place in name for name in changed), changed


def test_worlds_that_ask_for_nothing_new_keep_their_keys():
    # Golden: the key of the world of every study so far.
    assert WorldNode(WorldSettings()).key == "5ebf345a5f84"
    assert WorldNode(WorldSettings(translated=True)).key != "5ebf345a5f84"
    assert WorldNode(WorldSettings(lareqa=1)).key != "5ebf345a5f84"


@pytest.mark.parametrize(
    ("family", "split", "said"),
    [
        ("squad_v2", "test", r"squad_v2.test=1 has no file to go to: SQuAD 2.0 has train and dev; set 0"),
        ("mlqa", "train", r"mlqa.train=1 has no file to go to: MLQA has dev and test, and trains on SQuAD"),
        ("tydiqa", "dev", r"tydiqa.dev=1 has no file"),
        ("bucc2018", "train", r"bucc2018.train=1 has no file"),
    ],
)
def test_a_split_that_no_file_holds_is_refused(family, split, said):
    with pytest.raises(ValidationError, match=said):
        WorldSettings(**{family: sizes(0, 0, 0).model_copy(update={split: 1})})


def test_no_number_of_lareqas_questions_is_below_none():
    with pytest.raises(ValidationError, match=r"lareqa=-1: wanted a number of questions, 0 or more"):
        WorldSettings(lareqa=-1)


def happened(sentence: str) -> tuple[str | None, ...]:
    """Agent, verb as it happened, patient, place and time of an English sentence."""
    words = [singular(word) for word in sentence.split()]
    place = next((word for word in words if word in PLACES), None)
    time = next((word for word in words if word in TIMES), None)
    verb = next(word for word in words if word in OPPOSITE)
    agent, patient = (word for word in words if word in KIND)
    return agent, OPPOSITE[verb] if "never" in words else verb, patient, place, time


def singular(word: str) -> str:
    return word if word in KIND or word.removesuffix("s") not in KIND else word.removesuffix("s")


def test_exactly_one_ending_of_a_story_says_what_happened(folder):
    rows = jsonl(folder / "hellaswag/hellaswag_train.jsonl")
    for row in rows:
        told = [happened(ending) for ending in row["endings"]]
        assert [number for number, one in enumerate(told) if one == happened(row["ctx_a"])] == [row["label"]]
        # Whatever one ending says is said by another one too, so that the endings alone tell nothing.
        assert all(sorted(Counter(values).values()) in ([2, 2], [4]) for values in zip(*told, strict=True))
        assert row["ctx"] == f"{row['ctx_a']} {row['ctx_b']}"
    assert set(Counter(row["label"] for row in rows).values()) == {15, 16}
    assert not any("label" in row for row in jsonl(folder / "hellaswag/hellaswag_test.jsonl"))


def test_exactly_one_option_is_what_someone_is(folder):
    job = make_world(SEED).job
    for row in jsonl(folder / "commonsenseqa/train_rand_split.jsonl"):
        options = [choice["text"].split()[-1] for choice in row["question"]["choices"]]
        _, _, *words, _ = row["question"]["stem"].split()
        if "who" in row["question"]["stem"]:
            right = [option for option in options if job[option] == words[-1]]
        else:
            right = [option for option in options if option == job[words[0]]]
        assert right == [options["ABCDE".index(row["answerKey"])]]
        assert len(set(options)) == 5
    assert not any("answerKey" in row for row in jsonl(folder / "commonsenseqa/test_rand_split_no_answers.jsonl"))


def test_effects_and_causes_follow_the_worlds_laws(folder):
    rows = jsonl(folder / "xcopa/train-en.jsonl")
    assert {row["question"] for row in rows} == {"cause", "effect"}
    for row in rows:
        agent, verb, patient, *_ = happened(row["premise"])
        first, second = (happened(row[f"choice{number}"])[:3] for number in (1, 2))
        right = (first, second)[row["label"]][1]
        assert (LEADS_TO[verb] == right) if row["question"] == "effect" else (LEADS_TO[right] == verb)
        assert first == (agent, OPPOSITE[second[1]], patient)
    told = [[(row["label"], row["question"]) for row in jsonl(folder / f"xcopa/test-{code}.jsonl")] for code in CODES]
    assert all(one == told[0] for one in told)


def test_social_answers_are_three_of_which_the_context_gives_one(folder):
    for row in jsonl(folder / "siqa/socialIQa_v1.4_trn.jsonl"):
        options = [row[f"answer{letter}"] for letter in "ABC"]
        assert len(set(options)) == 3
        assert options["ABC".index(row["correct"])].split()[-1] in row["context"].split()


def test_entities_are_marked_from_their_beginning(folder):
    for code in CODES:
        words = json.loads((folder / "world.json").read_text())["lexicon"][code]
        places = {words[place] for place in PLACES}
        for sentence in sentences(folder / f"panx/test-{code}.tsv"):
            before = "O"
            for word, tag in sentence:
                assert (tag == "B-PER") == (word in NAMES)
                assert (tag[2:] in ("ORG", "LOC")) >= (word in places)
                assert not tag.startswith("I-") or before == f"B-{tag[2:]}"
                before = tag
    kinds = Counter(tag for sentence in sentences(folder / "panx/train-en.tsv") for _, tag in sentence)
    assert kinds.keys() == {"O", "B-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"}


def test_a_words_category_says_on_which_side_of_its_verb_it_stands(folder):
    after_verb = Counter()
    for sentence in sentences(folder / "ccg/train.tsv"):
        seen = False
        for word, tag in sentence:
            if tag in ("S[dcl]/S[dcl]", "(S[dcl]\\NP)\\(S[dcl]\\NP)"):
                assert word in TIMES
                after_verb[tag, seen] += 1
            seen = word != "and" and (seen or word in OPPOSITE or word == "is")
    assert after_verb.keys() == {("S[dcl]/S[dcl]", False), ("(S[dcl]\\NP)\\(S[dcl]\\NP)", True)}


def test_every_second_question_has_no_answer_but_a_plausible_one(folder):
    rows = asked(folder / "squad/train-v2.0.json")
    assert Counter(row["is_impossible"] for _, row in rows) == {False: 51, True: 50}
    for context, row in rows:
        assert bool(row["answers"]) != row["is_impossible"]
        [answer] = row["plausible_answers"] if row["is_impossible"] else row["answers"]
        assert context[answer["answer_start"] :].startswith(answer["text"])
        words = [singular(word) for word in row["question"].split()]
        verb = next(number for number, word in enumerate(words) if word in OPPOSITE)
        told = {number: word for number, word in enumerate(words) if word in KIND}
        wanted = {0 if number < verb else 2: word for number, word in told.items()}
        events = map(happened, context.split(" . "))
        fits = [
            event
            for event in events
            if event[1] == words[verb] and all(event[part] == word for part, word in wanted.items())
        ]
        assert bool(fits) != row["is_impossible"], (context, row["question"])


def test_mlqa_crosses_contexts_and_questions(folder):
    place = folder / "mlqa/MLQA_V1/test"
    told = {
        (one, other): asked(place / f"test-context-{one}-question-{other}.json") for one in CODES for other in CODES
    }
    for (one, other), rows in told.items():
        assert [row["id"] for _, row in rows] == [row["id"] for _, row in told["en", "en"]]
        assert [context for context, _ in rows] == [context for context, _ in told[one, one]]
        assert [row["question"] for _, row in rows] == [row["question"] for _, row in told[other, other]]
        for context, row in rows:
            [answer] = row["answers"]
            assert context[answer["answer_start"] :].startswith(answer["text"])


def test_tydiqa_is_no_translation_and_its_ids_are_the_official_ones(folder):
    place = folder / "tydiqa/tydiqa-goldp-v1.1-dev"
    told = {code: asked(place / f"tydiqa.goldp.{code}.dev.json") for code in CODES}
    shapes = {code: [len(context.split()) for context, _ in rows] for code, rows in told.items()}
    assert len(set(map(tuple, shapes.values()))) == 3
    assert all(row["id"].startswith(f"{code}-") for code in CODES for _, row in told[code])
    train = asked(folder / "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json")
    assert not {context for context, _ in train} & {context for context, _ in told["en"]}


def test_each_sentence_of_xquad_r_is_whole_and_holds_its_answers(folder):
    for code in CODES:
        for article in json.loads((folder / f"lareqa/xquad-r/{code}.json").read_text())["data"]:
            for part in article["paragraphs"]:
                told = [part["context"][start:end] for start, end in part["sentence_breaks"]]
                assert told == part["sentences"]
                assert " ".join(told) == part["context"]
                assert all(one.endswith(" .") and one.count(".") == 1 for one in told)


def test_translations_have_the_labels_and_answers_of_the_english_training_set(folder):
    with (folder / "xnli/train-en.tsv").open(newline="") as file:
        english = list(csv.reader(file, delimiter="\t"))
    spelt = {"contradictory": "contradiction"}
    with (folder / "pawsx/train-en.tsv").open(newline="") as file:
        paraphrases = list(csv.reader(file, delimiter="\t"))
    words = json.loads((folder / "world.json").read_text())["lexicon"]["x1"]
    into = lambda text: sorted(words.get(word, word) for word in text.split())  # noqa: E731
    told = headed(folder / "multinli/multinli.train.x1.tsv")
    assert [spelt.get(row["label"], row["label"]) for row in told] == [row[2] for row in english]
    assert "contradictory" in {row["label"] for row in told}
    same = [sorted(row["premise"].split()) == into(one[0]) for row, one in zip(told, english, strict=True)]
    assert sum(same) > 30  # of 41: all but those with a plural
    told = headed(folder / "x-final/x4/translated_train.tsv")
    assert [row["label"] for row in told] == [row[2] for row in paraphrases]
    assert [row["gold_label"] for row in headed(folder / "mnli/train.tsv")] == [
        row["label"] for row in jsonl(folder / "translated/mnli/train-x1.jsonl")
    ]
    squad = asked(folder / "squad/train-v1.1.json")
    translated = asked(folder / "xtreme_translations/SQuAD/translate-train/squad.translate.train.en-x4.json")
    assert [row["id"] for _, row in squad] == [row["id"] for _, row in translated]
    for context, row in translated:
        assert context[row["answers"][0]["answer_start"] :].startswith(row["answers"][0]["text"])


def test_without_translations_there_is_no_file_of_them(folder, tmp_path):
    write_world(SETTINGS.model_copy(update={"translated": False}), tmp_path)
    missing = written(folder).keys() - written(tmp_path).keys()
    assert {name.split("/")[0] for name in missing} == {"multinli", "x-final", "translated", "xtreme_translations"}
    assert len(missing) == 2 * (2 + 7 + 2)


def test_the_pairs_to_be_mined_and_no_others_are_translations(folder):
    words = json.loads((folder / "world.json").read_text())["lexicon"]["x1"]
    for split in ("sample", "training"):
        foreign, english, gold = (
            cells(folder / f"bucc2018/x1-en/x1-en.{split}.{part}") for part in ("x1", "en", "gold")
        )
        told = {
            " ".join(words[word] for word in text.split()): name for name, text in english
        }  # x1 has English's order
        found = {(name, told[text]) for name, text in foreign if text in told}
        assert found == set(map(tuple, gold))
        for side in (foreign, english):
            names, texts = zip(*side, strict=True)
            assert len(set(names)) == len(names)
            assert len(texts) - len(set(texts)) == round(0.1 * len(gold))  # some stand there twice
            assert list(names) == sorted(names)


def test_mentions_stand_at_their_offsets_and_their_entities_are_candidates(folder):
    cards = {card["entity_id"]: card for card in jsonl(folder / "mewslix/candidate_set_entities.jsonl")}
    for card in cards.values():
        told = [card["description"][span["start"] : span["end"]] for span in card["sentence_spans"]]
        assert " ".join(told) == card["description"]
        assert card["title"] in card["description"].split()
    assert {card["description_language"] for card in cards.values()} == set(CODES)
    for code in CODES:
        words = json.loads((folder / "world.json").read_text())["lexicon"][code]
        noun = {entity.id: words[entity.noun] for entity in entities(SEED)}
        labels = json.loads((folder / f"mewslix/wikinews_labels/test-{code}.json").read_text())
        for row in jsonl(folder / f"mewslix/wikinews_mentions/test-{code}.jsonl"):
            [mention] = row["mentions"]
            span = mention["mention_span"]
            assert row["context"]["text"][span["start"] : span["end"]] == span["text"] == noun[mention["entity_id"]]
            assert labels[mention["example_id"]] == [mention["entity_id"]]
            assert mention["entity_id"] in cards


def test_what_is_linked_in_a_test_was_never_trained_on(folder):
    split = {entity.id: entity.split for entity in entities(SEED)}
    assert Counter(split.values()) == {"train": 32, "dev": 11, "test": 11}
    train = jsonl(folder / "mewslix/wikipedia_pairs-train.jsonl")
    assert {split[row["entity"]["entity_id"]] for row in train} == {"train"}
    labels = json.loads((folder / "mewslix/wikinews_labels/test-x4.json").read_text())
    assert {split[name] for [name] in labels.values()} == {"test"}
    assert all(row["entity"]["entity_id"] == row["contextual_mention"]["mention"]["entity_id"] for row in train)


def test_official_columns_stand_in_their_places(folder):
    mnli = headed(folder / "mnli/dev_matched.tsv")
    assert list(mnli[0])[:4] == ["index", "promptID", "pairID", "genre"]
    assert list(mnli[0])[-6:] == ["label1", "label2", "label3", "label4", "label5", "gold_label"]
    assert list(headed(folder / "qqp/train.tsv")[0]) == [
        "id", "qid1", "qid2", "question1", "question2", "is_duplicate",
    ]  # fmt: skip
    assert list(headed(folder / "qqp/test.tsv")[0]) == ["id", "question1", "question2"]
    assert {row["label"] for row in jsonl(folder / "anli/R3/train.jsonl")} == {"e", "n", "c"}
    assert len({row["context"] for number in (1, 2, 3) for row in jsonl(folder / f"anli/R{number}/train.jsonl")}) > 40


def test_families_of_one_sort_tell_different_examples(folder):
    told = [
        {row["sentence1"] for row in headed(folder / "mnli/train.tsv")},
        {row["sentence1"] for row in jsonl(folder / "snli/snli_1.0_train.jsonl")},
        *({row["context"] for row in jsonl(folder / f"anli/R{number}/train.jsonl")} for number in (1, 2, 3)),
    ]
    for number, one in enumerate(told):
        for other in told[:number]:
            assert len(one & other) <= 2  # of 17 and more
