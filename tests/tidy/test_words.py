"""The project speaks of itself alone, its files are text that any tool reads, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tree import REPO, tracked

BINARY = {".png", ".parquet", ".gz", ".ico", ".html"}
MACHINE = re.compile(r"(?<![\w.])/(?:" + "|".join(["work", "root", r"home/\w+", r"Users/\w+"]) + r")/")
NUMBERED = re.compile(
    r"(?i)\b(?:issue|ticket|pull request|merge request)s?\s*#?\s*\d|\bgh-\d|\bTODO\b|\bFIXME\b|\bXXX\b"
)
REGISTRY = re.compile("|".join([r"pypi\.\w+", "pythonhosted", r"registry\.npm", r"deb\.debian"]))
CONFLICT = re.compile(r"^(?:<{7}|>{7}|={7})(?: |$)", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
MAX_BYTES = 1 << 20


def texts() -> list[tuple[str, str]]:
    """Path and text of every tracked text file but the licence and this test."""
    files = [path for path in tracked() if path.suffix not in BINARY and path != Path(__file__).resolve()]
    names = [(path.relative_to(REPO).as_posix(), path) for path in files if path.name != "LICENSE"]
    return [(name, path.read_text(encoding="utf-8")) for name, path in names]


@pytest.mark.parametrize(
    "pattern", [MACHINE, NUMBERED, REGISTRY, CONFLICT], ids=["machine", "number", "registry", "conflict"]
)
def test_words_that_mean_nothing_elsewhere(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, hit.start()) + 1} {hit.group()!r}"
        for name, text in texts()
        for hit in pattern.finditer(text)
    ]
    assert found == []


def test_files_are_clean_text() -> None:
    """Ends with one newline, no carriage return, no blank at the end of a line."""
    wrong = [
        name
        for name, text in texts()
        if not name.startswith("tests/") or name.endswith(".py")
        if text
        and (not text.endswith("\n") or text.endswith("\n\n") or "\r" in text or re.search(r"[ \t]\n", text))
    ]
    assert wrong == []


def test_files_are_small() -> None:
    assert [str(path) for path in tracked() if path.stat().st_size > MAX_BYTES] == []


def test_links_lead_somewhere() -> None:
    wrong = [
        f"{name}: {target}"
        for name, text in texts()
        if name.endswith(".md")
        for target in LINK.findall(text)
        if not (REPO / name).parent.joinpath(target).exists()
    ]
    assert wrong == []


def test_every_page_can_be_found_from_the_index() -> None:
    pages = {path.name for path in (REPO / "docs").glob("*.md")} - {"index.md"}
    linked = set(LINK.findall((REPO / "docs" / "index.md").read_text(encoding="utf-8")))
    assert pages - linked == set()


def test_the_licence_is_there_whole() -> None:
    text = (REPO / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_scripts_can_be_run() -> None:
    scripts = [path for path in tracked() if path.parent.name in ("scripts", ".ci") and path.suffix == ""]
    assert {"rehearse", "test", "check", "run"} <= {path.name for path in scripts}
    for path in scripts:
        assert path.stat().st_mode & 0o111, f"{path.name} is not executable"
        assert path.read_text(encoding="utf-8").startswith("#!")
