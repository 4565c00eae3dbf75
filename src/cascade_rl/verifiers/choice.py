"""Multiple choice: the letter that the answer declares last, against the reference; 1 or 0.

Policy, where graders differ:
- the thinking is never read, and a letter is never guessed: what declares none is wrong;
- `\\boxed{C}`, "The answer is (C)", "I choose C", "C is the correct answer" declare; the last one
  counts;
- only where nothing declares, in this order: "(C) is correct", a last line like "Therefore, C.", a
  letter alone on the last line or alone of its kind, the only letter in bold, the only line of the
  form "C. text";
- two letters at once ("A or B", `\\boxed{A, C}`) are no answer;
- "A" and "I" before a word are words, "E. coli" is no option E; a letter that the question does
  not have is none;
- an answer in words, or a number in a box, is not looked up among the options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from cascade_rl.chat import THINK_OPEN, answer_part, has_open_thought
from cascade_rl.types import Answer, Problem, Verdict, right, unjudged, wrong

VERSION = "choice-1"
MOST = 10
"""Options where the row does not list them: MMLU-Pro goes up to J."""
_TAIL, _BOXES = 100_000, 50
"""Characters at the end of an answer that are read, and boxes in them."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen: the letters, and the options' texts where the row has them."""

    letters: str
    texts: Sequence[str] = ()

    def says(self, letter: str, words: str) -> bool:
        """Whether these words, in lower case, are how the letter's option begins."""
        if not self.texts:
            return True
        text = self.texts[self.letters.index(letter)]
        return text.strip().casefold().startswith(words.casefold())


@dataclass(frozen=True, slots=True)
class Declared:
    """Letters declared at one place of an answer: one is an answer, several are none."""

    start: int
    letters: tuple[str, ...]


def verify_choice(problem: Problem, text: str) -> Verdict:
    """Score 1 when the letter declared last outside the thinking is the reference, else 0.

    `extra["options"]` lists the options' texts; without it ten letters are taken for possible.
    """
    options = _options(problem)
    reference = problem.reference
    if options is None or not isinstance(reference, Answer):
        return unjudged("invalid", "a multiple-choice problem needs 2 to 26 options and a letter")
    wanted = reference.text.strip()
    if len(wanted) != 1 or wanted not in options.letters:
        return unjudged("invalid", f"the reference {wanted[:80]!r} is none of {options.letters}")
    if has_open_thought(text):
        return wrong("the thought never ends")
    found = chosen(text, options)
    if not found:
        return wrong("no option is declared to be the answer")
    if len(found) > 1:
        return wrong(f"several options at once: {', '.join(found)}", answer=", ".join(found))
    return right(wanted) if found[0] == wanted else wrong(f"found {found[0]}", answer=found[0])


def _options(problem: Problem) -> Options | None:
    texts = problem.extra.get("options")
    if texts is None:
        return Options(ascii_uppercase[:MOST])
    if not isinstance(texts, list | tuple) or not 2 <= len(texts) <= len(ascii_uppercase):
        return None
    return Options(ascii_uppercase[: len(texts)], [str(text) for text in texts])


def chosen(text: str, options: Options) -> tuple[str, ...]:
    """The letters that the answer declares: one, or several at once, or none."""
    answer = _plain(answer_part(text).partition(THINK_OPEN)[0][-_TAIL:])
    declared = [*_boxes(answer, options), *_phrases(answer, options), *_named(answer, options)]
    if declared:
        return max(declared, key=lambda found: found.start).letters
    for look in (_called_correct, _conclusion, _lone_letter, _bold_letter, _option_line):
        if found := look(answer, options):
            return found
    return ()


def _plain(answer: str) -> str:
    """The answer without long runs of blanks and asterisks, over which patterns would be slow."""
    answer = re.sub(r"[^\S\n]+", " ", answer)
    return re.sub(r"\*{3,}", "**", re.sub(r"(?: ?\n){2,}", "\n\n", answer))


# --- one letter, as it is written -------------------------------------------------------------

_AND = r"\s*(?:,\s*(?:and|or)\b|,|/|&|\band\b|\bor\b)\s*"
_ONE = r"(?:\(\s*[A-Za-z]\s*\)|\[\s*[A-Za-z]\s*\]|[A-Z])"
_LETTER = re.compile(
    rf"(?P<open>[(\[])?\s*(?P<letter>[A-Za-z])(?P<close>\s*[)\]])?(?![A-Za-z0-9'’_^+=–\-])"
    rf"(?P<more>(?:\**{_AND}\**{_ONE}(?![A-Za-z0-9'’_^+=\-]))*)"
)
_SIGN_OF_FORMULA = re.compile(r"\s*[=+^_<>≤≥≈×·]")
_WORD_AFTER = re.compile(r"\s+([a-z][\w'’]*)")
_TEXT_AFTER = re.compile(r"\s*[.:]\s+([a-z][\w-]*)")
_GOES_ON = frozenset(
    "because since as which and or for with given by due it that so but while whereas when if "
    "from based not is in according".split()
)
"""Words that may follow a bare letter; before any other one it is a word itself, or half of one
("B cells", "A catalyst")."""


def _letters(match: re.Match[str] | None, text: str, options: Options) -> tuple[str, ...]:
    """The options that a match of `_LETTER` names; none where it is a word or a formula."""
    if match is None:
        return ()
    bare = match["open"] is None
    if bare and (match["letter"].islower() or not _is_letter(match, text, options)):
        return ()
    more = re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", match["more"])
    if more and _WORD_AFTER.match(text, match.end()) and "or" not in match["more"]:
        more = []  # "C, and A is wrong" declares C
    found = tuple(dict.fromkeys(letter.upper() for letter in (match["letter"], *more)))
    return found if all(letter in options.letters for letter in found) else ()


def _is_letter(match: re.Match[str], text: str, options: Options) -> bool:
    """Whether a bare capital is the letter of an option."""
    if match["more"] or match["close"]:
        return True
    if _SIGN_OF_FORMULA.match(text, match.end()):
        return False
    if word := _WORD_AFTER.match(text, match.end()):
        return word[1] in _GOES_ON
    after = _TEXT_AFTER.match(text, match.end())
    letter = match["letter"]
    if after is None or after[1] in _GOES_ON:
        return True
    return letter in options.letters and options.says(letter, after[1])


# --- what declares ----------------------------------------------------------------------------

_WRAP = re.compile(
    r"\\(?:text|textbf|textrm|textsf|mathrm|mathbf|mathsf|boldsymbol|bf|rm)\s*\{|[{}$]|\\[ ,;!]"
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_IN_BOX = re.compile(
    rf"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)?\s*:?\s*(?P<all>{_ONE}(?:{_AND}{_ONE})*|[a-z])"
    r"(?:\s*[.:)]\s*(?P<text>\S.*)|(?<=[)\]])\s+\S.*|\s+\(.*)?"
)
_MARKS = r"(?:[\s*_`$\"'“”]|\\\(|\\\[){0,8}"
_PHRASE = re.compile(
    r"\b(?:I(?:'ll|’ll|'d|’d|\s+will|\s+would)?\s+(?:choose|chose|pick|select|go\s+with)"
    r"|(?:answer|option|choice)(?:\s+(?:choice|option|letter))?"
    r"(?:\s+(?:to|for)\s+(?:the|this)\s+(?:question|problem))?[*_`]*"
    r"\s*(?::|=|(?:\bis\b|\bwas\b|\b(?:must|should|would|will|has\s+to)\s+be\b)\s*:?))"
    rf"{_MARKS}(?:(?:therefore|thus|hence|clearly|indeed|definitely|most\s+likely|likely|probably|simply)"
    rf",?\s+)?(?:the\s+)?(?:option|choice|letter)?{_MARKS}"
    r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{)?\s*",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppose|supposing|assume|assuming|unless|had)\s+(?:that\s+)?(?:the\s+)?"
    r"(?:correct\s+|right\s+|final\s+|best\s+)?(?:option\s+|choice\s+)?$",
    re.IGNORECASE,
)
_IS_CORRECT = r"\s+(?:is|must\s+be|would\s+be)\s+(?:therefore\s+|thus\s+|clearly\s+|indeed\s+)?"
_BEST = r"(?:only\s+|most\s+)?(?:correct|right|best|accurate|appropriate)"
_STARRED = r"(?P<open>\**[(\[]|\*+)?(?P<letter>[A-Z])[)\]]?\**"
_NAMED = re.compile(
    rf"(?<![A-Za-z0-9'’\-(\[*]){_STARRED}{_IS_CORRECT}"
    rf"(?:(?:the|my)\s+(?:answer|choice)|the\s+{_BEST}\s+(?:answer|option|choice|one))\b"
)
_CORRECT = re.compile(rf"(?<![A-Za-z0-9'’\-(\[*]){_STARRED}{_IS_CORRECT}(?:the\s+)?{_BEST}\b")
_LEADS = re.compile(
    r"(?:^|[\n.;:!?,—]\s*|\b(?:option|choice|answer|letter|so|thus|therefore|hence|that|means)\s+)$",
    re.IGNORECASE,
)
"""Before a bare letter that is said to be correct: "vitamin C is correct" is no option C."""


def _boxes(answer: str, options: Options) -> Iterator[Declared]:
    """Every box that holds the letters of options and nothing but a text after one."""
    for opening in list(_BOX.finditer(answer))[-_BOXES:]:
        content = _WRAP.sub(" ", answer[opening.end() : _closing(answer, opening.end())])
        match = _IN_BOX.fullmatch(" ".join(content.split()))
        if match is None:
            continue
        letters = re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", match["all"])
        found = tuple(dict.fromkeys(letter.upper() for letter in letters))
        if not all(letter in options.letters for letter in found):
            continue
        after = match["text"] or ""
        if not after[:1].islower() or options.says(found[-1], after.split()[0]):
            yield Declared(opening.start(), found)


def _closing(text: str, start: int) -> int:
    """Where the brace that is open at `start` closes; the end of the line where it does not."""
    depth = 1
    for place in range(start, min(len(text), start + 2_000)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return start + len(text[start : start + 2_000].partition("\n")[0])


def _phrases(answer: str, options: Options) -> Iterator[Declared]:
    """Every "The answer is (C)", "Answer: C" and the like, but what is only supposed."""
    start = 0
    while phrase := _PHRASE.search(answer, start):
        start = phrase.start() + 1  # "Answer: the choice is C" holds two
        if _SUPPOSED.search(answer[max(0, phrase.start() - 60) : phrase.start()]):
            continue
        found = _letters(_LETTER.match(answer, phrase.end()), answer, options)
        if found:
            yield Declared(phrase.start(), found)


def _named(answer: str, options: Options) -> Iterator[Declared]:
    """Every "C is the correct answer"."""
    for match in _NAMED.finditer(answer):
        if _is_named(match, answer, options):
            yield Declared(match.start(), (match["letter"],))


def _is_named(match: re.Match[str], answer: str, options: Options) -> bool:
    before = answer[max(0, match.start() - 60) : match.start()]
    leads = match["open"] is not None or _LEADS.search(before) is not None or not before
    return match["letter"] in options.letters and leads and _SUPPOSED.search(before) is None


# --- where nothing declares -------------------------------------------------------------------

_DECORATION = " \t*_`#>$.:()[]-"
_BOLD = re.compile(r"\*\*\s*\(?([A-Z])\)?\s*(?:[.:)]\s*[^*\n]{0,300})?\*\*")
_CONCLUDES = re.compile(
    r"[\s*_]*(?:(?:(?:so|thus|hence|therefore|in conclusion|finally)[,:]?\s+)(?:it is\s+|it's\s+)?"
    r"(?:option|choice|answer)?|(?:option|choice))\s*\**[(\[]?\s*((?-i:[A-Z]))\s*[)\]]?[\s*_.!]*",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"(?<![A-Za-z])[A-Z][.):][*_]*\s")
_LINE = re.compile(r"[ \t>*_-]*\(?([A-Z])[.):][*_]*\s+(\S+)")


def _called_correct(answer: str, options: Options) -> tuple[str, ...]:
    """The last "(C) is correct"."""
    matches = [m for m in _CORRECT.finditer(answer) if _is_named(m, answer, options)]
    return tuple(m["letter"] for m in matches[-1:])


def _conclusion(answer: str, options: Options) -> tuple[str, ...]:
    """The letter of a last line like "Therefore, option C."."""
    match = _CONCLUDES.fullmatch(answer.rstrip().rpartition("\n")[2])
    return (match[1],) if match is not None and match[1] in options.letters else ()


def _lone_letter(answer: str, options: Options) -> tuple[str, ...]:
    """A letter that is the last line, or the only letter that is a line of its own."""
    lines = [line.strip(_DECORATION) for line in answer.splitlines() if line.strip()]
    alone = [line for line in lines if len(line) == 1 and line in options.letters]
    if len(set(alone)) == 1 or (alone and lines[-1] == alone[-1]):
        return (alone[-1],)
    return ()


def _bold_letter(answer: str, options: Options) -> tuple[str, ...]:
    """The only letter in bold, alone or before its text."""
    found = {m[1] for m in _BOLD.finditer(answer) if m[1] in options.letters}
    return tuple(found) if len(found) == 1 else ()


def _option_line(answer: str, options: Options) -> tuple[str, ...]:
    """The letter of the only line that has the form of an option, the first line or the last."""
    lines = [line for line in answer.splitlines() if line.strip()]
    matches = [_LINE.match(line) for line in lines]
    found = [m for m in matches if m is not None and m[1] in options.letters]
    if len(found) != 1 or found[0] not in (matches[0], matches[-1]):
        return ()
    if len(_ENTRY.findall(found[0].string)) > 1:  # all options in one line
        return ()
    letter, word = found[0][1], found[0][2]
    return (letter,) if word[0].isupper() or options.says(letter, word.strip(".,;")) else ()
