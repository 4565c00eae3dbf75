"""What an answer could pass IFBench's instructions with and still not follow them, closed.

Part of `strict_reward`: a guard stands in front of the upstream decision (`both`), or a stricter
test replaces it. Two kinds of hole: rules over all words, sentences or bullets that an answer
without any passes, and letters or marks dressed up so that a pattern misses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cascade_rl.verifiers.instructions.arguments import Arguments, Check, Test, both, plain
from cascade_rl.verifiers.instructions.custom import CUSTOM
from cascade_rl.verifiers.instructions.ifbench import IFBENCH, keywords_multiple, sentence_types
from cascade_rl.verifiers.instructions.layout import LAYOUT, TEMPLATE, alliterations
from cascade_rl.verifiers.instructions.strict import STRICT, count_word, forbidden, in_script
from cascade_rl.verifiers.instructions.text import contains_word, fold, sentences, visible, words
from cascade_rl.verifiers.instructions.training import TRAINING, bare_last_word

UPSTREAM = {**IFBENCH, **LAYOUT, **CUSTOM, **TRAINING}


def _at_least_words(count: int) -> Test:
    return lambda answer: len(words(visible(answer))) >= count


def _at_least_sentences(count: int) -> Test:
    return lambda answer: sum(map(contains_word, sentences(answer))) >= count


def _latin_words(answer: str) -> bool:
    """English words, and no look-alikes or invisible letters among them."""
    return fold(answer) == visible(answer) and in_script(answer, "LATIN")


def _quoted(answer: str) -> bool:
    return re.search(r'"[^"\n]*[^\W_][^"\n]*"', answer) is not None


def _bullets(answer: str) -> bool:
    """Each `* item` has at least one `- item` under it, all with words."""
    groups = re.split(r"^[^\S\n]*\*(?!\*)", answer, flags=re.MULTILINE)[1:]
    subs = [re.findall(r"^[^\S\n]*-[^\S\n]+(.*)$", group, re.MULTILINE) for group in groups]
    return bool(groups) and all(any(map(contains_word, sub)) for sub in subs)


def _template(answer: str) -> bool:
    at = [answer.find(part) for part in TEMPLATE]
    ends = [*at[1:], len(answer)]
    parts = [answer[a + len(p) : b] for p, a, b in zip(TEMPLATE, at, ends, strict=True)]
    return min(at) >= 0 and at == sorted(at) and all(map(contains_word, parts))


def _items(arguments: Arguments) -> Test:
    marker = re.compile(re.escape(arguments.text("sep").strip()))
    return lambda answer: sum(map(contains_word, marker.split(answer)[1:])) >= 2


def _keywords_multiple(arguments: Arguments) -> Test:
    wanted = keywords_multiple(arguments)
    return lambda answer: all(count_word(word, answer) == n for word, n in wanted)


def _word_once(arguments: Arguments) -> Test:
    word = arguments.word("keyword")
    return lambda answer: count_word(word, answer) == 1


def _count_increment_word(arguments: Arguments) -> Test:
    once, twice = arguments.word("keyword1"), arguments.word("keyword2")
    return lambda answer: count_word(once, answer) == 1 and count_word(twice, answer) == 2


def _different_words(answer: str) -> bool:
    """No word stands twice, whatever its case."""
    found = [word.lower() for word in words(fold(answer))]
    return len(found) == len(set(found))


def _conjunctions(arguments: Arguments) -> Test:
    wanted = arguments.integer("small_n")
    known = {"and", "but", "for", "nor", "or", "so", "yet"}
    return lambda answer: len(known & {w.lower() for w in words(answer)}) >= wanted


def _visible_words(arguments: Arguments) -> Test:
    low, high = arguments.integer("min_words"), arguments.integer("max_words")
    return lambda answer: low <= len(re.findall(r"[^\W_]+", visible(answer))) <= high


def _unique_words(arguments: Arguments) -> Test:
    wanted = arguments.integer("N")
    return lambda answer: len({word.lower() for word in words(fold(answer))}) >= wanted


def _real_palindrome(answer: str) -> bool:
    found = [word.lower() for word in words(fold(answer))]
    return any(len(word) >= 3 and word == word[::-1] and len(set(word)) > 1 for word in found)


def _different_palindromes(answer: str) -> bool:
    found = {word.lower() for word in words(fold(answer)) if len(word) >= 5}
    return sum(word == word[::-1] and len(set(word)) > 1 for word in found) >= 10


def _bigrams(answer: str) -> bool:
    pairs = re.findall(r"<<[^\s<>]+\s+[^\s<>]+>>", answer)
    return bool(pairs) and not contains_word(re.sub(r"<<[^<>\n]+>>", "", answer))


def _real_dates(answer: str) -> bool:
    return "-00" not in answer


_LOOKS_BLANK = re.compile("[\u115f\u1160\u200b\u2060\u2800\u3164\ufeff\uffa0]")


def _mark(marks: str) -> Test:
    return lambda answer: not any(mark in answer for mark in marks)


def _guarded(guards: dict[str, Callable[[str], bool]]) -> dict[str, Check]:
    return {name: both(UPSTREAM[name], guard) for name, guard in guards.items()}


_GUARDS: dict[str, Test] = {
    "count:words_japanese": _at_least_words(1),
    "count:numbers": contains_word,
    "format:emoji": _at_least_sentences(1),
    "format:line_indent": lambda a: sum(map(contains_word, a.split("\n"))) >= 2,
    "format:newline": contains_word,
    "format:no_bullets_bullets": _at_least_words(4),
    "format:no_whitespace": lambda a: contains_word(a) and not _LOOKS_BLANK.search(a),
    "format:quote_unquote": _quoted,
    "format:sub-bullets": _bullets,
    "format:thesis": lambda a: contains_word(re.sub(r"</?\w+>", "", a)),
    "format:title_case": _latin_words,
    "format:output_template": _template,
    "ratio:sentence_balance": lambda a: min(sentence_types(a)) > 0,
    "ratio:sentence_type": lambda a: sentence_types(a)[1] > 0,
    "ratio:sentence_words": lambda a: _different_words(a) and _at_least_sentences(3)(a),
    "ratio:stop_words": _latin_words,
    "sentence:alliteration_increment": lambda a: len(alliterations(a)) >= 2,
    "sentence:increment": _at_least_sentences(2),
    "words:alphabet": _at_least_words(2),
    "words:consonants": _latin_words,
    "words:last_first": _at_least_sentences(2),
    "words:no_consecutive": _at_least_words(2),
    "words:odd_even_syllables": lambda a: _latin_words(a) and _at_least_words(2)(a),
    "words:palindrome": _different_palindromes,
    "words:paragraph_last_first": _at_least_words(2),
    "words:prime_lengths": _at_least_words(1),
    "words:repeats": _at_least_words(1),
    "words:vowel": _latin_words,
    "custom:date_format_list": _real_dates,
    "custom:reverse_newline": lambda a: len(set(a.split("\n"))) >= 52,
    "count:count_unique": _different_words,
    "count:lowercase_counting": contains_word,
    "detectable_format:bigram_wrapping": _bigrams,
    "detectable_format:sentence_hyphens": _at_least_words(1),
    "detectable_format:square_brackets": _at_least_words(1),
    "keywords:no_adjacent_consecutive": _at_least_words(2),
    "keywords:start_end": lambda a: contains_word(bare_last_word(a)) and _at_least_words(2)(a),
    "paragraphs:paragraphs": lambda a: all(map(contains_word, re.split(r"\*{3}", a.strip("* \n")))),
    "paragraphs:paragraphs2": lambda a: all(map(contains_word, a.strip().split("\n\n"))),
    "punctuation:punctuation_dot": lambda a: contains_word(a) and _mark("．｡。․…⋯")(a),
    "punctuation:punctuation_exclamation": lambda a: contains_word(a) and _mark("！ǃ¡‼⁉❗❕﹗")(a),
}

STRICT_OTHERS: dict[str, Check] = {
    **_guarded(_GUARDS),
    "count:conjunctions": _conjunctions,
    "count:keywords_multiple": _keywords_multiple,
    "count:unique_word_count": _unique_words,
    "count:word_count_range": _visible_words,
    "count:count_increment_word": _count_increment_word,
    "format:list": _items,
    "keywords:exclude_word_harder": lambda arguments: forbidden([arguments.word("keyword")]),
    "keywords:palindrome": plain(_real_palindrome),
    "keywords:word_once": _word_once,
    "keywords:word_count_different_numbers": STRICT["keywords:frequency"],
    "letters:letter_counting2": STRICT["keywords:letter_frequency"],
}
