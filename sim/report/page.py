"""One HTML file that opens from disk: the style, the programs that draw, and a content policy that lets nothing else run.

Texts that came from files are escaped (`markup`), charts travel as JSON that no text can leave (`ScriptJson`), scripts run
only if their hash is in the page's policy, and the policy allows no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sim import cache
from sim.records.files import whole_file
from sim.report.figure import Figure, Group, drawn, group_drawn
from sim.report.markup import Html, joined, tag
from sim.report.safe import ScriptJson

HERE = Path(__file__).parent
PAGE_STYLE = HERE / "page.css"
SNIPPET = "window.vegaEmbed = vegaEmbed;"
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:;"
    " base-uri 'none'; form-action 'none'"
)


class Section(NamedTuple):
    """A part of a page with a title of its own."""

    name: str  # its id
    title: str
    parts: Sequence[Html | Figure | Group]


def document(title: str, head: Html, sections: Sequence[Section]) -> str:
    """The whole page. `head` says what it is about; sections without any content are left out."""
    charts: dict[str, Any] = {}
    shown = [(section, made) for section in sections if (made := _section(section, charts))]
    links = [tag("a", section.title, href=f"#{section.name}") for section, _ in shown]
    scripts = [vega(), (HERE / "page.js").read_text(encoding="utf-8")]
    body = joined(
        [
            tag("header", head),
            tag("nav", *links, aria_label="sections"),
            tag("main", *(made for _, made in shown)),
            Html('<div id="tip" role="status" hidden></div>'),
            Html(
                f'<script type="application/json" id="charts">{json.dumps(charts, cls=ScriptJson)}</script>'
            ),
            *(Html(f"<script>{script}</script>") for script in scripts),
        ]
    )
    return "\n".join(
        ("<!DOCTYPE html>", '<html lang="en">', _head(title, scripts), f"<body>{body}</body>", "</html>", "")
    )


def write_page(text: str, path: Path, key: str) -> Path:
    """Writes a page, whole or not at all; raises InputError, which starts with `key`."""
    with whole_file(path, key) as tmp:
        tmp.write_text(text, encoding="utf-8")
    return path


def _section(section: Section, charts: dict[str, Any]) -> Html:
    parts = []
    for part in section.parts:
        if isinstance(part, Figure):
            made, spec = drawn(part)
            charts[part.name] = spec
            parts.append(made)
        elif isinstance(part, Group):
            made, specs = group_drawn(part)
            charts |= specs
            parts.append(made)
        else:
            parts.append(part)
    inside = "".join(parts)
    return tag("section", tag("h2", section.title), Html(inside), id=section.name) if inside else Html("")


def _head(title: str, scripts: Sequence[str]) -> str:
    allowed = " ".join(f"'sha256-{hash_of(script)}'" for script in scripts)
    policy = Html(POLICY.format(scripts=allowed))
    style = PAGE_STYLE.read_text(encoding="utf-8")
    parts = (
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<link rel="icon" href="data:,">',
        tag("title", title),
        f"<style>{style}</style>",
    )
    return f"<head>{''.join(parts)}</head>"


def hash_of(script: str) -> str:
    """What a content policy calls a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def vega() -> str:
    """The programs that draw, as one script: made once for each version of vl-convert, then kept on this machine."""
    import vl_convert

    version = f"{vl_convert.get_vega_version()} {vl_convert.get_vegalite_versions()} {cache.version_stamp('vl_convert')}"
    key = hashlib.sha256(f"{version} {SNIPPET}".encode()).hexdigest()[:16]
    path = cache.home() / "pages" / f"vega-{key}.js"
    kept = cache.read(path)
    if kept is not None:
        return kept.decode()
    made = (
        str(vl_convert.javascript_bundle(SNIPPET)).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    )
    cache.keep(path, made.encode())
    cache.keep_at_most(path.parent, 4)
    return made
