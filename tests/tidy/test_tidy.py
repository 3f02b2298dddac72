"""Rules of this project that a machine can check, read from the source: who imports what, how long, and no leftovers."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPO / "sim").rglob("*.py"))
FUNCTION_LINES_MAX = 80

#: package → the only files that may import it; a dotted name means that submodule
OWNERS = {
    "hydra": ["sim/scenario/hydra_words.py"],
    "omegaconf": ["sim/scenario/hydra_words.py"],
    "yaml": ["sim/scenario/yaml_file.py"],
    "pydantic": ["sim/scenario/*.py"],
    "simpy": ["sim/engine/simpy.py"],
    "numba": ["sim/compile/*.py", "sim/engine/*.py"],
    "numba.cuda": ["sim/compile/cuda.py", "sim/engine/cuda*.py", "sim/engine/ptx.py"],
    "numba_cuda": ["sim/engine/cuda*.py", "sim/engine/ptx.py"],
    "pyarrow": ["sim/records/*.py", "sim/workload/tables.py", "sim/api.py"],
    "altair": ["sim/report/*.py", "sim/report/cluster/*.py"],
    "vl_convert": ["sim/report/*.py"],
    "rich": ["sim/report/*.py"],
}
#: all that the rules of the world may import
MODEL_IMPORTS = {
    *(
        "__future__",
        "math",
        "typing",
        "numpy",
        "sim.compile.jit",
        "sim.model",
        "sim.rng",
        "sim.stages",
        "sim.schema",
        "sim.units",
    ),
}
#: parts of the catalogue whose numbers come from somewhere
SOURCED = (
    "gpu",
    "model",
    "coldstart",
    "autoscaler",
    "price",
    "traffic",
    "station",
    "cluster",
    "mig",
    "site",
    "billing",
)
#: what must not stay behind; the patterns are written so that they do not match themselves
LEFTOVERS = {
    "a path of one machine": r"(?<![\w.}*-])/(?:work|root)/[\w.]",
    "the number of an issue": r"(?i:\b(?:issue|ticket))s? #?\d|(?<![\w&\"'#:=-])#\d{1,5}\b(?![-\w])",
    "a package registry": r"pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|anaconda[.]org|/opt/py[p]i\b",
    "a merge that was not finished": r"(?m)^(?:<{7}|>{7}) ",
}


@cache
def tree(path: Path) -> ast.Module:
    """A file of the source, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, wherever in it; `import_module("x")` counts too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            yield node.lineno, str(node.module)
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) == "import_module":
            yield from ((node.lineno, a.value) for a in node.args if isinstance(a, ast.Constant))  # type: ignore[misc]


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def is_inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("package", OWNERS)
def test_each_package_is_imported_in_its_own_place_only(package: str) -> None:
    importing = {name_of(path) for path in SOURCES for _, name in imports(path) if is_inside(name, package)}
    outside = [
        path for path in sorted(importing) if not any(Path(path).match(place) for place in OWNERS[package])
    ]
    assert not outside, f"{package} is imported outside {', '.join(OWNERS[package])}"


def test_rules_of_the_world_import_nothing_else() -> None:
    found = [
        f"{name_of(path)}:{line} imports {name}"
        for path in SOURCES
        if name_of(path).startswith("sim/model/")
        for line, name in imports(path)
        if not any(is_inside(name, allowed) for allowed in MODEL_IMPORTS)
    ]
    assert not found


def test_only_the_command_line_prints_and_exits() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            line = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "print",
                "exit",
                "quit",
                "input",
            ):
                found.append(line)
            if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "exit", "_exit"):
                owner = getattr(node.value, "id", "")
                found += [line] if owner in ("sys", "os") else []
    assert not [line for line in found if not line.startswith("sim/cli.py:")]


def test_functions_are_short() -> None:
    lengths = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: n for name, n in lengths.items() if n > FUNCTION_LINES_MAX}


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for path in SOURCES:
        if tree(path).body and ast.get_docstring(tree(path)) is None:
            silent.append(name_of(path))
        silent += [
            f"{name_of(path)}:{n.lineno} {n.name}" for n in public(tree(path)) if not ast.get_docstring(n)
        ]
    assert not silent


def public(module: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that another file may use."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@cache
def tracked() -> dict[str, str]:
    """Name → text of every text file that is in git or about to be."""
    words = ["git", "-C", str(REPO), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    texts = {}
    for name in filter(None, listed):
        content = (REPO / name).read_bytes() if (REPO / name).is_file() else b"\0"
        if b"\0" not in content and not name.endswith((".svg", ".html")):  # those hold short colours
            texts[name] = content.decode("utf-8", errors="replace")
    return texts


@pytest.mark.parametrize("what", LEFTOVERS)
def test_no_leftovers(what: str) -> None:
    pattern = re.compile(LEFTOVERS[what])
    found = [
        f"{name}:{text.count(chr(10), 0, hit.start()) + 1} {hit.group()!r}"
        for name, text in tracked().items()
        for hit in pattern.finditer(text)
    ]
    assert not found


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of one machine", "see " + "/work/" + "shared"),
        ("a path of one machine", "open('" + "/root/" + ".cache')"),
        ("the number of an issue", "fixes " + "#" + "12"),
        ("the number of an issue", "see issue" + " 2"),
        ("a package registry", "https://pypi" + ".org/simple"),
    ],
)
def test_leftovers_are_recognized(what: str, text: str) -> None:
    assert re.search(LEFTOVERS[what], text)


@pytest.mark.parametrize(
    "text", ["color: '#444444'", "tests/work/a", "&" + "#8212;", "x /work /y", "#1a2b3c"]
)
def test_innocent_text_is_no_leftover(text: str) -> None:
    assert not [what for what, pattern in LEFTOVERS.items() if re.search(pattern, text)]


@pytest.mark.parametrize("group", SOURCED)
def test_numbers_of_the_catalogue_have_a_source(group: str) -> None:
    files = sorted((REPO / "conf" / group).glob("*.yaml"))
    assert files
    assert not [
        file.name for file in files if not str(yaml.safe_load(file.read_text()).get("source") or "").strip()
    ]


IMPORT_ALL = """
import json, os, pkgutil, sys, threading

seen = []
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def hook(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & WRITING and args[0] != os.devnull:
        seen.append(f"opens {args[0]} to write")
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chdir",
                   "subprocess.Popen", "os.fork", "os.exec", "socket.connect", "signal.signal"):
        seen.append(f"{event} {args}")

before = dict(os.environ)
sys.addaudithook(hook)
import sim
names = [m.name for m in pkgutil.walk_packages(sim.__path__, "sim.")]
for name in names:
    __import__(name)
if dict(os.environ) != before:
    seen.append("changed the environment")
if threading.active_count() > 1:
    seen.append("started a thread")
told = json.dumps({"modules": names, "seen": seen})
open(sys.argv[1], "w").write(told)
"""


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Every module, in one process: no file written, nothing printed, no environment changed, no process or thread."""
    told, home = tmp_path / "told.json", tmp_path / "home"
    home.mkdir()
    paths = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home)}
    for name in ("FLEETSIM_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, str(told)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    report = json.loads(told.read_text())
    assert {"sim.cli", "sim.model.loop.advance", "sim.engine.simpy"} <= set(report["modules"])
    assert report["seen"] == []
    assert list(home.iterdir()) == []
