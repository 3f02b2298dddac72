"""Random mutants of the rules in sim/model: how many do the tests notice?

    python scripts/mutants.py N [--seed S] [--jobs J]        also: scripts/check --mutants N

Each mutant changes one place of one rule: a comparison moved by its edge, a sum turned into a difference, a condition
negated, a whole number off by one; the four kinds in turn, places at random. In a copy of the checkout, in plain Python,
it then has to pass the proofs below, the quickest first. One that passes them all has survived: either no proof looks
there, or the change cannot be seen in any result, which takes a person to tell.
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODEL = Path("sim/model")
DECLARATIONS = ("hpa_rows.py", "kinds.py", "tables")  # files and folders that declare, and decide nothing
COPIED = ("sim", "tests", "conf", "scenarios", "pyproject.toml")
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow")
PROOFS = {
    "oracle": ("-m", "tests.oracle.compare", "0:24"),
    "oracle of prefix caches": ("-m", "tests.oracle.compare_prefix", "0:24"),
    "conformance": (*PYTEST, "tests/conformance"),
    "oracle, more fleets": ("-m", "tests.oracle.compare", "24:150"),
    "laws": ("-m", "tests.laws.repeat", "0", "11"),
    "oracle, by subject": (
        *PYTEST,
        *(
            f"tests/oracle/test_{subject}.py"
            for subject in ("stalls", "faults", "predict", "starts", "links", "cluster", "naive_blame")
        ),
    ),
    "oracle, routers and prefixes": (*PYTEST, "tests/oracle/test_routers.py", "tests/oracle/test_prefix.py"),
}
TIMES, PLUS_S = 5.0, 20.0  # a proof that takes so much longer than on sound rules runs for ever
NEIGHBOURS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


class Mutant(NamedTuple):
    """One change of one file."""

    kind: str
    path: str  # of the file, in the repository
    rule: str
    line: int
    before: str
    after: str
    text: str  # of the whole file, changed

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule}: {self.before}  ->  {self.after}"


# ---- places --------------------------------------------------------------------------------------------------------
def places(text: str) -> Iterator[tuple[str, str, ast.AST, ast.AST]]:
    """Every change that could be made to a file's rules: its kind, the rule, what is replaced, and by what."""
    for rule in ast.walk(ast.parse(text)):
        if isinstance(rule, ast.FunctionDef):
            for statement in (s for s in rule.body if not isinstance(s, ast.FunctionDef)):
                for node in _own(statement):
                    yield from ((kind, rule.name, node, after) for kind, after in changes(node))


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, but not those of rules inside it, which are walked themselves, nor annotations."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.FunctionDef):
                yield from _own(child)


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What can be done to a node; what takes its place is a new node. Conditions are replaced by their parent's test."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in NEIGHBOURS:
        yield "comparison", ast.Compare(node.left, [NEIGHBOURS[type(node.ops[0])]()], node.comparators)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and not _is_text(node):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "sum", ast.BinOp(node.left, other, node.right)
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "sum", ast.AugAssign(node.target, other, node.value)
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "condition", ast.UnaryOp(ast.Not(), node.test)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield "constant", ast.Constant(node.value + 1)
        yield "constant", ast.Constant(node.value - 1)


def _is_text(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Constant) and isinstance(n.value, str) for n in ast.walk(node))


def replaced(text: str, old: ast.AST, new: ast.AST) -> tuple[str, str, str]:
    """The text with one node replaced, what stood there, and what does now."""
    place = old.test if isinstance(new, ast.UnaryOp) and hasattr(old, "test") else old
    written = ast.unparse(ast.fix_missing_locations(new))
    if isinstance(new, ast.expr):
        written = f"({written})"
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    first = starts[place.lineno - 1] + place.col_offset  # type: ignore[attr-defined]
    last = starts[place.end_lineno - 1] + place.end_col_offset  # type: ignore[attr-defined]
    data = text.encode()
    before = data[first:last].decode()
    return (data[:first] + written.encode() + data[last:]).decode(), before, written


def mutants(root: Path, n: int, seed: int) -> list[Mutant]:
    """n mutants of the rules, the kinds in turn."""
    by_kind: dict[str, list[tuple[Path, str, ast.AST, ast.AST]]] = {}
    for path in sorted((root / MODEL).rglob("*.py")):
        inside = path.relative_to(root / MODEL)
        if not set(inside.parts) & set(DECLARATIONS):
            for kind, rule, old, new in places(path.read_text(encoding="utf-8")):
                by_kind.setdefault(kind, []).append((path, rule, old, new))
    dice = random.Random(seed)
    for found in by_kind.values():
        dice.shuffle(found)
    chosen: list[Mutant] = []
    while len(chosen) < n and any(by_kind.values()):
        for kind in sorted(by_kind):
            if by_kind[kind] and len(chosen) < n:
                chosen.append(_made(root, kind, *by_kind[kind].pop()))
    return chosen


def _made(root: Path, kind: str, path: Path, rule: str, old: ast.AST, new: ast.AST) -> Mutant:
    text, before, after = replaced(path.read_text(encoding="utf-8"), old, new)
    ast.parse(text)
    one_line = " ".join(before.split()), " ".join(after.split())
    return Mutant(kind, path.relative_to(root).as_posix(), rule, old.lineno, *one_line, text)  # type: ignore[attr-defined]


# ---- proofs --------------------------------------------------------------------------------------------------------
class Copy:
    """A copy of the checkout whose rules may be damaged."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self.writes = 0
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / name, folder / name)

    def write(self, path: str, text: str) -> None:
        """Write a file with a time of its own, so that no byte code of another version is taken for it."""
        self.writes += 1
        (self.folder / path).write_text(text, encoding="utf-8")
        stamp = time.time() - 1e6 + 2 * self.writes
        os.utime(self.folder / path, (stamp, stamp))

    def passes(self, proof: str, most_s: float | None) -> bool:
        """Whether a proof finds nothing wrong with the copy within some seconds of the processor."""
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(self.folder)}
        limit = "unlimited" if most_s is None else str(math.ceil(most_s))
        command = ["sh", "-c", 'ulimit -t "$0"; exec "$@"', limit, sys.executable, "-W", "ignore"]
        done = subprocess.run(
            [*command, *PROOFS[proof]], cwd=self.folder, env=environment, capture_output=True, check=False
        )
        return done.returncode == 0

    def killer(self, mutant: Mutant, limits_s: dict[str, float]) -> str | None:
        """The first proof that notices a mutant; None when it survives."""
        sound = (self.folder / mutant.path).read_text(encoding="utf-8")
        self.write(mutant.path, mutant.text)
        try:
            return next((name for name in PROOFS if not self.passes(name, limits_s[name])), None)
        finally:
            self.write(mutant.path, sound)


def limits(copy: Copy) -> dict[str, float]:
    """Seconds of the processor that each proof may take, from what it takes on sound rules; exits where they fail."""
    found = {}
    for name in PROOFS:
        before_s = _children_s()
        if not copy.passes(name, None):
            raise SystemExit(f"mutants: {name} fails without a mutant: python {' '.join(PROOFS[name])}")
        found[name] = TIMES * (_children_s() - before_s) + PLUS_S
    return found


def _children_s() -> float:
    """Seconds of the processor that ended children took; other work on the machine does not lengthen them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Make mutants, try them, tell."""
    parser = argparse.ArgumentParser(prog="scripts/check --mutants", description=__doc__)
    parser.add_argument("n", type=int, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    asked = parser.parse_args()
    chosen = mutants(ROOT, asked.n, asked.seed)
    killers: Counter[str] = Counter()
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as pool:
        free: SimpleQueue[Copy] = SimpleQueue()
        for i in range(asked.jobs):
            (Path(folder) / str(i)).mkdir()
            free.put(Copy(ROOT, Path(folder) / str(i)))
        first = free.get()
        limits_s = limits(first)
        free.put(first)

        def tried(mutant: Mutant) -> str | None:
            copy = free.get()
            try:
                return copy.killer(mutant, limits_s)
            finally:
                free.put(copy)

        for mutant, killer in zip(chosen, pool.map(tried, chosen), strict=True):
            print(
                f"{'SURVIVED' if killer is None else 'killed by ' + killer}: {mutant.kind}: {mutant}",
                flush=True,
            )
            if killer is None:
                survivors.append(mutant)
            else:
                killers[killer] += 1
    n_killed = sum(killers.values())
    print(
        f"{n_killed} of {len(chosen)} mutants killed ({n_killed / max(1, len(chosen)):.1%}): {dict(killers)}"
    )
    for mutant in survivors:
        print(f"survived: {mutant.kind}: {mutant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
