"""LiveCodeBench's private tests: JSON, pickled, compressed, in base64; read without trust.

Unpickling executes what the pickle says and allocates what it asks for. So the opcodes are
listed first, and only those that build text, numbers, lists and dicts are let through; a name
is never looked up. Both the compressed and the opened text are bounded.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import pickletools
import zlib
from collections.abc import Sequence
from typing import Any, NoReturn

from cascade_rl.data.fields import parse_json, shown
from cascade_rl.errors import DataError

MAX_BYTES = 256 << 20
"""Of the opened tests of one problem."""
MAX_VALUES = 1_000_000

PLAIN_OPCODES = frozenset(
    (
        "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 FLOAT BINFLOAT "
        "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
        "EMPTY_LIST LIST APPEND APPENDS "
        "EMPTY_DICT DICT SETITEM SETITEMS MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET"
    ).split()
)
"""What JSON has. No integer of more than 32 bits: as keys they can be made to share a hash."""


def unpacked(text: str, limit: int = MAX_BYTES) -> Sequence[Any]:
    """The tests in a base64 text of zlib of pickle of JSON. Raises DataError."""
    try:
        packed = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"packed tests are not base64: {error}") from None
    opener = zlib.decompressobj()
    try:
        data = opener.decompress(packed, limit)
    except zlib.error as error:
        raise DataError(f"packed tests are not zlib data: {error}") from None
    if opener.unconsumed_tail:
        raise DataError(f"packed tests open to more than {limit} bytes")
    found = plain_pickle(data)
    found = parse_json(found, "packed tests") if isinstance(found, str) else found
    if not isinstance(found, list):
        raise DataError(f"packed tests are {shown(found)}; expected a list")
    return found


def plain_pickle(data: bytes) -> Any:
    """The plain value a pickle holds. Raises DataError for one that holds anything else."""
    _refuse_all_but_plain(data)
    try:
        found = _PlainUnpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError) as error:
        raise DataError(f"packed tests are no pickle: {error}") from None
    _refuse_many(found)
    return found


def _refuse_all_but_plain(data: bytes) -> None:
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(data):
            count += 1
            if opcode.name not in PLAIN_OPCODES:
                raise DataError(
                    f"packed tests use the pickle opcode {opcode.name}; plain data only"
                )
            if "PUT" in opcode.name and int(argument or 0) > 2 * MAX_VALUES:
                raise DataError(f"packed tests use the memo entry {argument}")  # it is allocated
            if count > 4 * MAX_VALUES:
                raise DataError(f"packed tests hold more than {MAX_VALUES} values")
    except (ValueError, IndexError) as error:
        raise DataError(f"packed tests are no pickle: {error}") from None


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _refuse_many(value: Any) -> None:
    """References shared many times over would make a small pickle an endless value."""
    left = MAX_VALUES
    waiting = [value]
    while waiting:
        left -= 1
        if left < 0:
            raise DataError(f"packed tests hold more than {MAX_VALUES} values")
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
