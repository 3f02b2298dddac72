"""What comes from a file does nothing in a page, a picture or a terminal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.errors import printable, printable_lines
from sim.report.plot_compare import plot_comparison
from sim.report.safe import ScriptJson, cleaned, make_console

from .drive import ACTS, faults, fleetsim

PAYLOADS = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "\u2028alert(1)\u2029",
)
ANSI = "\x1b[31mred\x1b[0m\x1b]0;title\x07 \u202eback\u202c \x9b31m \x7f"
HOSTILE = " ".join(PAYLOADS) + " " + ANSI
STORY = {
    "defaults": ["first_run"],
    "duration_s": 30,
    "question": HOSTILE,
    "look_at": [HOSTILE],
    "traffic": {"note": HOSTILE, "source": HOSTILE, "objectives": {"ttft_s": 0.03}},
    "gpu": {"note": HOSTILE, "source": HOSTILE, "price_source": HOSTILE},
}


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text inside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.texts.append(f"<!--{data}")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of a hostile scenario, and all that it said."""
    root = tmp_path_factory.mktemp("hostile")
    story = root / "story.yaml"
    story.write_text(yaml.safe_dump(STORY), encoding="utf-8")
    answer = fleetsim("run", str(story), f"output.dir={root / 'results'}", "name=story")
    assert not faults(answer, codes=(0, 3))
    assert "alert(1)" in answer.out, "the question is shown, as text"
    (run,) = (root / "results").iterdir()
    yield run
    shutil.rmtree(root)


def assert_plain(path: Path, clean: Tags) -> None:
    """A page has the tags of one made of plain text and no others, and no text that acts."""
    page = path.read_text(encoding="utf-8")
    seen = Tags(page)
    assert seen.tags == clean.tags
    assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)
    assert not any("alert" in text for text in seen.texts)
    spec = seen.scripts[-1]
    assert "alert(1)" in spec, "the text is in the picture"
    assert "</" not in spec.split("vegaEmbed")[0]
    assert "<!--" not in spec
    assert ACTS.isdisjoint(spec)
    assert "\u2028" not in spec


def pages_of(run: Path, folder: Path) -> dict[str, Path]:
    """Every page that there is of a run, in a folder."""
    folder.mkdir(exist_ok=True)
    here = folder / run.name
    shutil.copytree(run, here)
    assert not faults(fleetsim("plot", str(here)))
    assert not faults(fleetsim("why", str(here)))
    plot_comparison({HOSTILE: here, "b": here}, folder, ("html", "svg"))
    pages = [*here.glob("*.html"), *folder.glob("*.html")]
    return {path.name: path for path in pages}


def test_no_page_runs_what_a_scenario_says(kept: Path, tmp_path: Path) -> None:
    made = pages_of(kept, tmp_path / "hostile")
    assert len(made) >= 3
    plain = tmp_path / "plain"
    shutil.copytree(kept, plain)
    for name in ("summary.json", "config.json"):
        data = with_texts(json.loads((plain / name).read_text(encoding="utf-8")))
        (plain / name).write_text(json.dumps(data), encoding="utf-8")
    assert not faults(fleetsim("plot", str(plain)))
    clean = Tags((plain / "plot.html").read_text(encoding="utf-8"))
    for path in made.values():
        assert_plain(path, clean)
    svg = (tmp_path / "hostile" / "comparison.svg").read_text(encoding="utf-8")
    assert "<script" not in svg
    assert "<img" not in svg
    assert "onload=alert" not in svg.replace("&gt;", ">").split("alert")[0]


def with_texts(data: Any) -> Any:
    """The data with harmless texts where the hostile ones were."""
    if isinstance(data, dict):
        return {key: with_texts(value) for key, value in data.items()}
    if isinstance(data, list):
        return [with_texts(value) for value in data]
    return "plain alert(1)" if isinstance(data, str) and "alert" in data else data


def test_a_kept_run_shows_no_control_characters(kept: Path) -> None:
    for words in (("why", str(kept)), ("plot", str(kept))):
        assert not faults(fleetsim(*words))


@pytest.mark.parametrize("flags", [(), ("--json",), ("--all",)])
def test_show_says_it_as_text(flags: tuple[str, ...], tmp_path: Path) -> None:
    story = tmp_path / "story.yaml"
    story.write_text(yaml.safe_dump(STORY), encoding="utf-8")
    answer = fleetsim("show", str(story), *flags)
    assert not faults(answer)
    assert answer.code == 0
    if flags == ("--json",):
        assert json.loads(answer.out)["config"]["question"] == HOSTILE


def test_lists_say_it_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "conf" / "gpu").mkdir(parents=True)
    (tmp_path / "scenarios" / "mine.yaml").write_text(yaml.safe_dump({"question": HOSTILE}), encoding="utf-8")
    (tmp_path / "conf" / "gpu" / "mine.yaml").write_text(
        "# a \x1b[31mGPU\u202e. More.\nname: x\n", encoding="utf-8"
    )
    (tmp_path / "scenarios" / "a\x1b[31m\u202e.yaml").write_text("question: q\n", encoding="utf-8")
    for words in (("list",), ("list", "gpu"), ("__complete", "run", "")):
        assert not faults(fleetsim(*words))


def test_every_character_is_printable_afterwards() -> None:
    everything = "".join(
        map(chr, (*range(0x3000), *range(0xD800, 0xE010), *range(0xFE00, 0x10000), 0xE0001, 0x10FFFF))
    )
    assert printable(everything).isprintable()
    assert printable_lines("a\tb\nc\x1b").splitlines() == ["a\tb", "c\\x1b"]
    assert ACTS.isdisjoint(json.dumps(cleaned({everything: [everything]}), ensure_ascii=False))
    assert json.loads(ScriptJson().encode({"a": "<&>"})) == {"a": "<&>"}


def test_a_console_takes_text_for_text(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console()
    console.print(f"[bold]{ANSI}[/nothing] :smile:")
    shown = capsys.readouterr().out
    assert ACTS.isdisjoint(shown)
    assert shown.startswith("[bold]")
    assert ":smile:" in shown
