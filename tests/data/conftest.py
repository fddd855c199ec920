"""One small tokenizer with XLM-R's normaliser for all tests of this room."""

from pathlib import Path

import pytest

from xlmr_flax.data.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the warm grass.",
    "Yesterday 1,250 people walked along the river; 37% of them came back before noon (2019).",
    "Große Gebäude stehen über den Häusern, während Füße müde durch die Straßen gehen.",
    "L'été dernier, où étiez-vous ? Nous étions près de la forêt, ça va de soi.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю перед дорогой домой.",
    "敏捷的棕色狐狸跳过了懒狗，然后它在河边睡着了。今天天气很好，我们去公园吧。",
    "すばやい茶色の狐がのろまな犬を飛び越えた。カタカナとひらがなを読みます。",
    "الثعلب البني السريع يقفز فوق الكلب الكسول، ثم ينام الكلب في الحديقة.",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। मौसम आज बहुत अच्छा है।",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ วันนี้อากาศดีมาก",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 오늘은 날씨가 좋다.",
    "Hızlı kahverengi tilki tembel köpeğin üzerinden atlar, İstanbul'da hava güzel.",
]
# Said again as one long word, so that words occur in two surroundings and become pieces.
TEXTS = SENTENCES + [sentence.replace(" ", "-") for sentence in SENTENCES]
VOCABULARY = 370


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, VOCABULARY, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)
