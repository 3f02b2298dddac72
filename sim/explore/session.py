"""What the page asks for: a scenario with some values moved, run, as numbers and texts that are ready to be shown.

A run is told by its overrides and its seed. What was run is kept for as long as the page is open, so that an interval
over seeds grows without running anything twice.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.overtime import percentiles_over_time
from sim.analysis.replicate import Replication, replicate
from sim.engine.host import run_plan
from sim.explore.knobs import Knob, checked, knobs_of, overrides_of
from sim.measures.shown import compared
from sim.model.tables.codes import COMPLETED, INSIDE
from sim.pack.scenario import outline, with_seed
from sim.records.config import plain
from sim.records.summary import flat_summary
from sim.records.timeseries import timeseries_table
from sim.report.heads import command, gpus_of, policies_of
from sim.report.page_run import key_figures, verdict_of
from sim.report.series import fleet_samples
from sim.report.sweep_terminal import amount, interval_text
from sim.report.text import observed, share
from sim.runner import Run, finished_run, get_ready, policies_for, simulate
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import resolved, traffic_key
from sim.scenario.scenario import Scenario
from sim.sweeps.batch import SharedRequests
from sim.units import PS_PER_S
from sim.workload.tenants import with_recorded_tenants

KEPT = 64  # variants whose runs are kept
POINTS = 300  # of a line on the page
SEEDS_MAX = 100
MEASURES = tuple(map(compared, ("slo_attainment", "ttft.p50", "ttft.p99", "replicas_mean", "usd_per_hour")))
VARIANTS = ("A", "B")


class Variant(NamedTuple):
    """The scenario with some values moved."""

    story: Scenario
    overrides: list[str]


class Session:
    """One scenario on the page; safe to be called from several threads."""

    def __init__(self, name: str, words: Sequence[str]) -> None:
        """Compose the scenario; raises InputError."""
        self.name, self.words = name, list(words)
        self.story = load_scenario(name, self.words)
        self.knobs: list[Knob] = knobs_of(self.story)
        self._rows: OrderedDict[str, dict[int, dict[str, Any]]] = OrderedDict()
        self._requests = SharedRequests()
        self._lock = threading.Lock()

    def get_ready(self, progress: Any = None) -> None:
        """Compile what runs need, or read it from the cache."""
        get_ready("cpu", progress)

    def variant(self, said: Any) -> Variant:
        """The scenario with the values that a page sent. Raises InputError."""
        values = checked(self.knobs, said)
        overrides = overrides_of(self.story, self.knobs, values)
        return Variant(load_scenario(self.name, [*self.words, *overrides]), overrides)

    # ---- what the page begins with ----------------------------------------------------------------------
    def about(self) -> dict[str, Any]:
        """The scenario and its knobs, as data for the page."""
        config = {"config": plain(self.story)}
        return {
            "scenario": self.story.name,
            "question": self.story.question,
            "seed": self.story.seed,
            "gpu": gpus_of(config),
            "policy": policies_of(config),
            "duration_s": self.story.duration_s,
            "knobs": [self._knob(knob) for knob in self.knobs],
        }

    def _knob(self, knob: Knob) -> dict[str, Any]:
        data = {key: value for key, value in knob._asdict().items() if key != "of"}
        return {**data, "value": knob.of(self.story)}

    # ---- one run ----------------------------------------------------------------------
    def look(self, said: Any) -> dict[str, Any]:
        """One run of the scenario with the values that a page sent, as a picture, figures and verdicts; InputError."""
        variant = self.variant(said)
        run = self._run(dataclasses.replace(variant.story, engine=_here(variant.story)))
        self._keep(variant, run)
        verdicts = run.summary["verdicts"]
        text, is_good = verdict_of(verdicts)
        return {
            "picture": picture(run),
            "verdict": {"text": text, "ok": is_good},
            "limits": [{"text": v["text"], "ok": v["ok"], "was": observed(v)} for v in verdicts],
            "figures": [[label, figure] for label, figure, _, _ in key_figures(run.summary)],
            "values": {knob.name: knob.of(variant.story) for knob in self.knobs},
            "command": self.command(variant),
            "digest": run.digest,
        }

    def _run(self, story: Scenario) -> Run:
        """A run, of which the page shows no blame; where only the fleet is moved, its requests are there already."""
        of = outline(with_recorded_tenants(story))
        requests = self._requests.of(of, [story.seed])[story.seed]
        packed = with_seed(of, story.seed, requests)
        begun = time.perf_counter()
        state = run_plan(packed.params, policies_for(packed))
        return finished_run(packed, state, "cpu", time.perf_counter() - begun, blame=False)

    def command(self, variant: Variant) -> str:
        """The command line that runs a variant."""
        return command("fleetsim", "run", self.name, *self.words, *variant.overrides)

    def export(self, said: Any) -> str:
        """The scenario with the values that a page sent, as a file that `fleetsim run` takes. Raises InputError."""
        variant = self.variant(said)
        data = {
            key: value
            for key, value in resolved(variant.story).items()
            if key not in ("name", "engine", "output")
        }
        body = json.dumps(plain(data), indent=2, ensure_ascii=True, allow_nan=False)
        head = [
            f"# {self.story.name}, every key resolved: what `{self.command(variant)}` runs.",
            "# fleetsim run THIS_FILE.yaml",
        ]
        return (
            "\n".join("".join(c if c.isprintable() else " " for c in line) for line in head) + f"\n{body}\n"
        )

    # ---- many seeds ----------------------------------------------------------------------
    def seeds(self, said: Sequence[Any], n: int) -> dict[str, Any]:
        """What the first `n` seeds say of one variant, or of two against each other; runs what is missing of them.

        Raises InputError.
        """
        variants = [self.variant(values) for values in said]
        rows = []
        for name, variant in zip(VARIANTS, variants, strict=False):
            for seed in range(variant.story.seed, variant.story.seed + n):
                rows.append({**self._row(variant, seed), "variant": name, "seed": seed})
        keys = {
            name: traffic_key(v.story, with_seed=False) for name, v in zip(VARIANTS, variants, strict=False)
        }
        found = replicate(rows, list(keys), MEASURES, keys)
        return {"n": n, "rows": table_rows(found), "same_traffic": len(set(keys.values())) == 1}

    def _row(self, variant: Variant, seed: int) -> dict[str, Any]:
        key = self._key(variant)
        with self._lock:
            known = self._rows.get(key, {}).get(seed)
        if known is not None:
            return known
        story = dataclasses.replace(
            variant.story,
            seed=seed,
            engine=_here(variant.story),
            output=dataclasses.replace(variant.story.output, records=False),
        )
        return self._keep(variant, simulate(story), seed)

    def _keep(self, variant: Variant, run: Run, seed: int | None = None) -> dict[str, Any]:
        row = {**flat_summary(run.summary), "slo_ok": run.summary["slo_ok"]}
        key = self._key(variant)
        with self._lock:
            self._rows.setdefault(key, {})[variant.story.seed if seed is None else seed] = row
            self._rows.move_to_end(key)
            while len(self._rows) > KEPT:
                self._rows.popitem(last=False)
        return row

    def _key(self, variant: Variant) -> str:
        return "\0".join(variant.overrides)


def _here(story: Scenario) -> Any:
    """The engine of the page: one run at a time, on this machine's processor."""
    return dataclasses.replace(story.engine, name="cpu")


def table_rows(found: Replication) -> list[dict[str, Any]]:
    """A row for each measure: the mean of each variant with its interval, and of two the difference with its verdict."""
    rows: list[dict[str, Any]] = []
    kept = [row for row in found.rows if row.slo_share is not None]
    if kept:
        cells = []
        for one in found.rows:
            low, high = one.slo_interval or (None, None)
            cells.append([share(one.slo_share), interval_text(low, high, "share")])
        rows.append({"label": "every limit kept", "cells": cells, "difference": None})
    for at, measure in enumerate(found.measures):
        cells = []
        for one in found.rows:
            value = one.values[at]
            text = "–" if value.mean is None else amount(value.mean, measure.unit)
            cells.append([text, interval_text(value.low, value.high, measure.unit)])
        rows.append(
            {"label": measure.label, "cells": cells, "difference": _difference(found, at, measure.unit)}
        )
    return rows


def _difference(found: Replication, at: int, unit: str) -> dict[str, str] | None:
    row = found.rows[-1]
    if row.baseline is None or not row.judged or row.judged[at] is None or row.differences[at] is None:
        return None
    judged, value = row.judged[at], row.differences[at]
    assert judged is not None
    assert value is not None
    text = "–" if value.mean is None else amount(value.mean, unit, signed=True)
    return {
        "text": text,
        "interval": interval_text(value.low, value.high, unit, signed=True),
        "verdict": judged.verdict,
    }


def picture(run: Run) -> dict[str, list[list[float | None]]]:
    """The lines of a run: name → [seconds, values]; None is a gap, where nothing was ever served."""
    config = {"config": {"pool_choice": plain(run.scenario.pool_choice)}}
    samples = fleet_samples(timeseries_table(run.scenario, run.result), config)
    length_s = np.where(samples.interval_s > 0, samples.interval_s, np.nan)
    lines = {
        "arrivals": samples.arrivals / length_s,
        "ready": samples.stages["ready"],
        "waiting": samples.held + samples.waiting,
    }
    step = max(1, -(-len(samples.time_s) // POINTS))
    found = {name: _line(samples.time_s[::step], values[::step]) for name, values in lines.items()}
    return {**found, "ttft": ttft_line(run)}


def ttft_line(run: Run) -> list[list[float | None]]:
    """The p99 of ttft by arrival, as `requests.parquet` has it; empty where no request was kept."""
    rows = run.result.requests
    if not rows or not len(rows["arrival_ps"]):
        return [[], []]
    first, arrival = rows["first_token_ps"], rows["arrival_ps"]
    is_served = np.isin(rows["outcome"], (COMPLETED, INSIDE)) & (first >= 0)
    ttft_s = np.where(is_served, (first + rows["network_ps"] - arrival) / PS_PER_S, np.nan)
    found = percentiles_over_time(arrival / PS_PER_S, ttft_s, float(run.scenario.duration_s), (990,))
    return _line(found.time_s, found.value["p99"])


def _line(time_s: np.ndarray, values: np.ndarray) -> list[list[float | None]]:
    finite = np.isfinite(values)
    return [
        [round(float(t), 3) for t in time_s],
        [
            float(f"{v:.6g}") if ok else None
            for v, ok in zip(np.asarray(values, dtype=float), finite, strict=True)
        ],
    ]
