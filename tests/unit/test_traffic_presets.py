"""Every preset against the figures of its source: rate, burstiness, lengths.

`python tests/unit/test_traffic_presets.py` prints the whole table.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
from conftest import shared_data
from traffic_figures import (
    PRESETS,
    Floats,
    cv,
    cv_within,
    index_of_dispersion,
    peak_to_mean,
    preset,
    published,
)

from sim.scenario.arrivals import Clients, Superposition
from sim.workload.arrivals import arrival_times_s, rate_path
from sim.workload.clients import client_cvs, client_shares
from sim.workload.dists import quantile_table
from sim.workload.lengths import make_lengths
from sim.workload.rate import integral_at
from sim.workload.streams import generator

SEED = 1
N_LENGTH = 400_000


class Recording(NamedTuple):
    """How the source was recorded, so that made traffic is measured alike."""

    window_s: float  # length of the trace
    n_window: int  # how many such windows are made
    tick_s: float  # the recorder's clock, 0 where it is fine enough


RECORDINGS = {
    "chat": Recording(2334.0, 160, 0.0),
    "chat_long_context": Recording(2358.0, 160, 3.0),
    "code_completion": Recording(2290.0, 160, 0.0),
    "rag_chat": Recording(388_514.0, 60, 1.0),
}
# Relative tolerance of each figure; what is not here is not matched and docs/traffic.md says why.
TOLERANCE = {
    "chat": {
        "rate_per_s": 0.03,
        "iat_cv": 0.03,
        "iat_cv_within_10min": 0.03,
        "idc 1": 0.05,
        "idc 10": 0.05,
        "idc 60": 0.08,
        "idc 600": 0.15,
        "peak_to_mean 1": 0.15,
        "peak_to_mean 10": 0.05,
        "peak_to_mean 60": 0.08,
        "peak_to_mean 600": 0.12,
    },
    "chat_long_context": {
        "rate_per_s": 0.02,
        "iat_cv": 0.02,
        "iat_cv_within_10min": 0.02,
        "idc 1": 0.03,
        "idc 10": 0.05,
        "idc 60": 0.06,
        "idc 600": 0.15,
        "peak_to_mean 1": 0.08,
        "peak_to_mean 10": 0.05,
        "peak_to_mean 60": 0.05,
        "peak_to_mean 600": 0.05,
    },
    "code_completion": {
        "rate_per_s": 0.03,
        "iat_cv": 0.05,
        "iat_cv_within_10min": 0.05,
        "idc 1": 0.05,
        "idc 10": 0.05,
        "idc 60": 0.06,
        "peak_to_mean 1": 0.10,
        "peak_to_mean 10": 0.20,
        "peak_to_mean 60": 0.06,
        "peak_to_mean 600": 0.15,
    },
    "rag_chat": {
        "rate_per_s": 0.03,
        "iat_cv": 0.12,
        "iat_cv_within_10min": 0.10,
        "idc 1": 0.02,
        "idc 10": 0.10,
        "idc 60": 0.08,
        "idc 600": 0.12,
        "idc 3600": 0.12,
        "idc 86400": 0.25,
        "peak_to_mean 1": 0.20,
        "peak_to_mean 10": 0.15,
        "peak_to_mean 60": 0.12,
        "peak_to_mean 600": 0.12,
        "peak_to_mean 3600": 0.20,
        "peak_to_mean 86400": 0.20,
    },
    "api_large_model": {
        "rate_per_s": 0.03,
        "rate_to_mean p10": 0.06,
        "rate_to_mean p50": 0.04,
        "rate_to_mean p90": 0.08,
        "peak_to_mean 600": 0.05,
        "peak_to_mean 3600": 0.30,
        "log_residual_std_10min": 0.05,
        "log_step_std_10min": 0.05,
        "n_clients": 0.0,
        "client_share top1": 0.01,
        "client_share top5": 0.01,
        "client_share top10": 0.01,
        "client_share gini": 0.03,
        "client_cv_rate_weighted_mean": 0.05,
        "weibull_share": 0.01,
    },
    "api_mid_model": {
        "rate_per_s": 0.03,
        "rate_to_mean p10": 0.10,
        "rate_to_mean p50": 0.04,
        "rate_to_mean p90": 0.05,
        "peak_to_mean 600": 0.25,
        "peak_to_mean 3600": 0.30,
        "n_clients": 0.0,
        "client_share top1": 0.01,
        "client_share top5": 0.01,
        "client_share top10": 0.01,
        "client_share gini": 0.03,
        "weibull_share": 0.02,
    },
    "reasoning": {
        "rate_per_s": 0.03,
        "rate_to_mean p10": 0.10,
        "rate_to_mean p50": 0.05,
        "rate_to_mean p90": 0.06,
        "peak_to_mean 600": 0.05,
        "peak_to_mean 3600": 0.05,
        "n_clients": 0.0,
        "client_share top1": 0.01,
        "client_share top5": 0.01,
        "client_share top10": 0.01,
        "client_share gini": 0.02,
        "client_cv_rate_weighted_mean": 0.05,
        "weibull_share": 0.01,
    },
}


def flat(figures: dict[str, object], keys: tuple[str, ...]) -> dict[str, float]:
    """{"idc": {"1": x}} as {"idc 1": x}, for the named keys."""
    out: dict[str, float] = {}
    for key in keys:
        value = figures.get(key)
        if isinstance(value, dict):
            out |= {f"{key} {sub}": float(number) for sub, number in value.items()}
        elif isinstance(value, int | float):
            out[key] = float(value)
    return out


def source_figures(name: str) -> dict[str, float]:
    """The published figures that concern arrivals."""
    return flat(
        published(name),
        (
            "rate_per_s",
            "iat_cv",
            "iat_cv_within_10min",
            "idc",
            "peak_to_mean",
            "rate_to_mean",
            "log_residual_std_10min",
            "log_step_std_10min",
            "n_clients",
            "client_share",
            "client_cv_rate_weighted_mean",
            "weibull_share",
        ),
    )


@lru_cache
def made_figures(name: str) -> dict[str, float]:
    """The same figures of the traffic that the preset makes."""
    return recorded_figures(name) if name in RECORDINGS else client_figures(name)


def recorded_figures(name: str) -> dict[str, float]:
    """From arrival times, over many windows as long as the trace."""
    recording = RECORDINGS[name]
    span_s = recording.window_s * recording.n_window
    times = arrival_times_s(preset(name), span_s, SEED)
    seen = np.floor(times / recording.tick_s) * recording.tick_s if recording.tick_s else times
    figures = {
        "rate_per_s": len(times) / span_s,
        "iat_cv": cv(np.diff(times)),
        "iat_cv_within_10min": cv_within(times, span_s),
    }
    for key in source_figures(name):
        kind, _, bin_s = key.partition(" ")
        if kind == "idc":
            figures[key] = index_of_dispersion(seen, float(bin_s), span_s)
        if kind == "peak_to_mean":
            figures[key] = peak_to_mean(seen, float(bin_s), span_s, recording.window_s)
    return figures


def client_parts(name: str) -> list[Clients]:
    """The groups of clients a preset is made of."""
    arrivals = preset(name).arrivals
    parts = arrivals.components if isinstance(arrivals, Superposition) else (arrivals,)
    assert all(isinstance(part, Clients) for part in parts)
    return [part for part in parts if isinstance(part, Clients)]


def client_figures(name: str) -> dict[str, float]:
    """From the paths of the rate (days of the source, many seeds), and from the clients' own draws."""
    days = 1 if name == "reasoning" else 10
    paths = [rate_figures(name, rates_10min(name, days, seed)) for seed in range(40)]
    figures = {key: float(np.mean([path[key] for path in paths])) for key in RATE_KEYS}
    parts = client_parts(name)
    whole = sum(part.rate_per_s for part in parts)
    shares = np.sort(np.concatenate([client_shares(part) * part.rate_per_s / whole for part in parts]))
    n = len(shares)
    rank = np.arange(1, n + 1)
    figures |= {
        "n_clients": n,
        "client_share top1": shares[-1],
        "client_share top5": shares[-5:].sum(),
        "client_share top10": shares[-10:].sum(),
        "client_share gini": float((2 * rank - n - 1) @ shares / n),
        "client_cv_rate_weighted_mean": sum(weighted_cv(p) * p.rate_per_s / whole for p in parts),
        "weibull_share": parts[-1].weibull_share,
    }
    return figures


RATE_KEYS = (
    "rate_per_s",
    "rate_to_mean p10",
    "rate_to_mean p50",
    "rate_to_mean p90",
    "peak_to_mean 600",
    "peak_to_mean 3600",
    "log_residual_std_10min",
    "log_step_std_10min",
)


def rates_10min(name: str, days: int, seed: int) -> Floats:
    """Mean rate of every 10 minutes, free of counting noise."""
    edges = np.arange(days * 144 + 1) * 600.0
    return sum(np.diff(integral_at(r, edges)) / 600.0 for r in rate_path(preset(name), edges[-1], seed))


def rate_figures(name: str, rates: Floats) -> dict[str, float]:
    mean = rates.mean()
    hours = rates.reshape(-1, 6).mean(axis=1)
    by_hour = np.asarray(preset(name).curves.day)[np.arange(len(hours)) % 24]
    residual = np.log(rates / mean / np.repeat(by_hour, 6))
    p10, p50, p90 = np.quantile(rates / mean, [0.1, 0.5, 0.9])
    values = (mean, p10, p50, p90, rates.max() / mean, hours.max() / mean, residual.std())
    return dict(zip(RATE_KEYS, (*values, np.diff(residual).std()), strict=True))


def weighted_cv(part: Clients) -> float:
    """The clients' CV, weighted by their rates, over many windows."""
    rng = generator(SEED, "test", "cv")
    return float(np.mean([client_cvs(part, rng) @ client_shares(part) for _ in range(2000)]))


@pytest.mark.parametrize(("name", "key"), [(n, k) for n, keys in TOLERANCE.items() for k in keys])
def test_arrivals_match_the_source(name: str, key: str) -> None:
    assert made_figures(name)[key] == pytest.approx(source_figures(name)[key], rel=TOLERANCE[name][key])


@pytest.mark.parametrize("name", ["api_large_model", "reasoning"])
def test_client_cvs_match_the_source(name: str) -> None:
    (part,) = client_parts(name)
    rng = generator(SEED, "test", "cv")
    drawn = np.concatenate([client_cvs(part, rng) for _ in range(4000)])
    for key, value in published(name)["client_cv"].items():
        assert np.percentile(drawn, float(key[1:])) == pytest.approx(value, rel=0.08), key


@pytest.mark.parametrize("name", [n for n in PRESETS if "hour_of_day" in published(n)])
def test_the_day_follows_the_source(name: str) -> None:
    traffic = preset(name)
    assert traffic.curves.day == pytest.approx(published(name)["hour_of_day"])
    assert np.mean(traffic.curves.day) == pytest.approx(1.0, abs=0.005)


def test_chat_keeps_its_rate_when_the_day_is_switched_on() -> None:
    traffic = replace(preset("chat"), curves=replace(preset("chat").curves, active=True))
    (rate,) = rate_path(replace(traffic, arrivals=replace(traffic.arrivals, modulations=())), 86_400.0, SEED)
    hourly = np.diff(integral_at(rate, np.arange(25) * 3600.0)) / 3600.0
    expected = np.roll(published("chat")["hour_of_day"], -12)  # the run starts at noon
    assert hourly / 5.9246 == pytest.approx(expected)


@lru_cache
def lengths(name: str) -> tuple[np.ndarray, np.ndarray]:
    return make_lengths(preset(name), N_LENGTH, SEED)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("index", "key"), [(0, "prompt_tokens"), (1, "output_tokens")])
def test_lengths_match_the_source(name: str, index: int, key: str) -> None:
    """Each quantile within 4 standard errors of 400,000 draws and half a token; the mean within 6 %."""
    tokens, said = lengths(name)[index], published(name)[key]
    for percent, value in zip(said["q"], said["v"], strict=True):
        q = percent / 100.0
        error = 4.0 * np.sqrt(q * (1.0 - q) / N_LENGTH) + 2e-4
        assert (tokens < value - 0.51).mean() <= q + error, f"{percent} % below {value}"
        assert (tokens <= value + 0.51).mean() >= q - error, f"{percent} % up to {value}"
    assert tokens.mean() == pytest.approx(said["mean"], rel=0.06)


@pytest.mark.parametrize("name", [n for n in PRESETS if "spearman" in published(n)])
def test_prompt_and_output_correlate_as_in_the_source(name: str) -> None:
    prompt, output = (np.argsort(np.argsort(x, kind="stable")) for x in lengths(name))
    assert np.corrcoef(prompt, output)[0, 1] == pytest.approx(published(name)["spearman"], abs=0.02)


def test_the_figures_here_are_the_published_ones() -> None:
    import json

    whole = json.loads(shared_data("traces/characteristics.json").read_text())["presets"]
    for name in PRESETS:
        for key in ("prompt_tokens", "output_tokens"):
            if isinstance(whole[name].get(key), dict):
                assert published(name)[key]["v"] == whole[name][key]["inverse_cdf"]["v"]
        if name in RECORDINGS:
            assert published(name)["rate_per_s"] == whole[name]["arrivals"]["mean_rate_rps"]
            assert list(published(name)["idc"].values()) == list(whole[name]["arrivals"]["idc"].values())


def test_every_preset_says_where_it_comes_from_and_bears_its_own_name() -> None:
    for name in PRESETS:
        assert preset(name).name == name
        assert preset(name).source
    assert "PROXY" in preset("embedding").source
    assert quantile_table(preset("embedding").output_tokens, 10).max() == 0


def figures_table() -> str:
    """Every figure of every preset: the source's, the preset's, and how far they are apart."""
    lines = [f"{'preset':18}{'figure':32}{'source':>12}{'made':>12}{'apart':>9}{'allowed':>9}"]
    for name in TOLERANCE:
        for key, said in source_figures(name).items():
            made = made_figures(name).get(key, float("nan"))
            allowed = f"{TOLERANCE[name][key]:9.0%}" if key in TOLERANCE[name] else "      n/a"
            lines.append(f"{name:18}{key:32}{said:12.5g}{made:12.5g}{made / said - 1:9.1%}{allowed}")
    for name in PRESETS:
        for index, key in enumerate(("prompt_tokens", "output_tokens")):
            said, made = published(name)[key]["mean"], lengths(name)[index].mean()
            apart = f"{made / said - 1:9.1%}" if said else "        0"
            lines.append(f"{name:18}{key + ' mean':32}{said:12.5g}{made:12.5g}{apart}       6%")
    return "\n".join(lines)


if __name__ == "__main__":
    print(figures_table())
