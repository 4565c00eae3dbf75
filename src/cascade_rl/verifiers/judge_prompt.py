"""The prompt that asks a judge model whether a patch does what the golden patch does.

The patch is untrusted: it stands between two lines with a nonce that does not occur in it, so
no patch can end its own quotation and speak to the judge. The judge answers
`<judgement>YES</judgement>` or `<judgement>NO</judgement>`; its P(YES) is the likelihood of
the first over the sum of both (Nemotron-Cascade, section 4.7 and Table 20).
"""

from __future__ import annotations

import hashlib

from cascade_rl.types import Message, Patch, Problem

YES = "<judgement>YES</judgement>"
NO = "<judgement>NO</judgement>"

TEMPLATE = """\
Judge: does the patch between the {nonce} lines fix the issue as the golden patch does?
{issue}
{files}
golden:
{golden}
{nonce}
{patch}
{nonce}"""


def judge_messages(problem: Problem, answer: str) -> tuple[Message, ...]:
    """The judge's prompt for an answer (the completion without its thought)."""
    reference = problem.reference
    assert isinstance(reference, Patch)
    files = "\n".join(f"### {path}\n{reference.files[path]}".rstrip() for path in reference.shown)
    golden = "\n".join(line for line in reference.patch.splitlines() if line[:3] not in _HEADERS)
    text = TEMPLATE.format(
        nonce=nonce_for(problem.id, answer),
        issue=reference.issue,
        files=files,
        golden=golden,
        patch=answer.strip("\n"),
    )
    return (Message("user", text),)


_HEADERS = ("---", "@@ ")


def nonce_for(problem_id: str, answer: str) -> str:
    """Six digits, reproducible, that the answer does not contain."""
    for attempt in range(len(answer) + 1):
        number = int(hashlib.sha256(f"{problem_id}:{attempt}:{answer}".encode()).hexdigest(), 16)
        nonce = f"{number % 10**6:06d}"
        if nonce not in answer:
            return nonce
    raise AssertionError("a text of n characters cannot contain n + 1 different nonces")
