"""IFBench's test instructions on counts, ratios and words, as its checkers decide them.

After allenai/IFBench (arXiv:2507.02833), without its downloads: sentences and tokens as in
`text`, verbs, syllables and emoji as in `lists`. What an answer can pass by saying nothing is
closed for training in `guards`.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from cascade_rl.verifiers.instructions.arguments import Arguments, Check, Test, plain
from cascade_rl.verifiers.instructions.lists import (
    CONJUNCTIONS,
    PERSON_NAMES,
    PRIMES,
    PRONOUNS,
    STOP_WORDS,
    may_be_verb,
    syllables,
)
from cascade_rl.verifiers.instructions.text import (
    EDGES,
    PUNCTUATION,
    sentences,
    tokens,
    without_punctuation,
)

# --- counts -----------------------------------------------------------------------------------


def _word_count_range(arguments: Arguments) -> Test:
    low, high = arguments.integer("min_words"), arguments.integer("max_words")
    return lambda answer: low <= len(re.findall(r"\w+", answer)) <= high


def _unique_word_count(arguments: Arguments) -> Test:
    wanted = arguments.integer("N")
    return lambda answer: len({w.strip(EDGES) for w in answer.lower().split()}) >= wanted


def _conjunctions(arguments: Arguments) -> Test:
    wanted = arguments.integer("small_n")

    def test(answer: str) -> bool:
        # As upstream, `And` and `and,` count as two different ones.
        found = {word for word in answer.split() if word.strip(EDGES).lower() in CONJUNCTIONS}
        return len(found) >= wanted

    return test


_NAMES = re.compile(rf"\b(?:{'|'.join(PERSON_NAMES)})\b")


def _person_names(arguments: Arguments) -> Test:
    wanted = arguments.integer("N")
    return lambda answer: len(set(_NAMES.findall(answer))) >= wanted


def _numbers(arguments: Arguments) -> Test:
    wanted = arguments.integer("N")
    return lambda answer: len(re.findall(r"\d+", without_punctuation(answer))) == wanted


def _punctuation(answer: str) -> bool:
    bang = next((mark for mark in ("?!", "!?") if mark in answer), None)
    if bang is None and "‽" not in answer:
        return False
    rest = answer.replace(bang, "", 1) if bang else answer
    return all(mark in rest for mark in ".,!?;:")


def _pronouns(arguments: Arguments) -> Test:
    wanted = arguments.integer("N")

    def test(answer: str) -> bool:
        found = tokens(answer.replace("/", " ").lower())
        return sum(token in PRONOUNS for token in found) >= wanted

    return test


_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


def _words_japanese(arguments: Arguments) -> Test:
    nth = arguments.integer("N", 1)

    def test(answer: str) -> bool:
        stripped = (word.strip(EDGES) for word in answer.split()[nth - 1 :: nth])
        return all(_JAPANESE.search(w) for w in stripped if w and not w.isdigit())

    return test


def keywords_multiple(arguments: Arguments) -> list[tuple[str, int]]:
    """The five keywords with how often each is to stand in the answer."""
    return [(arguments.word(f"keyword{i}"), n) for i, n in enumerate((1, 2, 3, 5, 7), 1)]


def _keywords_multiple(arguments: Arguments) -> Test:
    wanted = [(word.lower(), count) for word, count in keywords_multiple(arguments)]
    return lambda answer: all(answer.lower().count(word) == n for word, n in wanted)


# --- ratios -----------------------------------------------------------------------------------


def _stop_words(arguments: Arguments) -> Test:
    most = arguments.number("percentage")

    def test(answer: str) -> bool:
        found = re.findall(r"\w+", answer)
        stops = sum(word.lower() in STOP_WORDS for word in found)
        return len(found) > 0 and stops / len(found) * 100 <= most

    return test


def sentence_types(answer: str) -> tuple[int, int, int]:
    """How many sentences end in `.`, `?` and `!`."""
    ends = Counter(sentence[-1:] for sentence in sentences(answer))
    return ends["."], ends["?"], ends["!"]


def _sentence_type(answer: str) -> bool:
    declarative, interrogative, _ = sentence_types(answer)
    return declarative == 2 * interrogative


def _overlap(arguments: Arguments) -> Test:
    wanted = arguments.number("percentage")
    reference = _trigrams(arguments.text("reference_text"))

    def test(answer: str) -> bool:
        found = _trigrams(answer)
        return bool(found) and abs(len(found & reference) / len(found) * 100 - wanted) <= 2

    return test


def _trigrams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(len(text) - 2)}


def _sentence_words(answer: str) -> bool:
    lengths = [len(sentence.strip()) for sentence in sentences(answer)]
    return len(lengths) == 3 and len(set(lengths)) == 1


# --- words ------------------------------------------------------------------------------------


def _alphabet(answer: str) -> bool:
    first_letters = [word[0].lower()[:1] for word in without_punctuation(answer).split()]
    if not first_letters or not "a" <= first_letters[0] <= "z":
        return False
    start = ord(first_letters[0]) - 97
    return all(c == chr(97 + (start + i) % 26) for i, c in enumerate(first_letters))


def _vowel(answer: str) -> bool:
    stripped = answer.strip()
    return "\n" not in stripped and len(set(stripped.lower()) & set("aeiou")) <= 3


_CLUSTER = re.compile("[b-df-hj-np-tv-z]{2}")


def _consonants(answer: str) -> bool:
    return all(_CLUSTER.search(word) for word in answer.lower().split())


def _palindrome(answer: str) -> bool:
    found = without_punctuation(answer).lower().split()
    return sum(len(word) >= 5 and word == word[::-1] for word in found) >= 10


def _prime_lengths(answer: str) -> bool:
    return all(len(word) in PRIMES for word in without_punctuation(answer).split())


def _start_verb(answer: str) -> bool:
    found = tokens(answer[:1000])
    return bool(found) and may_be_verb(found[0])


def _repeats(arguments: Arguments) -> Test:
    most = arguments.integer("small_n")

    def test(answer: str) -> bool:
        counts = Counter(without_punctuation(answer.lower()).split())
        return max(counts.values(), default=0) <= most

    return test


def _odd_even_syllables(answer: str) -> bool:
    parities = [syllables(word) % 2 for word in without_punctuation(answer).lower().split()]
    return all(a != b for a, b in pairwise(parities))


def _last_first(answer: str) -> bool:
    for one, two in pairwise(sentences(answer)):
        last, first = one.rstrip(EDGES).split(), two.lstrip(EDGES).split()
        if not last or not first or last[-1].lower() != first[0].lower():
            return False
    return True


def _paragraph_last_first(answer: str) -> bool:
    for line in answer.lower().split("\n"):
        found = line.strip().strip(EDGES).split()
        if found and found[0] != found[-1]:
            return False
    return True


def _no_consecutive(answer: str) -> bool:
    found = without_punctuation(answer.lower()).split()
    return all(one[0] != two[0] for one, two in pairwise(found))


def _keywords_specific_position(arguments: Arguments) -> Test:
    keyword = arguments.word("keyword").lower()
    nth, mth = arguments.integer("n", 1), arguments.integer("m", 1)

    def test(answer: str) -> bool:
        found = sentences(answer)
        if len(found) < nth:
            return False
        inside = [t.lower() for t in tokens(found[nth - 1]) if any(map(str.isalnum, t))]
        return inside[mth - 1 : mth] == [keyword]

    return test


def _words_position(arguments: Arguments) -> Test:
    keyword = arguments.word("keyword").lower()

    def test(answer: str) -> bool:
        found = [token.lower() for token in tokens(answer)]
        if found and found[-1] in PUNCTUATION:
            found = found[:-1]
        return len(found) >= 2 and found[1] == found[-2] == keyword

    return test


IFBENCH: dict[str, Check] = {
    "count:conjunctions": _conjunctions,
    "count:keywords_multiple": _keywords_multiple,
    "count:numbers": _numbers,
    "count:person_names": _person_names,
    "count:pronouns": _pronouns,
    "count:punctuation": plain(_punctuation),
    "count:unique_word_count": _unique_word_count,
    "count:word_count_range": _word_count_range,
    "count:words_japanese": _words_japanese,
    "ratio:overlap": _overlap,
    "ratio:sentence_balance": plain(lambda answer: len(set(sentence_types(answer))) == 1),
    "ratio:sentence_type": plain(_sentence_type),
    "ratio:sentence_words": plain(_sentence_words),
    "ratio:stop_words": _stop_words,
    "words:alphabet": plain(_alphabet),
    "words:consonants": plain(_consonants),
    "words:keywords_specific_position": _keywords_specific_position,
    "words:last_first": plain(_last_first),
    "words:no_consecutive": plain(_no_consecutive),
    "words:odd_even_syllables": plain(_odd_even_syllables),
    "words:palindrome": plain(_palindrome),
    "words:paragraph_last_first": plain(_paragraph_last_first),
    "words:prime_lengths": plain(_prime_lengths),
    "words:repeats": _repeats,
    "words:start_verb": plain(_start_verb),
    "words:vowel": plain(_vowel),
    "words:words_position": _words_position,
}
