"""IFBench's 29 training families (IFTrain, IF-RLVR), by the ids that their rows carry.

After allenai/open-instruct's IFEvalG, in one reading of sentences and tokens, ours, instead of
its two. What an answer can pass by saying nothing is closed for training in `guards`.
"""

from __future__ import annotations

import re
from itertools import pairwise

from cascade_rl.verifiers.instructions.arguments import Arguments, Check, Test, plain
from cascade_rl.verifiers.instructions.ifeval import DIVIDER, count_paragraphs, letter_frequency
from cascade_rl.verifiers.instructions.layout import span
from cascade_rl.verifiers.instructions.text import sentences, tokens

# --- copies -----------------------------------------------------------------------------------


def _repeat_phrase(arguments: Arguments) -> Test:
    phrase, times = arguments.text("phrase").split(), arguments.integer("small_n", 1)

    def test(answer: str) -> bool:
        copies = _copies(answer, phrase[0], phrase[-1])
        if len(copies) != times:
            return False
        pairs = [list(zip(copy, phrase, strict=False)) for copy in copies]
        return all(
            len(copy) == len(phrase) and sum(a != b for a, b in pair) == 1
            for copy, pair in zip(copies, pairs, strict=True)
        )

    return test


def _copies(answer: str, first: str, last: str) -> list[list[str]]:
    """What runs from `first` to the next `last` on the same line, blanks around what is between."""
    found = []
    for line in answer.split("\n"):
        start = line.find(f"{first} ")
        while start >= 0:
            end = line.find(f" {last}", start + len(first) + 1)
            if end < 0:
                break
            stop = end + 1 + len(last)
            found.append(line[start:stop].split())
            start = line.find(f"{first} ", stop)
    return found


def _copy(arguments: Arguments) -> Test:
    wanted = arguments.text("prompt_to_repeat").strip().lower()
    return lambda answer: answer.strip().lower() == wanted


def _copying_multiple(arguments: Arguments) -> Test:
    wanted, times = arguments.text("prompt_to_repeat").strip().lower(), arguments.integer("N", 1)
    return lambda answer: [p.strip().lower() for p in answer.split("******")] == [wanted] * times


# --- keywords and letters ---------------------------------------------------------------------


def _no_adjacent_consecutive(answer: str) -> bool:
    firsts = [word[0].lower() for word in answer.split()]
    single = all(len(letter) == 1 for letter in firsts)
    return single and all(ord(two) - ord(one) != 1 for one, two in pairwise(firsts))


def _word_once(arguments: Arguments) -> Test:
    word = arguments.word("keyword").lower()
    return lambda answer: answer.lower().count(word) == 1


def _word_count_different_numbers(arguments: Arguments) -> Test:
    word, holds = arguments.word("keyword").lower(), arguments.bound("relation", "frequency")
    return lambda answer: holds(answer.lower().count(word))


def _exclude_word_harder(arguments: Arguments) -> Test:
    word = arguments.word("keyword")
    return lambda answer: f" {word} " not in answer


def _palindrome(answer: str) -> bool:
    return any(word == word[::-1] for word in answer.split())


def _keyword_specific_position(arguments: Arguments) -> Test:
    keyword = arguments.word("keyword")
    nth, mth = arguments.integer("n", 1), arguments.integer("m", 1)

    def test(answer: str) -> bool:
        found = sentences(answer)
        return len(found) >= nth and tokens(found[nth - 1])[mth - 1 : mth] == (keyword,)

    return test


def _start_end(answer: str) -> bool:
    found = tokens(answer)
    return len(found) >= 2 and found[0].lower() == found[-1].lower()


def _letter_counting(arguments: Arguments) -> Test:
    holds = arguments.bound("relation", "N")
    return lambda answer: holds(len(re.findall("[a-zA-Z]", answer)))


# --- paragraphs, sentences, first and last words ----------------------------------------------


def _first_word_sent(arguments: Arguments) -> Test:
    wanted = arguments.word("first_word").lower()
    return lambda answer: all(s.split()[0].lower() == wanted for s in sentences(answer))


def _first_word_answer(arguments: Arguments) -> Test:
    wanted = arguments.word("first_word").lower()
    return lambda answer: answer.split()[0].lower() == wanted


def bare_last_word(text: str) -> str:
    """The last word in lower case, without punctuation."""
    return re.sub(r"[^\w\s]", "", text.split()[-1]).lower()


def _last_word_sent(arguments: Arguments) -> Test:
    wanted = arguments.word("last_word").lower()
    return lambda answer: all(bare_last_word(s) == wanted for s in sentences(answer))


def _last_word_answer(arguments: Arguments) -> Test:
    wanted = arguments.word("last_word").lower()
    return lambda answer: bare_last_word(answer) == wanted


def _sentence_hyphens(answer: str) -> bool:
    expected = sentences(answer.replace("-", " ").replace("\n", " "))
    return all(a == b for a, b in zip(answer.split("-"), expected, strict=False))


def _counting_composition(arguments: Arguments) -> Test:
    each, long = arguments.integer("n_sent", 1), arguments.integer("n_words", 1)

    def test(answer: str) -> bool:
        parts = DIVIDER.split(answer)
        if count_paragraphs(parts) != 3:
            return False
        found = [sentences(part) for part in parts if part.strip()]
        right_number = all(len(inside) == each for inside in found)
        return right_number and all(len(tokens(s)) == long for inside in found for s in inside)

    return test


# --- format and counts ------------------------------------------------------------------------


def _square_brackets(answer: str) -> bool:
    return all(word[0] == "[" and word[-1] == "]" for word in answer.split())


def _bigram_wrapping(answer: str) -> bool:
    found = answer.split()
    pairs = zip(found[::2], found[1::2], strict=False)
    return all(one.startswith("<<") and two.endswith(">>") for one, two in pairs)


def _lowercase_counting(arguments: Arguments) -> Test:
    most = arguments.integer("N")
    return lambda answer: len(re.findall(r"\b[a-z]+\b", answer)) <= most


def _count_unique(answer: str) -> bool:
    found = tokens(answer)
    return len(found) == len(set(found))


def _count_increment_word(arguments: Arguments) -> Test:
    once, twice = arguments.word("keyword1").lower(), arguments.word("keyword2").lower()
    return lambda answer: (answer.lower().count(once), answer.lower().count(twice)) == (1, 2)


TRAINING: dict[str, Check] = {
    "copy:copy": _copy,
    "copy:copying_simple": _copy,
    "copy:copying_multiple": _copying_multiple,
    "copy:repeat_phrase": _repeat_phrase,
    "new:copy_span_idx": span(0),
    "count:count_increment_word": _count_increment_word,
    "count:count_unique": plain(_count_unique),
    "count:counting_composition": _counting_composition,
    "count:lowercase_counting": _lowercase_counting,
    "detectable_format:bigram_wrapping": plain(_bigram_wrapping),
    "detectable_format:sentence_hyphens": plain(_sentence_hyphens),
    "detectable_format:square_brackets": plain(_square_brackets),
    "first_word:first_word_answer": _first_word_answer,
    "first_word:first_word_sent": _first_word_sent,
    "keywords:exclude_word_harder": _exclude_word_harder,
    "keywords:keyword_specific_position": _keyword_specific_position,
    "keywords:no_adjacent_consecutive": plain(_no_adjacent_consecutive),
    "keywords:palindrome": plain(_palindrome),
    "keywords:start_end": plain(_start_end),
    "keywords:word_count_different_numbers": _word_count_different_numbers,
    "keywords:word_once": _word_once,
    "last_word:last_word_answer": _last_word_answer,
    "last_word:last_word_sent": _last_word_sent,
    "letters:letter_counting": _letter_counting,
    "letters:letter_counting2": letter_frequency,
    "paragraphs:paragraphs": plain(lambda answer: count_paragraphs(DIVIDER.split(answer)) == 2),
    "paragraphs:paragraphs2": plain(lambda answer: count_paragraphs(answer.split("\n\n")) == 2),
    "punctuation:punctuation_dot": plain(lambda answer: "." not in answer),
    "punctuation:punctuation_exclamation": plain(lambda answer: "!" not in answer),
}
