"""Code problems that tests of fixed outputs cannot judge, known by what their text says.

One rule: precision first. A phrase counts where it speaks of what to print or return; "there may
be multiple test cases" and "if there are several, print the smallest" are ordinary problems.
"""

from __future__ import annotations

import re

SPECIAL_JUDGE, INTERACTIVE, IMAGE = "special judge", "interactive", "needs an image"

_OUTPUT = r"(?:print|output|return|find|give|report|display|write|construct)"
_THING = (
    r"(?:answers?|solutions?|outputs?|results?|sequences?|arrays?|permutations?|strings?|"
    r"(?:sub)?sets?|pairs?|paths?|orders?|orderings?|ways?|trees?|graphs?|lists?|plans?|"
    r"constructions?|arrangements?|matrices|matrix|numbers?|integers?|configurations?|"
    r"assignments?|colou?rings?|partitions?|schedules?|tours?|routes?|triples?|tuples?|values?)"
)
_ADJECTIVE = r"(?:(?:possible|correct|valid|suitable|optimal|acceptable|good|such)\s+)"
_MANY = r"(?:multiple|several|many|more\s+than\s+one|different|more\s+than\s+1)"

_SPECIAL = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_OUTPUT}\s+any(?:\s+one)?(?:\s+of)?(?:\s+(?:them|these|those|the))?"
        rf"(?:\s*[.,;:)!]|\s*$|\s+{_ADJECTIVE}*{_THING}\b(?!\s+(?:from|that\s+is\s+not)))",
        rf"\bany\s+(?:one\s+)?(?:of\s+(?:them|these|those|the)\s+)?{_ADJECTIVE}*"
        rf"(?:{_THING}\s+|of\s+(?:them|these|those)\s+)?(?:is|are|will\s+be|would\s+be|may\s+be|can\s+be)\s+"
        r"(?:accepted|acceptable|allowed|fine|ok(?:ay)?|considered\s+correct|counted\s+as\s+correct|"
        r"printed|output|returned)",
        rf"\b{_MANY}\s+{_ADJECTIVE}*{_THING}\s+(?:(?:are|is|will\s+be|may\s+be)\s+)?"
        r"(?:accepted|acceptable|allowed)\b",
        rf"\b(?:accepts?|accepting|accepted)\s+any\s+{_ADJECTIVE}*{_THING}\b",
        rf"\b(?:you\s+(?:can|may)|feel\s+free\s+to)\s+{_OUTPUT}\s+"
        rf"(?:any|(?:the\s+)?{_THING}\s+in\s+(?:any|arbitrary)\s+order)\b",
        rf"\b(?:in|under)\s+any\s+order\b(?=[^.]*\b(?:{_OUTPUT}|accepted|allowed)\b)",
        rf"\b{_OUTPUT}\b[^.\n]{{0,80}}\bin\s+(?:any|arbitrary)\s+order\b",
        rf"\b{_OUTPUT}\b[^.\n]{{0,40}}\ban\s+arbitrary\s+(?:one|{_THING})\b",
        r"\b(?:special|custom)[\s-]+(?:judge|checker)\b",
        r"\bchecker\s+(?:program\s+)?(?:will|accepts|verifies)\b",
        rf"\bnot\s+(?:necessarily\s+)?unique\b[^.\n]{{0,60}}\.\s*{_OUTPUT}\s+any\b",
    )
)
_ORDER_IS_FIXED = re.compile(
    r"\b(?:given|entered|listed|arrive|appear|provided|selected|chosen|used|come|supplied|"
    r"performed|taken|applied|rearranged?|reorder(?:ed)?|permuted?)\s+(?:\w+\s+){0,4}in\s+(?:any|arbitrary)\s+order\b",
    re.IGNORECASE,
)
_INTERACTIVE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bth(?:is|e)\s+(?:is\s+an?\s+|problem\s+is\s+|task\s+is\s+)(?:an?\s+)?interactive\b",
        r"\binteractive\s+(?:problem|task|protocol|judge|mode|grader)\b",
        r"\b(?:interactor|jury'?s?\s+program\s+will\s+(?:respond|answer|reply))\b",
        r"\bflush(?:ing|ed)?\b[^.\n]{0,60}\b(?:output|stdout|buffer|stream|after|query|queries)\b",
        r"\b(?:fflush\s*\(|cout\.flush|sys\.stdout\.flush|System\.out\.flush)",
        r"\b(?:forget|remember|need|must|have)\s+to\s+flush\b",
    )
)
_IMAGES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"!\[[^\]]*\]\([^)]*\)",
        r"<img\b",
        r"\\includegraphics\b",
        r"\[image\]",
        r"\b(?:as|see|refer\s+to|look\s+at)\s+(?:is\s+)?(?:shown\s+|seen\s+|depicted\s+|"
        r"illustrated\s+)?(?:in\s+|on\s+|at\s+)?the\s+(?:\w+\s+)?"
        r"(?:image|picture|figure|diagram|photo|illustration)\b",
        r"\b(?:image|picture|figure|diagram|illustration)s?\s+(?:below|above|shows|depicts|"
        r"illustrates)\b",
        r"\bthe\s+(?:following|below)\s+(?:image|picture|figure|diagram|illustration)\b",
    )
)


def unfit_text(text: str) -> tuple[str, str]:
    """(reason, the words that say so), both empty where fixed outputs can judge the problem."""
    for reason, patterns in ((INTERACTIVE, _INTERACTIVE), (IMAGE, _IMAGES)):
        for pattern in patterns:
            if found := pattern.search(text):
                return reason, _shown(found)
    free = _ORDER_IS_FIXED.sub(" ", text)
    for pattern in _SPECIAL:
        if found := pattern.search(free):
            return SPECIAL_JUDGE, _shown(found)
    return "", ""


def _shown(found: re.Match[str]) -> str:
    return " ".join(found[0].split())[:120]
