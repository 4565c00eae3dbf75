"""What the confined process does: run the candidate and write down what came of it.

Everything here shares a process with the candidate, so nothing here is trusted and nothing
here is secret: it knows the program and its inputs, never what is expected. The report goes to
descriptor 3, a line an input: `V` and a value, `E` and an error, `M` for memory.
"""

from __future__ import annotations

import _thread
import ast
import atexit
import builtins
import importlib
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cascade_rl.sandbox.values import NotPlain, decode, encode

_REPORT_FD = 3
Request = dict[str, Any]


def _report(kind: str, text: str = "") -> None:
    line = kind + text.replace("\n", " ").replace("\r", " ") + "\n"
    data = line.encode("ascii", "backslashreplace")
    while data:
        data = data[os.write(_REPORT_FD, data) :]


def _guarded(body: Callable[[], None]) -> None:
    """Run `body`, report what it raised, and end the process without the zygote's clean-up."""
    code = 1
    try:
        body()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except MemoryError:
        _report("M")
    except BaseException as error:  # the candidate's own, whatever it is
        _report("E", _describe(error))
    os._exit(code & 0xFF)


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, RecursionError):
        return name
    try:
        return f"{name}: {error}"[:400]
    except BaseException:  # a candidate's __str__ may do anything
        return name


def run_candidate(request: Request) -> None:
    """Kind `stdio`: run as a script. Kind `call`: call the entry point, report its values."""
    if request["kind"] == "stdio":
        run_script(prepare_script(request["source"]))
    _guarded(lambda: _run_calls(request))


COMMON = frozenset(
    "array bisect cmath calendar collections contextlib copy dataclasses datetime decimal enum "
    "fractions functools heapq io itertools json math numbers operator queue random re statistics "
    "string textwrap threading time traceback types typing".split()
)
"""Modules that a script's template may import for it: of the library, and without effect."""
_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+([\w, \t]+)", re.MULTILINE)


def import_common(source: str) -> None:
    """Import what a source names of the common modules, once for the processes of all inputs."""
    for match in _IMPORT.finditer(source[:20_000]):
        for word in match[1].replace(",", " ").split():
            if word in COMMON:
                importlib.import_module(word)


class Script(NamedTuple):
    """A script ready to run; `code` is None where compiling failed and is to fail again."""

    source: str
    module: types.ModuleType
    code: types.CodeType | None


def prepare_script(source: str) -> Script:
    """Everything before the candidate's first instruction; runs nothing of its."""
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    module = _module("__main__")
    try:
        return Script(source, module, _compiled(source))
    except BaseException:  # said again, and reported, by the process that runs it
        return Script(source, module, None)


_TYPICAL = """
import sys
from collections import Counter, defaultdict, deque

class Node:
    def __init__(self, value):
        self.value = value

def solve(values, limit):
    counts, groups, queue, seen = Counter(values), defaultdict(list), deque(values), set(values)
    for i, value in enumerate(sorted(counts)):
        groups[value % 2].append(Node(value))
    while queue:
        queue.popleft()
    return sum(counts.values()) + max(seen) + len([*zip(values, values)]) + limit // 2

def main():
    data = sys.stdin.read().split()
    line = sys.stdin.readline().strip()
    values = [int(word) for word in "3 1 2 3".split()] + list(map(int, data))
    print(solve(values, len(line)), *values)
    print(f"{1.5:.2f}", "%d" % 3, " ".join(map(str, values)), sep="", end="")
    try:
        {}["a"]
    except KeyError:
        pass

main()
"""


def warm_up() -> None:
    """Run a typical script a few times, in the process that others are forked from.

    The interpreter's caches and specialised code are then filled before the fork, where each
    process would write them for itself, a page at a time.
    """
    saved = sys.stdin, sys.stdout, sys.argv[:], sys.path[:], sys.modules["__main__"]
    for _ in range(20):
        _run_script(prepare_script(_TYPICAL))
        decode(encode(([3, -1], "a", {"b": 1.5}, (True, None))))
        sys.stdin, sys.stdout, sys.argv[:], sys.path[:], sys.modules["__main__"] = saved


def run_script(script: Script) -> None:
    """Run it as `__main__` and end the process."""
    _guarded(lambda: _run_script(script))


def _run_script(script: Script) -> None:
    try:
        exec(script.code or _compiled(script.source), script.module.__dict__)
    finally:
        if _thread._count():
            _join_threads()
        if atexit._ncallbacks():
            atexit._run_exitfuncs()
        sys.stdout.flush()


def _join_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _compiled(source: str) -> types.CodeType:
    return compile(source, "program.py", "exec")


def _module(name: str) -> types.ModuleType:
    """A fresh module, importable by its name, with the scratch directory on the path."""
    sys.argv[:] = ["program.py"]
    sys.path.insert(0, os.getcwd())
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module


def _executed(source: str) -> types.ModuleType:
    module = _module("candidate")
    exec(_compiled(source), module.__dict__)
    return module


def _run_calls(request: Request) -> None:
    module = _executed(request["source"])
    for encoded_args in request["inputs"]:
        function, args = _entry_point(module, request["entry_point"]), decode(encoded_args)
        value = function(**args) if type(args) is dict else function(*args)
        try:
            text = encode(value)
        except NotPlain as error:
            _report("E", f"returned no plain value: {error}")
            return
        _report("V", text)


def _entry_point(module: types.ModuleType, name: str) -> Any:
    """A function of that name, or the method of LeetCode's `Solution` class."""
    if not hasattr(module, name) and hasattr(module, "Solution"):
        return getattr(module.Solution(), name)
    if not hasattr(module, name):
        raise NameError(f"the program defines no {name!r}")
    return getattr(module, name)


# --- kind `assert`: the test code on one side of a pipe, the candidate on the other -------------


def serve_calls(request: Request) -> None:
    """The candidate's side: evaluate calls by name until the tester hangs up."""
    _guarded(lambda: _serve_calls(request))


def _serve_calls(request: Request) -> None:
    # Descriptor 0 is the pipe; moved away so that input() meets the end of a file.
    pipe = os.fdopen(os.dup(0), "rb+", buffering=0)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    kept: list[Any] = []  # objects that cannot cross; the tester holds their numbers
    try:
        module = _executed(request["source"])
        _send(pipe, "V", "")
    except MemoryError:
        _send(pipe, "M", "")
        return
    except BaseException as error:
        _send(pipe, "E", _describe(error))
        return
    while (message := _receive(pipe)) is not None:
        _answer(pipe, module, message, kept)


def _answer(pipe: Any, module: types.ModuleType, message: str, kept: list[Any]) -> None:
    try:
        where, name, arguments, keywords = decode(message)
        owner = importlib.import_module(where) if where else module
        args = [kept[item] if handle else item for handle, item in arguments]
        target = _entry_point(owner, name)
        value = target(*args, **keywords) if callable(target) else target
        try:
            _send(pipe, "V", encode(value))
        except NotPlain:
            kept.append(value)
            _send(pipe, "H", str(len(kept) - 1))
    except MemoryError:
        _send(pipe, "M", "")
    except BaseException as error:
        _send(pipe, "E", _describe(error))


def _send(pipe: Any, kind: str, text: str) -> None:
    data = (kind + text).encode("ascii", "backslashreplace")
    data = len(data).to_bytes(8, "big") + data
    while data:
        data = data[pipe.write(data) :]


def _receive(pipe: Any) -> str | None:
    header = _read(pipe, 8)
    if len(header) < 8:
        return None
    size = int.from_bytes(header, "big")
    if size > 1 << 26:
        return None
    return _read(pipe, size).decode("ascii", "replace")


def _read(pipe: Any, count: int) -> bytes:
    parts = b""
    while len(parts) < count and (part := pipe.read(count - len(parts))):
        parts += part
    return parts


class _Handle:
    """Stands for an object that stays with the candidate; equal to nothing but itself.

    Its truth, its length and its items are asked for over the pipe, and cross as plain values.
    """

    def __init__(self, pipe: Any, number: int) -> None:
        self._pipe, self.number = pipe, number

    def _ask(self, function: str) -> Any:
        return _Remote(self._pipe, "builtins", function)(self)

    def __bool__(self) -> bool:
        return self._ask("bool") is True

    def __len__(self) -> int:
        return int(self._ask("len"))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ask("list"))


class _Remote:
    """A name of the candidate's, as the test code sees it."""

    def __init__(self, pipe: Any, where: str, name: str) -> None:
        self._call = (pipe, where, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        pipe, where, name = self._call
        arguments = [(type(a) is _Handle, a.number if type(a) is _Handle else a) for a in args]
        _send(pipe, "", encode((where, name, arguments, kwargs)))
        return _reply(pipe)


def _reply(pipe: Any) -> Any:
    message = _receive(pipe)
    if message is None:
        raise RuntimeError("the candidate ended early")
    kind, text = message[:1], message[1:]
    if kind == "V":
        return decode(text) if text else None
    if kind == "H":
        return _Handle(pipe, int(text))
    if kind == "M":
        raise MemoryError
    found = getattr(builtins, text.partition(":")[0], None)
    # What ends an iteration quietly would end the tests' own loops.
    quiet = (StopIteration, StopAsyncIteration)
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, quiet):
        raise found(text)
    raise RuntimeError(text)


def run_tester(request: Request) -> None:
    """The tests' side: run each block; passing is the `V` only this process can write."""
    _guarded(lambda: _run_tester(request))


def _run_tester(request: Request) -> None:
    pipe = os.fdopen(os.dup(0), "rb+", buffering=0)
    _reply(pipe)  # raises what the candidate's module raised
    for name in request["importable"]:
        _stand_in(pipe, name.removesuffix(".py").split("/"))
    for block in request["inputs"]:
        _run_block(pipe, request["setup"] + "\n" + block, request["entry_point"])
        _report("V", encode(None))


def _run_block(pipe: Any, code: str, entry_point: str | None) -> None:
    namespace: dict[str, Any] = {"__name__": "tests"}
    for name in _free_names(code):
        namespace[name] = _library(name) or _Remote(pipe, "", name)
    if entry_point:
        # By its own name too, which may be that of a builtin function.
        namespace[entry_point] = namespace["candidate"] = _Remote(pipe, "", entry_point)
    exec(compile(code, "tests.py", "exec"), namespace)
    if "check" in namespace and entry_point:
        namespace["check"](namespace["candidate"])


def _stand_in(pipe: Any, parts: list[str]) -> None:
    """Importable modules, parents included, whose names are the candidate's."""
    if parts[0] in sys.stdlib_module_names:
        return  # the tests' own library stays theirs
    parent: types.ModuleType | None = None
    for count in range(1, len(parts) + 1):
        dotted = ".".join(parts[:count])
        if dotted not in sys.modules:
            module = types.ModuleType(dotted)
            module.__path__ = []
            module.__getattr__ = _remote_names(pipe, dotted)  # type: ignore[method-assign]
            sys.modules[dotted] = module
        if parent is not None:
            setattr(parent, parts[count - 1], sys.modules[dotted])
        parent = sys.modules[dotted]


def _remote_names(pipe: Any, where: str) -> Callable[[str], Any]:
    def lookup(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Remote(pipe, where, name)

    return lookup


def _library(name: str) -> types.ModuleType | None:
    return sys.modules.get(name) if name in sys.stdlib_module_names else None


def _free_names(code: str) -> set[str]:
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    return {name for name in used if not hasattr(builtins, name)}
