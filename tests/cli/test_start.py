"""What a command imports before it does its work, and what it keeps so that the next one starts faster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sim import cache
from sim.cli import script
from sim.compile.jit import is_off
from sim.engine.cpu import compiled_loop

REPO = Path(__file__).resolve().parents[2]
LIBRARIES = {
    *("altair", "hydra", "llvmlite", "numba", "numpy", "omegaconf", "pyarrow", "pydantic", "rich", "scipy"),
    *("simpy", "vl_convert", "yaml"),
}
MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sim.cli import script; script()"
AND_SAY = """
import sys; sys.path.insert(0, sys.argv.pop(1))
from sim.cli import main
code = main()
print(*sorted(sys.modules), file=sys.stderr)
raise SystemExit(code)
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds nothing yet, and what each command leaves there."""
    return tmp_path_factory.mktemp("kept")


def started(code: str, words: list[str], folder: Path, root: Path = REPO, **env: str) -> tuple[str, set[str]]:
    """A command in a process of its own: its output, and the names on its stderr."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    own = {"FLEETSIM_CACHE_DIR": str(folder), "NUMBA_DISABLE_JIT": "1", **env}
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), *words],
        cwd=folder / "work",
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr[-2000:]
    return done.stdout, set(done.stderr.split())


def libraries(words: list[str], kept: Path) -> set[str]:
    """The libraries that a command imports when everything that it keeps was kept by one before."""
    started(AND_SAY, words, kept)
    return started(AND_SAY, words, kept)[1] & LIBRARIES


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["completion", "bash"], set()),
        (["list"], {"yaml"}),
        (["list", "gpu"], {"yaml"}),
        (["__complete", "ru"], set()),
        (["__complete", "run", "fi"], {"yaml"}),
        (["__complete", "run", "first_run", "gpu="], {"yaml"}),
        (["__complete", "run", "first_run", "pool."], {"yaml"}),
        (["__complete", "run", "two_models", "pools."], {"yaml"}),
        (["__complete", "run", "first_run", "runtime.batching="], {"yaml"}),
    ],
)
def test_commands_that_answer_at_once_import_next_to_nothing(
    words: list[str], allowed: set[str], kept: Path
) -> None:
    assert libraries(words, kept) <= allowed


SHORT = ["run", "first_run", "duration_s=20", "traffic.arrivals.rate_per_s=1.5", "gpu=h200"]
NEEDED = {"llvmlite", "numpy", "pyarrow", "pydantic", "rich", "yaml"}
NOT_NEEDED = {"scipy.special", "scipy.optimize", "hydra", "omegaconf", "simpy", "altair", "rich.progress"}


def test_a_plain_run_imports_what_it_needs(kept: Path) -> None:
    """Options of the catalogue and plain values take no hydra, their lengths no scipy.special, the terminal no bar."""
    started(AND_SAY, SHORT, kept)
    _, modules = started(AND_SAY, SHORT, kept)
    assert "sim.workload.lengths" in modules, "nothing ran"
    assert modules & NOT_NEEDED == set()
    assert modules & LIBRARIES - {"scipy"} <= NEEDED


@pytest.mark.skipif(is_off(), reason="nothing is compiled where the JIT is off")
def test_a_run_whose_machine_code_is_kept_imports_no_compiler(tmp_path: Path) -> None:
    compiled_loop()  # from now on it is in the folder that this process keeps things in
    _, modules = started(
        AND_SAY, SHORT, tmp_path, FLEETSIM_CACHE_DIR=str(cache.home()), NUMBA_DISABLE_JIT="0"
    )
    assert "llvmlite.binding" in modules, "nothing was loaded"
    assert "numba" not in modules


def test_what_a_word_says_in_more_than_plain_values_takes_hydra(kept: Path) -> None:
    _, modules = started(AND_SAY, ["show", "first_run", "slo=['ttft.p99 < 1 s']"], kept)
    assert "hydra" in modules


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Sources without byte code."""
    root = tmp_path / "checkout"
    for part in ("sim", "conf", "scenarios"):
        shutil.copytree(REPO / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_byte_code_that_may_not_lie_beside_the_sources_lies_in_the_cache(
    checkout: Path, tmp_path: Path
) -> None:
    def listed(cache: str) -> str:
        said, _ = started(MAIN, ["list"], tmp_path / cache, checkout, PYTHONDONTWRITEBYTECODE="1")
        return said

    said = listed("kept")
    compiled = sorted((tmp_path / "kept" / "bytecode").rglob("catalogue.*.pyc"))
    assert [path.parent.name for path in compiled] == ["scenario"]
    assert not list(checkout.rglob("*.pyc"))
    before = compiled[0].stat().st_mtime_ns
    assert listed("kept") == said
    assert compiled[0].stat().st_mtime_ns == before, "it was compiled again"


def test_the_installed_command_is_the_one_that_keeps_byte_code() -> None:
    declared = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert declared == {"fleetsim": f"{script.__module__}:{script.__name__}"}


def test_byte_code_beside_the_sources_is_used_where_it_is(checkout: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(checkout / "sim")], check=True)
    started(MAIN, ["list"], tmp_path / "kept", checkout, PYTHONDONTWRITEBYTECODE="1")
    assert not (tmp_path / "kept" / "bytecode").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is read-only to this user")
def test_a_cache_that_cannot_be_written_changes_nothing(checkout: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    (locked / "work").mkdir(parents=True)
    locked.chmod(0o555)
    said, _ = started(MAIN, ["list"], locked, checkout, PYTHONDONTWRITEBYTECODE="1")
    assert "first_run" in said
