"""The one chat template: ChatML with `/think` and `/no_think` on user turns (2512.13607, 3.1.2).

One surprise: contents are encoded with special tokens disabled, so the text `<|im_end|>` in a
user message becomes ordinary pieces and no text can forge a turn. The other: an assistant turn
is encoded apart from its header, exactly as generation continues it, so `JINJA_TEMPLATE` gives
the same ids only on clean text: no special tokens in it, no leading blanks in an answer.

The exact form of a turn, short because small models pay for every token:

    <|im_start|>user
    What is 2+3? /think<|im_end|>
    <|im_start|>assistant
    <think>2+3 is 5</think>5<|im_end|>

Without thinking there is no think block, not even an empty one.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from cascade_rl.errors import ConfigError, DataError
from cascade_rl.types import Domain, Message, Mode, Problem, ToolCall

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
ANSWERED_AFTER_THOUGHT: frozenset[Domain] = frozenset(("math", "code", "swe", "tool_calls"))
"""Domains where a thinking completion without `</think>` has no answer."""
CALL_OPEN = "<tool_call>"
CALL_CLOSE = "</tool_call>"
DEFAULT_SYSTEM = "You are a helpful and harmless assistant."
GENERATION_HEADER = "assistant\n"

TOOLS_HEADER = "# Tools\n<tools>\n"
TOOLS_FOOTER = (
    "\n</tools>\nTo call a tool, answer:\n"
    f'{CALL_OPEN}\n{{"name": name, "arguments": object}}\n{CALL_CLOSE}'
)


class ChatTokenizer(Protocol):
    """What `render` needs of a tokenizer; `HFTokenizer` adapts a transformers one."""

    def encode_plain(self, text: str) -> list[int]:
        """Ids of `text` in which special tokens are ordinary text."""
        ...

    def token_id(self, token: str) -> int | None:
        """The id of one token of the vocabulary, None where it is not there."""
        ...


class HFTokenizer:
    """A `ChatTokenizer` over a transformers fast tokenizer.

    It copies the Rust tokenizer and disables special tokens in the copy for good: transformers'
    own `split_special_tokens=True` flips a switch of the shared object on every call.
    Raises ConfigError where the tokenizer cannot hold ChatML safely.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(
                f"{type(tokenizer).__name__} is not a fast tokenizer; expected a tokenizer.json",
                hint="convert it:  AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIR)",
            )
        self._source = tokenizer
        self._plain = copy.deepcopy(backend)
        self._plain.encode_special_tokens = True
        self._plain.no_truncation()
        self._plain.no_padding()
        for token in (IM_START, IM_END):
            found = self.token_id(token)
            if found is None or found in self.encode_plain(token):
                raise ConfigError(
                    f"the tokenizer has no special token {token}, which the chat template needs",
                    hint="add it:  tokenizer.add_special_tokens({'additional_special_tokens': "
                    "['<|im_start|>', '<|im_end|>']})  and resize the model's embeddings",
                )

    def __reduce__(self) -> tuple[type[HFTokenizer], tuple[Any]]:
        return HFTokenizer, (self._source,)  # the Rust tokenizer forgets the switch when pickled

    def encode_plain(self, text: str) -> list[int]:
        """Ids of `text` in which special tokens are ordinary text."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def token_id(self, token: str) -> int | None:
        """The id of one token of the vocabulary, None where it is not there."""
        found: int | None = self._plain.token_to_id(token)
        return found


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids [T] and, as long, where the loss falls: assistant tokens and their `<|im_end|>`."""

    ids: list[int]
    loss_mask: list[bool]


def render(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    add_generation_prompt: bool = False,
    mode: Mode | None = None,
    keep_thoughts: bool = True,
    system: str | None = DEFAULT_SYSTEM,
) -> Rendered:
    """Encode a conversation.

    `mode` is for every user turn that has none of its own. `keep_thoughts=False` drops the
    thoughts before the last user turn, as inference does; SFT keeps them all. `system` is used
    when the messages do not begin with a system turn; None leaves that turn out. `tools` are
    signatures `{"type": "function", "function": {...}}`, listed in the system turn.
    """
    start, end = _control_id(tokenizer, IM_START), _control_id(tokenizer, IM_END)
    newline = tokenizer.encode_plain("\n")
    ids: list[int] = []
    mask: list[bool] = []
    for header, body in _turns(messages, tools, mode, keep_thoughts, system):
        if header == GENERATION_HEADER:
            prefix, content = [start, *tokenizer.encode_plain(header)], tokenizer.encode_plain(body)
        else:
            prefix, content = [start, *tokenizer.encode_plain(header + body), end], []
        trained = [*content, end] if header == GENERATION_HEADER else []
        ids += prefix + trained + newline
        mask += [False] * len(prefix) + [True] * len(trained) + [False] * len(newline)
    if add_generation_prompt:
        prefix = [start, *tokenizer.encode_plain(GENERATION_HEADER)]
        ids += prefix
        mask += [False] * len(prefix)
    return Rendered(ids, mask)


def stop_ids(tokenizer: ChatTokenizer) -> tuple[int, ...]:
    """The ids that end a completion: `<|im_end|>`, and `<|endoftext|>` where there is one."""
    found = [_control_id(tokenizer, IM_END), tokenizer.token_id(END_OF_TEXT)]
    return tuple(i for i in found if i is not None)


def _control_id(tokenizer: ChatTokenizer, token: str) -> int:
    found = tokenizer.token_id(token)
    assert found is not None, f"{token} is not in the vocabulary"
    return found


def _turns(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]],
    mode: Mode | None,
    keep_thoughts: bool,
    system: str | None,
) -> list[tuple[str, str]]:
    """(header, body) of every ChatML turn; neighbouring tool results share one user turn."""
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    given = messages[0].content if messages and messages[0].role == "system" else system
    turns: list[tuple[str, str]] = []
    if given is not None or tools:
        parts = [part for part in (given, tools_section(tools)) if part]
        turns.append(("system\n", "\n\n".join(parts)))
    rest = list(enumerate(messages))[1 if messages and messages[0].role == "system" else 0 :]
    for is_tool, run in groupby(rest, key=lambda pair: pair[1].role == "tool"):
        if is_tool:
            turns.append(("user\n", "\n".join(_tool_response(m.content) for _, m in run)))
            continue
        for i, m in run:
            if m.role == "assistant":
                turns.append((GENERATION_HEADER, assistant_text(m, keep_thoughts or i > last_user)))
            else:
                flag = m.mode or mode if m.role == "user" else None
                turns.append((f"{m.role}\n", m.content + (f" /{flag}" if flag else "")))
    return turns


def assistant_text(message: Message, keep_thought: bool = True) -> str:
    """The text of an assistant turn as a model would generate it, thought and calls included."""
    content = message.content if keep_thought else answer_part(message.content)
    thought = message.thought if keep_thought else None
    block = "" if thought is None else f"{THINK_OPEN}{thought}{THINK_CLOSE}"
    calls = [
        f"{CALL_OPEN}\n{_json({'name': c.name, 'arguments': dict(c.arguments)})}\n{CALL_CLOSE}"
        for c in message.tool_calls
    ]
    return block + "\n".join(([content] if content else []) + calls)


def tools_section(tools: Sequence[Mapping[str, Any]]) -> str:
    """What the system turn says of tools, signatures in JSON; empty without any."""
    if not tools:
        return ""
    return TOOLS_HEADER + "\n".join(_json(dict(tool)) for tool in tools) + TOOLS_FOOTER


def _tool_response(content: str) -> str:
    return f"<tool_response>\n{content}\n</tool_response>"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- reading completions ----------------------------------------------------------------------


def split_thought(text: str) -> tuple[str | None, str]:
    """(thought, answer) at the last `</think>`; (None, text) where a thought never closes.

    Blanks around both are dropped: models write newlines after the tags as they like.
    """
    before, close, after = text.rpartition(THINK_CLOSE)
    if not close:
        return None, text
    return before.strip().removeprefix(THINK_OPEN).strip(), after.strip()


def answer_part(text: str) -> str:
    """What follows the last `</think>`; the whole text where there is none."""
    return split_thought(text)[1]


def has_open_thought(text: str) -> bool:
    """Whether a thought was opened and none was ever closed: there is no answer to read."""
    return THINK_OPEN in text and THINK_CLOSE not in text


def strip_mode_flag(text: str) -> tuple[str, Mode | None]:
    """(text without its trailing ` /think` or ` /no_think`, the mode it named)."""
    modes: tuple[Mode, ...] = ("think", "no_think")
    for mode in modes:
        if text.endswith(f" /{mode}"):
            return text.removesuffix(f" /{mode}"), mode
    return text, None


def parse_tool_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls of a completion's answer, in order; calls inside the thought do not count.

    Raises DataError where a call is not `<tool_call>`, one JSON object with exactly a string
    `name` and an object `arguments`, `</tool_call>`.
    """
    rest = "" if has_open_thought(text) else answer_part(text)
    calls: list[ToolCall] = []
    while CALL_OPEN in rest:
        before, _, rest = rest.partition(CALL_OPEN)
        if CALL_CLOSE in before:
            break
        call, rest = _parse_call(rest.lstrip())
        calls.append(call)
    if CALL_CLOSE in rest:
        raise DataError(f"found {CALL_CLOSE} where no call is open")
    return tuple(calls)


def _parse_call(text: str) -> tuple[ToolCall, str]:
    """One call at the start of `text`, and what follows its closing tag."""
    try:
        # raw_decode, not a search for the closing tag: an argument may contain that tag
        value, stop = _DECODER.raw_decode(text)
    except ValueError as error:
        raise DataError(f"the tool call {text[:60]!r} is not JSON: {error}") from None
    rest = text[stop:].lstrip()
    if not rest.startswith(CALL_CLOSE):
        raise DataError(f"the tool call {text[:60]!r} does not end with {CALL_CLOSE}")
    match value:
        case {"name": str(name), "arguments": dict(arguments)} if len(value) == 2:
            return ToolCall(name, arguments), rest.removeprefix(CALL_CLOSE)
    raise DataError(
        f"the tool call {text[:60]!r} is not an object with a string name and object arguments"
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# --- text that a server cannot take for template tokens ----------------------------------------

_TEMPLATE = re.compile(
    r"<(?=[|｜])|<(?=/?(?:s|bos|eos|pad|unk|think|start_of_turn|end_of_turn)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])|<(?=</?SYS>>)",
    re.IGNORECASE,
)


def harmless(text: str) -> str:
    """The text with a blank after what begins a template token, and without lone surrogates."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return _TEMPLATE.sub(lambda found: found[0] + " ", valid)


# --- the same template for transformers, vLLM and everyone else -------------------------------


def to_dict(message: Message) -> dict[str, Any]:
    """The message as the dict that `apply_chat_template` and our rows hold; absent means None."""
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    optional = {"thought": message.thought, "mode": message.mode, "name": message.name}
    found |= {key: value for key, value in optional.items() if value is not None}
    if message.tool_calls:
        calls = [{"name": c.name, "arguments": dict(c.arguments)} for c in message.tool_calls]
        found["tool_calls"] = calls
    return found


def jinja_template(system: str | None = DEFAULT_SYSTEM) -> str:
    """The template to save with a tokenizer; `system` is its default system turn.

    `apply_chat_template` takes `mode`, `system` and `keep_thoughts` as this module does, but a
    template serves inference: it drops earlier thoughts unless told `keep_thoughts=True`.
    """
    default = "none" if system is None else _json_text(system)
    return (
        _JINJA.replace("$SYSTEM", default)
        .replace("$HEADER", _json_text(TOOLS_HEADER))
        .replace("$FOOTER", _json_text(TOOLS_FOOTER))
    )


def _json_text(text: str) -> str:
    return json.dumps(text)  # a JSON string is a Jinja string literal


_JINJA = """\
{%- if system is not defined %}{% set system = $SYSTEM %}{% endif %}
{%- if keep_thoughts is not defined %}{% set keep_thoughts = false %}{% endif %}
{%- if mode is not defined %}{% set mode = none %}{% endif %}
{%- if messages and messages[0].role == 'system' %}
    {%- set given = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}
    {%- set given = system %}{% set rest = messages %}
{%- endif %}
{%- if given is not none or tools %}
    {{- '<|im_start|>system\\n' + (given or '') }}
    {%- if tools %}
        {{- ('\\n\\n' if given else '') + $HEADER }}
        {%- for tool in tools %}{{- ('' if loop.first else '\\n') + (tool | tojson) }}{% endfor %}
        {{- $FOOTER }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_user=-1) %}
{%- for m in rest %}{% if m.role == 'user' %}{% set ns.last_user = loop.index0 %}{% endif %}\
{% endfor %}
{%- for m in rest %}
    {%- if m.role == 'tool' %}
        {{- '<|im_start|>user' if loop.first or loop.previtem.role != 'tool' else '' }}
        {{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
        {{- '<|im_end|>\\n' if loop.last or loop.nextitem.role != 'tool' else '' }}
    {%- elif m.role == 'assistant' %}
        {%- set keep = keep_thoughts or loop.index0 > ns.last_user %}
        {%- set content = m.content or '' %}
        {%- if not keep and '</think>' in content %}
            {%- set content = content.split('</think>')[-1] | trim %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if keep and m.thought is defined and m.thought is not none %}
            {{- '<think>' + m.thought + '</think>' }}
        {%- endif %}
        {{- content }}
        {%- for item in m.tool_calls or [] %}
            {%- set call = item.function if item.function is defined else item %}
            {{- ('\\n' if content or not loop.first else '') + '<tool_call>\\n' }}
            {{- {'name': call.name, 'arguments': call.arguments} | tojson }}
            {{- '\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {%- set flag = (m.mode or mode) if m.role == 'user' else none %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + (' /' + flag if flag else '') }}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""

JINJA_TEMPLATE = jinja_template()


def fixed_modes(problems: Sequence[Problem]) -> Mapping[str, Mode]:
    """Modes that rows fix: `extra["mode"]`, or the one its last user turn has."""
    found: dict[str, Mode] = {}
    for problem in problems:
        users = [message.mode for message in problem.prompt if message.role == "user"]
        mode = problem.extra.get("mode") or (users[-1] if users else None)
        if mode is not None:
            found[problem.id] = mode
    return found
