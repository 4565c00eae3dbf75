"""Math problems that a rule-based reward cannot judge, told by their text and reference.

Which kinds are dropped is published (arXiv 2512.13607 section 4.5, arXiv 2505.16400, math data);
how they are told is ours. One rule: a pattern names what the problem *asks*. Conditions labelled
(i) and (ii) are no sub-questions, `it can be shown that` asks for no proof, and a significant
figure is no drawing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cascade_rl.data.curate.rule import (
    Check,
    Given,
    excerpt,
    question,
    sentences,
    without_drawings,
    without_formulas,
)
from cascade_rl.errors import ConfigError
from cascade_rl.types import Answer, Problem, Row
from cascade_rl.verifiers.instructions.detect import detect
from cascade_rl.verifiers.language import foreign_share

# --- several answers to choose from -----------------------------------------------------------

_UPPER = re.compile(r"(?<![\w\\(,+*/=^-])(?:\{\s*)?\(?([A-J])[).:](?=[\s\\}$~*])")
_LOWER = re.compile(r"(?<![\w\\(,+*/=^-])\(?([a-j])\)(?=[\s\\}$~*])")
_CHOOSE = re.compile(
    r"\bwhich (?:one )?of (?:the following|these)\b|\b(?:choose|select|pick)\b"
    r"|\b(?:options|choices)\b|\bletters? of the\b|\benter the letter",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\W*(?:\\?(?:text|textbf|mathrm|mathbf)\s*\{)?\W*([A-Ja-j])\W*")


def multiple_choice(row: Row) -> str | None:
    """Options (A), (B), (C) in order; or small letters, or a letter as answer, with `choose`."""
    text = without_drawings(question(row))
    if _labels(_UPPER, text) >= 3:
        return "multiple choice: options A, B, C"
    choose = _CHOOSE.search(text)
    if choose and _labels(_LOWER, text) >= 3:
        return f"multiple choice: {excerpt(text, *choose.span())}"
    if choose and _LETTER.fullmatch(reference(row)):
        return f"multiple choice: the answer is {reference(row)}"
    return None


def _labels(pattern: re.Pattern[str], text: str) -> int:
    """How many labels stand in the text in the order of the alphabet."""
    found = 0
    for match in pattern.finditer(text):
        if ord(match[1].lower()) - ord("a") == found:
            found += 1
    return found


_TRUE_FALSE = re.compile(
    r"\btrue(?: or |/)false\b(?! (?:questions?|tests?|quiz|problems?|items?|answers?))"
    r"|(?:^|[.?!:]\s{1,3})is it true that\b"
    r"|\b(?:determine|decide|state) (?:whether|if) [^.?\n]{1,80}\b(?:true|false)\b"
    r"|\b(?:yes or no|yes/no)\b",
    re.IGNORECASE,
)
_BINARY = frozenset("true false yes no".split())


def true_false(row: Row) -> str | None:
    """One of two answers: the reference is yes or no, or the text asks for one of them."""
    word = re.sub(r"\\(?:text|textbf|mathrm|mathbf)|[^A-Za-z]", "", reference(row)[:40]).lower()
    if word in _BINARY:
        return f"true or false: the answer is {word}"
    text = question(row)
    found = _TRUE_FALSE.search(text)
    return f"true or false: {excerpt(text, *found.span())}" if found else None


# --- a proof, several questions ---------------------------------------------------------------

_PROOF = re.compile(
    r"(?:^|[.;:!?,)\]$]\s{0,3}|\n\s{0,9}|\b(?:and|then|also|or|please|hence|thus|we)\s)"
    r"(?:prove\b(?! (?:useful|to be|fatal))|show (?:also |further |that if |how )?that\b"
    r"|demonstrate that\b|give a (?:\w{1,12} )?proof\b|write a (?:\w{1,12} )?proof\b"
    r"|verify that\b|justify your (?:answer|reasoning|claim))",
    re.IGNORECASE,
)


def proof(row: Row) -> str | None:
    """A sentence or clause that tells to prove or to show that something holds."""
    text = without_drawings(question(row))
    found = _PROOF.search(text)
    return f"proof: {excerpt(text, *found.span())}" if found else None


_PARTS = (
    re.compile(r"(?<![\w\\(,+*/=^$-])\(([a-h])\)(?=[\s\\$*])"),
    re.compile(r"(?<![\w\\(,+*/=^$-])\((i{1,3}|iv|vi{0,3})\)(?=[\s\\$*])"),
    re.compile(r"(?<![\w\\(,+*/=^$-])\(([1-9])\)(?=[\s\\$*])"),
    re.compile(r"(?:^|\n)\s{0,9}([a-h1-9]|i{1,3}|iv|vi{0,3})[.)](?=\s)"),
    re.compile(
        r"(?:^|\n|[.?!]\s)\W{0,9}(?:part|question) \(?([a-h1-9]|i{1,3}|iv)\b", re.IGNORECASE
    ),
)
_ASKS = re.compile(
    r"(?:^|,\s)\W{0,5}(?:(?:then|now|also|hence|next|finally|in|at|for|to|by|of|from),?\s)?"
    r"(?:what|how|which|who|when|where|why|find|compute|calculate|determine|evaluate|solve|prove"
    r"|show|express|simplify|sketch|draw|write|state|give|estimate|factor|list|describe|explain"
    r"|deduce)\b",
    re.IGNORECASE,
)


def sub_questions(row: Row) -> str | None:
    """Parts (a), (b) or (i), (ii) or 1., 2. of which two or more ask something."""
    text = without_drawings(question(row))
    for pattern in _PARTS:
        asking = [label for label, part in _split(pattern, text) if _asks(part)]
        if len(asking) >= 2:
            return f"several questions: parts {', '.join(asking[:4])}"
    return None


def _split(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, str]]:
    matches = list(pattern.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    for match, end in zip(matches, ends, strict=False):  # without a match there is no part
        yield match[1], text[match.end() : end]


def _asks(part: str) -> bool:
    """Whether the part's first sentence is a question or a task; a condition is neither."""
    first = next(iter(sentences(without_formulas(part[:600]))), "")
    return first.endswith("?") or bool(_ASKS.search(first))


_QUESTION = re.compile(
    r"(?:^|[,;:]\s|\b(?:and|then|so|but)\s)(?:in |at |of |to |for |by |on |with |from )?"
    r"(?:what|how|which|who|whose|when|where|why)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"\u201c][^\"\u201c\u201d]{0,1000}[\"\u201d]")


def several_questions(row: Row) -> str | None:
    """Two or more questions outside quotation marks: one box cannot answer both."""
    text = _QUOTED.sub(" ", without_drawings(question(row)))
    asked = [s for s in sentences(text) if s.endswith("?") and _QUESTION.search(s[-400:])]
    return f"several questions: {asked[1][:80]}" if len(asked) >= 2 else None


# --- what is not in the text ------------------------------------------------------------------

_MARKUP = re.compile(
    r"\[asy\]|\\includegraphics|!\[[^\]\n]{0,200}\]\(|<im(?:age|g)\b|\\begin\{(?:tikzpicture|picture)\}"
)
_DRAWN = r"(?:figures?|diagrams?|pictures?|drawings?|sketch(?:es)?|illustrations?)"
_FIGURE = re.compile(
    rf"\b(?:in|see|from|by|to|with|of|on) (?:the|this|these|each)?\s?(?:\w{{1,12}} )?{_DRAWN}"
    r" (?:below|above|shown|here|to the (?:left|right)|at (?:the )?(?:left|right))\b"
    rf"|\b(?:in|see|refer to|consult|according to) (?:the )?(?:accompanying |adjacent |following "
    rf"|given |first |second |left |right )?(?:figure|diagram|illustration|sketch)s?\b"
    rf"|\bthe (?:accompanying |adjacent |following |given )?{_DRAWN} (?:below |above )?"
    r"(?:shows?|indicates?|illustrates?|represents?|depicts?)\b"
    r"|\b(?:pictured|depicted|illustrated|diagrammed) (?:below|above|here|at (?:the )?right)\b"
    r"|\bgraphs? (?:\S{1,20} ){0,6}(?:is|are) (?:shown|given below)\b"
    r"|\bgraph (?:shown )?(?:below|above)\b"
    r"|\b(?:the|each|every|entire|total) shaded (?:region|area|part|portion|figure|sector)\b",
    re.IGNORECASE,
)
_SHOWN = re.compile(
    r"\bas shown\b(?! in (?:the |this )?(?:table|equation|example|formula|list))"
    r"|\b(?:is|are|be|one|square|grid|sample|polygon|figure|triangle|rectangle|solid)"
    r" shown(?: (?:below|above|here|to the right|at (?:the )?right))?(?=[ .,:;])(?! that\b)",
    re.IGNORECASE,
)
_WRITTEN_OUT = re.compile(r"\\\[|\$\$|\\begin\{|\|\s*-{2,}|\d\s+\d\s+\d")


def figure(row: Row) -> str | None:
    """A drawing: in code, linked, or spoken of. A table or formula that follows is none."""
    text = question(row)
    found = _MARKUP.search(text) or _FIGURE.search(text)
    if found is None:
        shown = (m for m in _SHOWN.finditer(text) if not _written_out(text, m.end()))
        found = next(shown, None)
    return f"figure: {excerpt(text, *found.span())}" if found else None


def _written_out(text: str, end: int) -> bool:
    """Whether what is shown stands in the text behind: an array, a formula, a table."""
    return bool(_WRITTEN_OUT.search(text[end : end + 200]))


_WORD = re.compile(r"[^\W\d_]{2,30}")
_ENGLISH = frozenset(
    "the of is and to if what find for how that with are be by such has have from number which "
    "when each this it were can let compute given value there at as many than will his her their "
    "solve evaluate simplify calculate determine return returns "
    "write check two three same only not".split()
)
"""Words that English problems use and its neighbours do not."""
_ENOUGH_WORDS, _ENGLISH_SHARE, _FOREIGN_SHARE = 10, 0.1, 0.2


def non_english(row: Row) -> str | None:
    """A fifth of the letters in another script; or ten words and more in another language."""
    prose = without_formulas(question(row))
    if foreign_share(prose) >= _FOREIGN_SHARE:
        return "not English: another script"
    words = [word.lower() for word in _WORD.findall(prose)]
    if len(words) < _ENOUGH_WORDS:
        return None
    if sum(word in _ENGLISH for word in words) >= _ENGLISH_SHARE * len(words):
        return None
    language = detect(" ".join(words))
    return None if language in (None, "en") else f"not English: {language}"


# --- too short, too long ----------------------------------------------------------------------

_TASK_NOTE = re.compile(r"\\boxed|step[ -]by[ -]step|final answer", re.IGNORECASE)


def too_short(value: str, given: Given) -> Check:
    """Fewer characters than `value`, the note on boxes and steps aside."""
    least = whole(value, "too_short")

    def check(row: Row) -> str | None:
        own = [part for part in sentences(question(row)) if not _TASK_NOTE.search(part)]
        length = len(" ".join(own))
        return f"short prompt: {length} characters" if length < least else None

    return check


def long_answer(value: str, given: Given) -> Check:
    """A reference of more characters than `value`, blanks aside."""
    most = whole(value, "long_answer")

    def check(row: Row) -> str | None:
        length = len("".join(reference(row).split()))
        return f"long answer: {length} characters" if length > most else None

    return check


_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox|operatorname|quad|qquad)\b")
_COMPLEX = re.compile(
    r"\\begin\{(?:cases|align|array|tabular|aligned|gathered)"
    r"|\\(?:iint|int|sum|prod|lim|forall|exists)(?![a-z])|\\mathbb\s*\{?[ZNQRC]"
)
_PROSE_WORDS = 4


def complex_answer(row: Row) -> str | None:
    """A reference that is prose, cases, an unevaluated sum, or a family with a free parameter."""
    text = reference(row)[:2000]
    found = _COMPLEX.search(text)
    if found:
        return f"complex answer: {found[0]}"
    words = [w for w in _WORD.findall(_COMMAND.sub(" ", _TEXT.sub(" ", text))) if len(w) > 2]
    return f"complex answer: {len(words)} words" if len(words) >= _PROSE_WORDS else None


_COMMAND = re.compile(r"\\[A-Za-z]{1,30}")


def reference(row: Row) -> str:
    """The reference answer of a math problem; empty for another row."""
    if isinstance(row, Problem) and isinstance(row.reference, Answer):
        return row.reference.text
    return ""


def whole(value: str, rule: str) -> int:
    """The whole number a rule was given."""
    if not value.isdecimal():
        raise ConfigError(f"{rule}={value!r}; expected a whole number, as in {rule}=100")
    return int(value)
