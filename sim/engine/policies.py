"""Users' policies (`autoscaler.law`, `cluster.law`): Python of theirs that is loaded and asked for whole numbers of
replicas, or of nodes.

Whatever such code does instead is bad input, in one line with the policy, its file and line, and the simulated time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import reprlib
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from sim.errors import InputError, nearest, problem

KEY = "autoscaler.law"
PLACING_KEY = "cluster.law"
TARGET_MAX = 2**31 - 1  # beyond any fleet; a pool's own max_replicas is far below
TEXT_MAX = 200  # characters of what a user's exception says
PRINTED = (bool, int, float, complex, str, bytes, list, tuple, dict, set, np.ndarray, np.generic)
EXITS = threading.Lock()
_guards = 0  # blocks in which os._exit is an exception, in all threads
EXIT = "_exit"  # of the module os: it ends a process at once
_real_exit = getattr(os, EXIT)


class Law:
    """A user's function: `text` is `file.py:function`, `place` the file and line where it stands."""

    def __init__(
        self, text: str, function: Callable[..., Any], file: str | None = None, key: str = KEY
    ) -> None:
        self.text, self.function, self.file, self.key = text, function, file, key
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", None)
        self.place = f"{file}:{line}" if file and line else file or "where it is defined"

    def __call__(self, seen: Any) -> Any:
        """What the function says of what is seen."""
        return self.function(seen)


def targets(law: Callable[..., Any], seen: Any, n: int) -> np.ndarray:
    """(pool,) int64: the policy's answer to what is seen at `seen.time_s`; raises InputError where it gives none."""
    told = law if isinstance(law, Law) else Law(getattr(law, "__qualname__", repr(law)), law)
    with told_by(told, f" at {seen.time_s:g} s"):
        said = answered(told, seen)
        whole = whole_numbers(said)
    if whole is None or len(whole) not in (1, n) or (len(whole) == 1 < n and not is_one(said)):
        raise InputError(refusal(told, said, seen.time_s, n))
    return np.broadcast_to(np.array(whole, dtype=np.int64), (n,))


def answered(told: Law, seen: Any) -> Any:
    """What a function says of what it sees."""
    said = told(seen)
    if inspect.iscoroutine(said):
        said.close()  # else Python warns that nobody awaited it
    return said


def nodes_in_order(law: Law, seen: Any) -> list[int]:
    """The nodes that a placing function wants for a replica, best first; raises InputError where it says anything else."""
    with told_by(law, f" at {seen.time_s:g} s"):
        said = answered(law, seen)
        whole = [] if said is None else whole_numbers(said)
    able = [node.node for node in seen.nodes]
    if whole is None or len(set(whole)) < len(whole) or not set(whole) <= set(able):
        allowed = f"numbers of nodes of seen.nodes ({few(able)}), best first and each once, one such number, or None"
        raise InputError(
            f"{law.key}: {law.text} ({law.place}) returned {shown(said)} at {seen.time_s:g} s; allowed: {allowed}"
        )
    return whole


def few(numbers: list[int]) -> str:
    """The first of them."""
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")


def is_one(said: Any) -> bool:
    """Whether an answer is one number for all pools rather than a list of one."""
    return isinstance(said, int | np.integer) or (isinstance(said, np.ndarray) and said.ndim == 0)


def whole_numbers(said: Any) -> list[int] | None:
    """The answer as whole numbers of replicas; None where something in it is anything else."""
    if isinstance(said, np.ndarray) and said.ndim <= 1:
        said = said.tolist() if said.ndim else [said.item()]
    items = list(said) if isinstance(said, list | tuple) else [said]
    is_count = [isinstance(item, int | np.integer) and not isinstance(item, bool) for item in items]
    if not all(is_count) or not all(0 <= item <= TARGET_MAX for item in items):
        return None
    return [int(item) for item in items]


def refusal(law: Law, said: Any, time_s: float, n: int) -> str:
    """The line for an answer that is no whole number of replicas."""
    each = f", or a list of {n}, one for each pool" if n > 1 else ""
    return (
        f"{law.key}: {law.text} ({law.place}) returned {shown(said)} at {time_s:g} s; allowed: a whole number of replicas"
        f" (an int from 0 to {TARGET_MAX}){each}"
    )


def shown(value: Any) -> str:
    """A value in a few words, whatever it is: a number of many digits, or a thing that cannot be printed."""
    if value is not None and not isinstance(value, PRINTED):
        return f"<{type(value).__name__}>"
    try:
        return " ".join(reprlib.repr(value).split())
    except Exception:
        bits = f" of {value.bit_length()} bits" if isinstance(value, int) else ""
        return f"<{type(value).__name__}{bits}>"


# ---- reading the file ----------------------------------------------------------------------
def load_law(text: str, key: str = KEY) -> Law:
    """The function that `file.py:function` names; one without parameters is a factory that returns the policy.

    Raises InputError with the file's line where its code fails.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise InputError(problem(key, text, "an existing file.py:function"))
    module = loaded(path, text, key)
    law = getattr(module, name, None)
    if not callable(law):
        functions = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise InputError(problem(key, text, f"a function of {file}", nearest(name, functions)))
    told = Law(text, law, str(path), key)
    with told_by(told, ""):
        if not parameters(law):
            law = law()
            if not callable(law):
                raise TypeError(
                    f"takes no argument and returned {shown(law)}, where a factory returns the law"
                )
    return Law(text, law, str(path), key)


def parameters(law: Callable[..., Any]) -> bool:
    """Whether a function takes parameters; of some built-in functions that cannot be told."""
    try:
        return bool(inspect.signature(law).parameters)
    except ValueError:
        return True


def loaded(path: Path, text: str, key: str) -> ModuleType:
    """The file as a module of its own, run anew."""
    spec = importlib.util.spec_from_file_location(f"fleetsim_law_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with raised(key, text, str(path), str(path), " while it was read"):
        spec.loader.exec_module(module)
    return module


# ---- whatever it does ----------------------------------------------------------------------
def told_by(law: Law, when: str) -> contextlib.AbstractContextManager[None]:
    """Around a call of a user's function."""
    return raised(law.key, law.text, law.file, law.place, when)


@contextlib.contextmanager
def raised(key: str, law: str, file: str | None, place: str, when: str) -> Iterator[None]:
    """Turns whatever a user's code raises, an exit of the whole process included, into one line of bad input."""
    try:
        with exits_caught():
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        where = failed_at(error, file) or place
        raise InputError(f"{key}: {law} raised {named(error)} in {where}{when}") from None


def named(error: BaseException) -> str:
    """An exception in words: its kind and what it says, on one line."""
    try:
        said = " ".join(str(error).split())
    except Exception:
        said = ""
    cut = said if len(said) <= TEXT_MAX else f"{said[: TEXT_MAX - 1]}…"
    return f"{type(error).__name__}{f': {cut}' if cut else ''}"


def failed_at(error: BaseException, file: str | None) -> str:
    """file:line of the innermost place in the user's own file; an empty string where it was not reached."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    mine = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if file and frame.f_code.co_filename == file
    ]
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame in mine]
    return f"{file}:{lines[-1]}" if lines else ""


@contextlib.contextmanager
def exits_caught() -> Iterator[None]:
    """os._exit raises SystemExit as long as any thread is in such a block: a policy must not end the user's program."""
    global _guards
    with EXITS:
        _guards += 1
        setattr(os, EXIT, _exit_raised)
    try:
        yield
    finally:
        with EXITS:
            _guards -= 1
            if _guards == 0:
                setattr(os, EXIT, _real_exit)


def _exit_raised(status: int) -> NoReturn:
    raise SystemExit(f"os._exit({status!r})")
