"""What a run's numbers rest on, and how sure that is: measured, modelled, taken from a published source, assumed, or given
by the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sim.report.heads import pools_of
from sim.report.text import quantity, seconds
from sim.scenario.power import HOST_PART, IDLE_PART

MEASURED, MODELLED, SOURCED, ASSUMED, GIVEN = "measured", "modelled", "sourced", "assumed", "given"
STEP_TIMES = {"measured": MEASURED, "kernels": MEASURED, "published": MODELLED, "modelled": MODELLED}
FIRST_WORDS = {  # of a confidence in the catalogue
    "measured": MEASURED,
    "vendor measured": MEASURED,
    "layer_s measured": MEASURED,
    "fitted": MODELLED,
    "sourced": SOURCED,
    "third-party": SOURCED,
    "four reports": SOURCED,
    "assum": ASSUMED,
    "missing": ASSUMED,
}
ALSO_ASSUMED = re.compile(r"assum|not stated|not checked|no measurement", re.IGNORECASE)


class Assumption(NamedTuple):
    """One thing that numbers rest on."""

    what: str
    value: str
    kind: str
    says: str  # what is said of it: confidence, then source


def assumptions(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Assumption]:
    """Step times, cold starts, shared links, prices, energy and traffic of a run, those that several pools share once.

    `config` is its config.json; `summary` says what its step times rest on.
    """
    found = [
        *_step_times(summary),
        *_cold_starts(config),
        *_links(config),
        *_prices(config),
        *_energy(config),
        *_traffic(config),
    ]
    return list(dict.fromkeys(found))


def kind_of(confidence: str, source: str) -> str:
    """What a confidence in the catalogue's words comes to; what has a source and no confidence was taken from it."""
    text = confidence.lower()
    for words, kind in FIRST_WORDS.items():
        if text.startswith(words):
            return kind
    return SOURCED if text or source else GIVEN


def _step_times(summary: Mapping[str, Any]) -> Iterator[Assumption]:
    for name, pool in summary["pools"].items():
        basis = pool.get("step_time")
        if basis:
            kind = STEP_TIMES.get(basis.get("class", ""), MODELLED)
            yield Assumption(f"step times of {name}", basis["text"], kind, basis.get("source", ""))


def _cold_starts(config: Mapping[str, Any]) -> Iterator[Assumption]:
    for pool in pools_of(config):
        start = pool.get("coldstart", {})
        for stage in start.get("stages", []):
            source, confidence = stage.get("source") or start.get("source", ""), stage.get("confidence", "")
            yield Assumption(
                f"cold start {start.get('name', '')}: {stage['name']}",
                _stage_value(stage),
                kind_of(confidence, source),
                _says(confidence, source),
            )


def _links(config: Mapping[str, Any]) -> Iterator[Assumption]:
    for link in config.get("config", {}).get("links") or ():
        source, confidence = link.get("source") or "", link.get("confidence") or ""
        kind = kind_of(confidence, source)
        value = f"{link['bandwidth_gb_s']:g} GB/s, shared"
        yield Assumption(f"link {link['name']}", value, kind, _says(confidence, source))


def _stage_value(stage: Mapping[str, Any]) -> str:
    """What a stage takes, as far as its own keys say it."""
    if stage.get("kind") == "transfer":
        rate = stage.get("bandwidth_gb_s") or stage.get("rank_gb_s")
        said = f"{stage.get('of', 'bytes')} over {stage.get('over', 'a link')}"
        return said + (f", {rate:g} GB/s" if isinstance(rate, int | float) else "")
    if stage.get("kind") == "compute":
        return "worked out from the model's layers"
    time = stage.get("duration") or {}
    parts = [
        f"{key} {seconds(time[key])}"
        for key in ("value", "median", "mean", "p99")
        if _is_number(time.get(key))
    ]
    return ", ".join(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _prices(config: Mapping[str, Any]) -> Iterator[Assumption]:
    for pool in pools_of(config):
        gpu, price = pool.get("gpu", {}), pool.get("price", {})
        own = price.get("usd_per_gpu_hour")
        value = own if own is not None else gpu.get("usd_per_hour")
        text = quantity(value, "usd/h") if value is not None else "none"
        if own is not None:
            yield Assumption(
                f"price of {gpu.get('name', 'a GPU')}", text, GIVEN, str(price.get("source", ""))
            )
            continue
        source, confidence = gpu.get("price_source", ""), gpu.get("price_confidence", "")
        kind = kind_of(confidence, source)
        yield Assumption(f"price of {gpu.get('name', 'a GPU')}", text, kind, _says(confidence, source))


def _energy(config: Mapping[str, Any]) -> Iterator[Assumption]:
    for pool in pools_of(config):
        gpu, site = pool.get("gpu", {}), pool.get("site") or {}
        power, name = gpu.get("power"), gpu.get("name", "a GPU")
        if not power or not site:
            continue  # a run of before there was energy
        tdp_w = gpu.get("tdp_w", 0.0)
        least, most, around = (
            part * tdp_w if power.get(key) is None else power[key]
            for key, part in (("idle_w", IDLE_PART), ("max_w", 1.0), ("host_w", HOST_PART))
        )
        yield _sourced(f"watts of {name}", f"{least:g} idle to {most:g}", power)
        yield _sourced(f"watts around {name}", f"{around:g}", power, "host_")
        place = site.get("name", "the site")
        yield _sourced(f"overhead of {place}", f"PUE {site['pue']:g}", site, "pue_")
        yield _sourced(f"CO2 of {place}", f"{site['g_co2e_per_kwh']:g} g/kWh", site)


def _sourced(what: str, value: str, said: Mapping[str, Any], of: str = "") -> Assumption:
    """A thing with a source and a confidence beside it."""
    source, confidence = said.get(f"{of}source", ""), said.get(f"{of}confidence", "")
    return Assumption(what, value, kind_of(confidence, source), _says(confidence, source))


def _traffic(config: Mapping[str, Any]) -> Iterator[Assumption]:
    classes = config.get("config", {}).get("classes", [])
    for entry in classes.values() if isinstance(classes, Mapping) else classes:
        source = entry.get("source", "")
        arrivals = entry.get("arrivals") or {}
        value = str((entry.get("trace") or {}).get("file") or arrivals.get("kind", ""))
        yield Assumption(
            f"traffic of {entry['name']}", value, SOURCED if source else GIVEN, _says("", source)
        )


def _says(confidence: str, source: str) -> str:
    return "; ".join(part for part in (confidence, source) if part)


def also_assumed(assumption: Assumption) -> bool:
    """Whether what is said of it names a part that nothing measured checks."""
    return assumption.kind != ASSUMED and bool(ALSO_ASSUMED.search(f"{assumption.value} {assumption.says}"))
