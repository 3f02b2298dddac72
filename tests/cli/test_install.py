"""The package as a user installs it: a wheel in an environment of its own, used from an unrelated folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
STORY = 'question: "Mine?"\ndefaults:\n  - override /traffic: chat\nduration_s: 60\n'

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout; pip fetches the build tool where it is not installed."""
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "pip", "wheel", str(REPO), "--no-deps", "--quiet", "-w", str(folder)]
    try:
        import hatchling  # noqa: F401

        words.append("--no-build-isolation")
    except ImportError:
        pass
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("this environment has no pip")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("fleetsim-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that holds the wheel; what it depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True)
    return folder


def fleetsim(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command; its own package comes first, this environment's libraries after it."""
    own = sysconfig.get_path("purelib", "venv", {"base": str(installed)})
    paths = os.pathsep.join([own, sysconfig.get_path("purelib")])
    return subprocess.run(
        [str(installed / "bin" / "fleetsim"), *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, "FLEETSIM_CACHE_DIR": str(installed / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def relative(folder: Path, *parts: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for part in parts for path in (folder / part).rglob("*.yaml")}


def test_wheel_holds_the_catalogue_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {f"sim/_data/{name}" for name in relative(REPO, "conf", "scenarios")}
    assert "sim/_data/scenarios/first_run.yaml" in data
    assert data <= names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sim"}
    assert not [name for name in names if name.endswith((".pyc", ".parquet", ".nbi"))]


def test_list_shows_the_packaged_scenarios(installed: Path, tmp_path: Path) -> None:
    done = fleetsim(installed, tmp_path, "list")
    assert done.returncode == 0, done.stderr
    for path in (REPO / "scenarios").glob("*.yaml"):
        assert path.stem in done.stdout


def test_first_run_from_an_unrelated_folder(installed: Path, tmp_path: Path) -> None:
    done = fleetsim(installed, tmp_path, "run", "first_run", "engine=simpy", "duration_s=60")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "results").iterdir()
    assert {"summary.json", "config.json", "requests.parquet"} <= {path.name for path in run.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_own_scenarios_come_first(installed: Path, tmp_path: Path) -> None:
    own = tmp_path / "scenarios"
    own.mkdir()
    (own / "first_run.yaml").write_text("# @package _global_\n" + STORY)
    (own / "mine.yaml").write_text("# @package _global_\n" + STORY)
    shown = fleetsim(installed, tmp_path, "show", "first_run")
    assert shown.returncode == 0, shown.stderr
    assert "Mine?" in shown.stdout
    listed = fleetsim(installed, tmp_path, "list")
    assert "mine" in listed.stdout
    assert "two_models" in listed.stdout
