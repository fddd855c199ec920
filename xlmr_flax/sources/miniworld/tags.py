"""What a word is in its sentence: entities, and the categories of English words."""

from collections.abc import Iterator, Sequence

from xlmr_flax.sources.miniworld.language import Language, Token
from xlmr_flax.sources.miniworld.words import OPPOSITE, PLACES

ORGANISATIONS = ("market", "school", "mill")  # the other places are locations

_NOUNS = {"NOUN": "N", "PROPN": "NP", "NUM": "N/N", "DET": "NP[nb]/N", "PUNCT": ".", "CCONJ": "conj"}
_OF_VERB = "(S[dcl]\\NP)\\(S[dcl]\\NP)"  # what comes after the verb and says more of it
_OF_SENTENCE = "S[dcl]/S[dcl]"  # what comes before


def entity_tags(language: Language, tokens: Sequence[Token]) -> list[str]:
    """IOB2 tags: a name is a person, a place with its article an organisation or a location."""
    words = language.lexicon.words
    places = {words[place]: "ORG" if place in ORGANISATIONS else "LOC" for place in PLACES}
    tags = ["B-PER" if token.tag == "PROPN" else "O" for token in tokens]
    for i, token in enumerate(tokens):
        if kind := places.get(token.word):
            tags[i] = f"B-{kind}"
            if i and tokens[i - 1].tag == "DET":
                tags[i - 1 : i + 1] = f"B-{kind}", f"I-{kind}"
    return tags


def supertags(tokens: Sequence[Token]) -> list[str]:
    """The categories of an English sentence's words, as CCGbank would write them: they tell what stands where."""
    return list(_categories(tokens))


def _categories(tokens: Sequence[Token]) -> Iterator[str]:
    after_verb = False
    for i, (word, tag, _) in enumerate(tokens):
        following = tokens[i + 1].tag if i + 1 < len(tokens) else ""
        if tag in _NOUNS:
            yield _NOUNS[tag]
        elif tag == "ADJ":
            yield "N/N" if following in ("NOUN", "ADJ") else "S[adj]\\NP"
        elif tag == "AUX":
            yield "(S[dcl]\\NP)/(S[adj]\\NP)" if following == "ADJ" else "(S[dcl]\\NP)/NP"
        elif tag == "VERB":
            yield "(S[dcl]\\NP)/NP" if word in OPPOSITE else "S[b]/S[qem]"
        elif tag == "PRON":
            yield "NP" if word == "someone" else "S[qem]/(S[dcl]\\NP)" if following == "VERB" else "S[qem]/(S[dcl]/NP)"
        elif tag == "ADP":
            yield f"({_OF_VERB if after_verb else _OF_SENTENCE})/NP"
        elif word in ("where", "when"):
            yield "S[qem]/S[dcl]"
        elif word == "never":
            yield "(S[dcl]\\NP)/(S[dcl]\\NP)"
        else:
            yield _OF_VERB if after_verb else _OF_SENTENCE
        after_verb = tag != "CCONJ" and (after_verb or word in OPPOSITE or tag == "AUX")
