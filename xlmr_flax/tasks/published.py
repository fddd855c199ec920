"""Where the tasks' data is on the Hugging Face Hub and in TFDS, besides the official files.

Each value goes into the `files` of the tasks that read it, after the official files with labels and before those
without. The hub's names are those that its users' tools ask for; the commit is written down at the first fetch. Copies
that are not what a task wants stand in NOT_USED with the reason.
"""

from xlmr_flax.sources.converters import (
    INFERENCE,
    PARAPHRASE,
    agreed_pair,
    commonsenseqa,
    copa,
    cosmosqa,
    hellaswag,
    hellaswag_ctx,
    hypothesis_of,
    joined,
    pair,
    question,
    question_or_none,
    sentences,
    socialiqa,
    tagged,
    translated,
    translated_question,
    translations,
    tydiqa,
)
from xlmr_flax.sources.tfds import UNSOUND
from xlmr_flax.tasks.languages import ISO3, UD_NAMES
from xlmr_flax.tasks.layouts import codes
from xlmr_flax.tasks.released import hub, tfds

NOT_USED = {
    "xnli": ("hub google/xtreme XNLI: its script took quotes in sentences for CSV's",),
    "pawsx": ("hub google/xtreme PAWS-X: its script took quotes in sentences for CSV's",),
    "udpos": tuple(f"TFDS {name}: {UNSOUND[name]}" for name in ("xtreme_pos", "universal_dependencies")),
    "bucc2018": tuple(
        f"{name}: {UNSOUND['bucc']}"
        for name in ("TFDS bucc", "hub google/xtreme bucc18", "hub mteb/bucc-bitext-mining")
    ),
}

_PREMISE = pair("premise", "hypothesis", INFERENCE)
_SENTENCES = pair("sentence1", "sentence2", PARAPHRASE)
_SCORED = {"dev": "validation", "test": "test"}
_TRAINED = {"train": "train", **_SCORED}
_SQUAD_LIKE = {"train": "train", "dev": "validation"}
_FOREIGN = codes("ar bg de el es fr hi ru sw th tr ur vi zh")

_ENTITIES = codes("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC")
_APART = "the words of fused forms stand apart there (zu dem), which XTREME joins (zum)"
_ANLI = {split: tuple(f"{split}_r{number}" for number in (1, 2, 3)) for split in ("train", "dev", "test")}
_ANLI_ROUNDS = ("anli/r1", "anli/r2", "anli/r3")
_ANLI_TFDS = {"train": "train", "dev": "validation", "test": "test"}

XNLI_TRAIN = (hub("facebook/xnli", "en", {"train": "train"}, _PREMISE),)
XNLI_SCORED = (
    hub("facebook/xnli", "{lang}", _SCORED, _PREMISE),
    hub("facebook/xnli", "all_languages", _SCORED, translations, tells_lang=True, tells_pairs=True),
    tfds("xnli", "1.1.0", _SCORED, translations, tells_lang=True, tells_pairs=True),
)
XNLI_HYPOTHESIS = (
    hub("facebook/xnli", "en", {"train": "train"}, hypothesis_of(_PREMISE)),
    hub("facebook/xnli", "{lang}", _SCORED, hypothesis_of(_PREMISE)),
    tfds("xnli", "1.1.0", _SCORED, hypothesis_of(translations), tells_lang=True),
)
XNLI_TRANSLATED = (
    hub("facebook/xnli", "{lang}", {"train": "train"}, translated(_PREMISE)),
    tfds(
        "xtreme_xnli",
        "1.1.0",
        {"train": "train"},
        translated(translations),
        langs=_FOREIGN,
        tells_lang=True,
        note="XTREME's translation, not that of XNLI-MT-1.0; equal English pairs are there once",
    ),
)
MNLI = (
    hub(
        "nyu-mll/glue",
        "mnli",
        {
            "train": "train",
            "dev_matched": "validation_matched",
            "dev_mismatched": "validation_mismatched",
            "test_matched": "test_matched",
            "test_mismatched": "test_mismatched",
        },
        _PREMISE,
    ),
    tfds(
        "glue/mnli",
        "2.0.0",
        {
            "train": "train",
            "dev_matched": "validation_matched",
            "dev_mismatched": "validation_mismatched",
            "test_matched": "test_matched",
            "test_mismatched": "test_mismatched",
        },
        _PREMISE,
    ),
    tfds(
        "multi_nli",
        "1.1.0",
        {"train": "train", "dev_matched": "validation_matched", "dev_mismatched": "validation_mismatched"},
        _PREMISE,
    ),
)
SNLI = (
    hub("stanfordnlp/snli", "plain_text", _TRAINED, agreed_pair),
    tfds("snli", "1.1.0", _TRAINED, agreed_pair),
)
ANLI = (
    hub("facebook/anli", "plain_text", _ANLI, _PREMISE),
    tfds(_ANLI_ROUNDS, "0.1.0", _ANLI_TFDS, pair("context", "hypothesis", INFERENCE)),
    hub("facebook/anli", "plain_text", {name: name for names in _ANLI.values() for name in names}, _PREMISE),
    *(
        tfds(
            builder,
            "0.1.0",
            {f"{split}_{builder[-2:]}": theirs for split, theirs in _ANLI_TFDS.items()},
            pair("context", "hypothesis", INFERENCE),
        )
        for builder in _ANLI_ROUNDS
    ),
)
QQP = (
    hub("nyu-mll/glue", "qqp", _TRAINED, pair("question1", "question2", PARAPHRASE)),
    tfds("glue/qqp", "2.0.0", _TRAINED, pair("question1", "question2", PARAPHRASE)),
)
PAWSX_TRAIN = (
    hub("google-research-datasets/paws-x", "en", {"train": "train"}, _SENTENCES),
    tfds("paws_x_wiki/en", "1.0.0", {"train": "train"}, _SENTENCES),
)
PAWSX_SCORED = (
    hub("google-research-datasets/paws-x", "{lang}", _SCORED, _SENTENCES),
    tfds("paws_x_wiki/{lang}", "1.0.0", _SCORED, _SENTENCES),
)
PAWSX_TRANSLATED = (
    hub(
        "google-research-datasets/paws-x",
        "{lang}",
        {"train": "train"},
        translated(_SENTENCES),
    ),
    tfds("paws_x_wiki/{lang}", "1.0.0", {"train": "train"}, translated(_SENTENCES)),
    tfds(
        "xtreme_pawsx/{lang}",
        "1.0.0",
        {"train": "train"},
        translated(_SENTENCES),
        langs=codes("de es fr ja ko zh"),
        note="XTREME's translation, not that of PAWS-X",
    ),
)

COSMOSQA = (
    hub("allenai/cosmos_qa", "default", {"train": "train", "valid": "validation"}, cosmosqa),
    tfds("cosmos_qa", "1.0.0", {"train": "train", "valid": "validation"}, cosmosqa),
)
HELLASWAG = (
    hub("Rowan/hellaswag", "default", {"train": "train", "val": "validation", "test": "test"}, hellaswag),
    tfds(
        "hellaswag",
        "1.1.0",
        {"train": "train", "val": "validation", "test": "test"},
        hellaswag_ctx,
        note="prompt and continuation stand in one text there, which is cut after its last whole sentence",
    ),
)
COMMONSENSEQA = (hub("tau/commonsense_qa", "default", _TRAINED, commonsenseqa),)
# Its main branch has only a loading script; Parquet is in a pull request.
SOCIALIQA = (hub("allenai/social_i_qa", "default", _SQUAD_LIKE, socialiqa, revision="refs/pr/3"),)
COPA = (hub("aps/super_glue", "copa", {"train": "train", "val": "validation"}, copa),)
XCOPA = (
    hub(
        "cambridgeltl/xcopa",
        "{lang}",
        {"val": "validation", "test": "test"},
        copa,
        langs=codes("et ht id it qu sw ta th tr vi zh"),
    ),
)

PANX = (
    hub("unimelb-nlp/wikiann", "{lang}", _TRAINED, tagged("tokens", "ner_tags", _ENTITIES)),
    hub("google/xtreme", "PAN-X.{lang}", _TRAINED, tagged("tokens", "ner_tags", _ENTITIES)),
    tfds("wikiann/{lang}", "1.0.0", _TRAINED, tagged("tokens", "tags", _ENTITIES)),
)
UDPOS = (
    hub(
        "google/xtreme",
        "udpos.{Name}",
        _TRAINED,
        tagged("tokens", "pos_tags", (), joined),
        langs=tuple(UD_NAMES),
        note=_APART,
    ),
)

SQUAD_TRAIN = (
    hub("rajpurkar/squad", "plain_text", {"train": "train"}, question),
    hub("google/xtreme", "SQuAD", {"train": "train"}, question),
    tfds("squad/v1.1", "3.0.0", {"train": "train"}, question),
)
SQUAD_DEV = (
    hub("rajpurkar/squad", "plain_text", {"dev": "validation"}, question),
    hub("google/xtreme", "SQuAD", {"dev": "validation"}, question),
    tfds("squad/v1.1", "3.0.0", {"dev": "validation"}, question),
)
SQUAD_V2 = (
    hub("rajpurkar/squad_v2", "squad_v2", _SQUAD_LIKE, question_or_none),
    tfds("squad/v2.0", "3.0.0", _SQUAD_LIKE, question_or_none),
)
XQUAD = (
    hub("google/xquad", "xquad.{lang}", {"test": "validation"}, question),
    hub("google/xtreme", "XQuAD.{lang}", {"test": "validation"}, question),
    tfds("xquad/{lang}", "3.0.0", {"test": "test"}, question),
)
MLQA = (
    hub("facebook/mlqa", "mlqa.{lang}.{lang}", _SCORED, question),
    hub("facebook/mlqa", "mlqa.{first}.{second}", _SCORED, question),
    hub("google/xtreme", "MLQA.{lang}.{lang}", _SCORED, question),
    hub("google/xtreme", "MLQA.{first}.{second}", _SCORED, question),
    tfds("mlqa/{lang}", "1.0.0", _SCORED, question),
)
TYDIQA_TRAIN = (
    hub("google-research-datasets/tydiqa", "secondary_task", {"train": "train"}, tydiqa, tells_lang=True),
    hub("google/xtreme", "tydiqa", {"train": "train"}, tydiqa, tells_lang=True),
    tfds("tydi_qa/goldp", "3.0.0", {"train": "train"}, tydiqa, tells_lang=True),
)
TYDIQA_DEV = (
    hub("google-research-datasets/tydiqa", "secondary_task", {"dev": "validation"}, tydiqa, tells_lang=True),
    hub("google/xtreme", "tydiqa", {"dev": "validation"}, tydiqa, tells_lang=True),
    tfds("tydi_qa/goldp", "3.0.0", {"dev": "validation-{lang}"}, question),
    tfds("tydi_qa/goldp", "3.0.0", {"dev": "validation"}, tydiqa, tells_lang=True),
)
SQUAD_TRANSLATED = (
    tfds(
        "xquad/{lang}",
        "3.0.0",
        {"train": "translate-train"},
        translated_question,
        langs=codes("es de el ru tr ar vi th zh hi"),
    ),
    hub(
        "facebook/mlqa",
        "mlqa-translate-train.{lang}",
        {"train": "train"},
        translated_question,
        langs=codes("ar de vi zh es hi"),
        note="MLQA's translation, not XTREME's",
    ),
)
TYDIQA_TRANSLATED = (
    tfds(
        "tydi_qa/goldp",
        "3.0.0",
        {"train": "translate-train-{lang}"},
        translated_question,
        langs=codes("ar bn fi id ko ru sw te"),
    ),
)

TATOEBA = (
    hub(
        "google/xtreme",
        "tatoeba.{iso3}",
        {"test": "validation"},
        sentences,
        langs=tuple(lang for lang in ISO3 if lang not in ("az", "lt", "pl", "uk", "ro")),
    ),
)
