"""The English words of the world: all that can be said in it, with the tag of each."""

NAMES = (
    "Anna", "Boris", "Carla", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas",
    "Karin", "Lukas", "Maria", "Nils", "Olga", "Pavel", "Rosa", "Simon", "Tanja", "Viktor",
)  # fmt: skip
JOBS = ("baker", "doctor", "farmer", "teacher", "sailor", "painter", "lawyer", "miller", "tailor", "hunter")

# No noun and no adjective begins with a vowel and every plural is noun + s, so that English needs no more
# morphology than the invented languages have.
ANIMALS = ("dog", "cat", "horse", "cow", "goat", "duck", "pig", "rabbit")
FOODS = ("melon", "carrot", "lemon", "cake", "pear", "plum", "bean", "pie")
TOOLS = ("hammer", "rope", "shovel", "basket", "bucket", "lamp", "needle", "ladder")
PLACES = {
    "garden": "in", "kitchen": "in", "market": "in", "forest": "in", "school": "in",
    "river": "near", "bridge": "near", "tower": "near", "mill": "near", "harbour": "near",
}  # fmt: skip
TIMES = ("early", "late", "recently", "overnight", "afterwards", "beforehand")
COLOURS = ("red", "blue", "green", "white", "black", "brown")
SIZES = ("big", "small", "heavy", "light", "cheap", "costly")
DIGITS = tuple("23456789")

HYPERNYMS = {"beast": ANIMALS, "food": FOODS, "tool": TOOLS}
NOUNS = {"person": NAMES, **HYPERNYMS}  # the nouns of each kind of participant
KIND = {
    **{noun: hypernym for hypernym, nouns in HYPERNYMS.items() for noun in (hypernym, *nouns)},
    **dict.fromkeys((*NAMES, *JOBS, "someone"), "person"),
}

# Pairs of opposites, who does it, and to what. Opposites are complementary in this world: never to have sold
# is to have bought. Every verb takes at least two kinds of patient, so that each can be exchanged for another kind.
PAIRS = (
    ("bought", "sold", ("person",), ("beast", "food", "tool")),
    ("found", "lost", ("person",), ("food", "tool")),
    ("lifted", "dropped", ("person",), ("beast", "food", "tool")),
    ("praised", "blamed", ("person",), ("person", "beast")),
    ("loved", "hated", ("person", "beast"), ("person", "beast", "food")),
    ("followed", "avoided", ("person", "beast"), ("person", "beast")),
    ("pushed", "pulled", ("person", "beast"), ("beast", "tool")),
)
VERBS = {verb: (agents, patients) for *pair, agents, patients in PAIRS for verb in pair}
OPPOSITE = {a: b for first, second, _, _ in PAIRS for a, b in ((first, second), (second, first))}

FUNCTION = {
    "the": "DET", "a": "DET", "is": "AUX", "never": "ADV", "in": "ADP", "near": "ADP", "and": "CCONJ",
    "someone": "PRON", "who": "PRON", "what": "PRON", "where": "ADV", "when": "ADV",
}  # fmt: skip
CONTENT = {
    **dict.fromkeys((*JOBS, *ANIMALS, *FOODS, *TOOLS, *HYPERNYMS, *PLACES), "NOUN"),
    **dict.fromkeys((*COLOURS, *SIZES), "ADJ"),
    **dict.fromkeys((*OPPOSITE, "say"), "VERB"),
    **dict.fromkeys(TIMES, "ADV"),
}
ANCHORS = {**dict.fromkeys(NAMES, "PROPN"), **dict.fromkeys(DIGITS, "NUM"), ".": "PUNCT", "?": "PUNCT"}
TAGS = FUNCTION | CONTENT | ANCHORS
