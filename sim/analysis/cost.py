"""The bill of a run: its lines, and which part of it prompts and answers have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sim.records.cost import PS_PER_HOUR, fixed_usd, gpu_usd


class TokenCost(NamedTuple):
    """A pool's cost, split by step time."""

    prompt_usd: float
    output_usd: float


def bill_lines(pool: Any, gpu_ps: int, elapsed_ps: int) -> list[dict[str, Any]]:
    """Billing lines of one pool: quantity (hours) times unit price is usd; their sum is its cost."""
    fixed = float(pool.price.usd_fixed_per_hour)
    lines = [_line(pool, "gpu", gpu_ps, float(pool.usd_per_gpu_hour), gpu_usd(pool, gpu_ps))]
    if fixed:
        lines.append(_line(pool, "fixed", elapsed_ps, fixed, fixed_usd(pool, elapsed_ps)))
    return lines


def _line(pool: Any, line: str, quantity_ps: int, unit_usd_per_hour: float, usd: float) -> dict[str, Any]:
    hours = int(quantity_ps) / PS_PER_HOUR
    return {
        "pool": pool.name,
        "line": line,
        "gpu": pool.device if line == "gpu" else None,
        "quantity_h": hours,
        "unit_usd_per_hour": unit_usd_per_hour,
        "usd": usd,
    }


def total_usd(bills: Iterable[Sequence[dict[str, Any]]]) -> float:
    """Sum of the lines of some bills."""
    return float(sum(line["usd"] for bill in bills for line in bill))


def token_cost(usd: float, counters: Mapping[str, int]) -> TokenCost:
    """Splits a pool's cost by the step time that prefill and decode took; unsplit where no step ran."""
    prefill_ps, decode_ps = int(counters["prefill_ps"]), int(counters["decode_ps"])
    busy_ps = prefill_ps + decode_ps
    return TokenCost(
        prompt_usd=usd * prefill_ps / busy_ps if busy_ps else 0.0,
        output_usd=usd * decode_ps / busy_ps if busy_ps else 0.0,
    )


def split_usd(usd: float, costs: Sequence[TokenCost], n_prompt: int, n_output: int) -> TokenCost:
    """The whole bill of some pools that cost `usd` together, split between prompts and answers.

    Pools without a step are paid as the others are, and of two kinds of tokens the one that came pays for the one that
    did not.
    """
    prompt_usd, output_usd = sum(c.prompt_usd for c in costs), sum(c.output_usd for c in costs)
    if n_prompt == 0 or n_output == 0:
        prompt_usd, output_usd = (usd, 0.0) if n_prompt else (0.0, usd)
    elif prompt_usd + output_usd > 0:
        prompt_usd, output_usd = (part * usd / (prompt_usd + output_usd) for part in (prompt_usd, output_usd))
    return TokenCost(prompt_usd, output_usd)
