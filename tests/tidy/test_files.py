"""Files: small, clean, executable where they are scripts, and linked to what exists."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
STORIES = sorted((REPO / "scenarios").glob("*.yaml"))
OPTIONS = sorted((REPO / "conf").glob("*/*.yaml"))
FILE_LINES_MAX = 340
LONGER = {"sim/model/tables/run.py": 450}  # a line each number and table of a run
FILE_BYTES_MAX = 1 << 20
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
TEXT = {".py", ".md", ".yaml", ".toml", ".sh", ".csv", ".json", ""}


@cache
def tracked() -> list[str]:
    """Every file that is in git or about to be."""
    words = ["git", "-C", str(REPO), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    return [name for name in listed if name and (REPO / name).is_file()]


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return path.read_text(encoding="utf-8").count("\n")


def test_a_source_file_is_one_idea() -> None:
    sizes = {path.relative_to(REPO).as_posix(): lines_of(path) for path in (REPO / "sim").rglob("*.py")}
    assert {name: n for name, n in sizes.items() if n > LONGER.get(name, FILE_LINES_MAX)} == {}
    assert [name for name in LONGER if sizes[name] <= FILE_LINES_MAX] == [], "no exception any more"


def test_files_are_small() -> None:
    assert [name for name in tracked() if (REPO / name).stat().st_size > FILE_BYTES_MAX] == []


def test_texts_end_with_a_newline_and_no_line_with_a_blank() -> None:
    texts = {n: (REPO / n).read_bytes() for n in tracked() if Path(n).suffix in TEXT and "/data/" not in n}
    wrong = {n for n, text in texts.items() if text and not text.endswith(b"\n")}
    assert wrong | {n for n, text in texts.items() if re.search(rb"[ \t\r]\n", text)} == set()


def test_links_lead_somewhere() -> None:
    wrong = [
        f"{name}: {target}"
        for name in tracked()
        if name.endswith(".md")
        for target in LINK.findall((REPO / name).read_text(encoding="utf-8"))
        if not (REPO / name).parent.joinpath(target).exists()
    ]
    assert wrong == []


def test_every_page_is_in_the_index() -> None:
    pages = {path.name for path in (REPO / "docs").glob("*.md")} - {"index.md"}
    linked = set(LINK.findall((REPO / "docs" / "index.md").read_text(encoding="utf-8")))
    assert pages - linked == set()


def test_the_licence_is_there_whole() -> None:
    text = (REPO / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_scripts_can_be_run() -> None:
    scripts = [REPO / name for name in tracked() if re.fullmatch(r"(scripts|\.ci)/[a-z]+", name)]
    assert {"rehearse", "test", "check", "bench", "run"} <= {path.name for path in scripts}
    assert [path.name for path in scripts if not path.stat().st_mode & 0o111] == []
    assert [path.name for path in scripts if "set -euo pipefail" not in path.read_text()] == []


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_option_has_a_line_for_the_list(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
    assert lines[0].startswith("# ") or yaml.safe_load(path.read_text(encoding="utf-8"))["name"]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_asks_and_points(path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert data["question"].endswith("?")
    assert data["look_at"]
