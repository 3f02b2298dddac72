"""Answers as plain data, for JSON: numbers in s, fractions, USD and counts, intervals as [low, high]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.analysis.replicate import Estimate
from sim.answers.measured import Measured

if TYPE_CHECKING:
    from sim.answers.capacity import Capacity
    from sim.answers.price import Price
    from sim.answers.robust import Robust
    from sim.answers.search import Search
    from sim.answers.sensitivity import Sensitivity
    from sim.answers.whatif import Answer, Line


def estimate_dict(of: Estimate) -> dict[str, Any]:
    """A mean with its interval."""
    return {"mean": of.mean, "low": of.low, "high": of.high, "n_infinite": of.n_infinite}


def measured_dict(of: Measured) -> dict[str, Any]:
    """A setting over its seeds."""
    return {
        "values": dict(of.values),
        "load": of.setting.load,
        "seeds": of.n_seed,
        "cost": estimate_dict(of.cost),
        "limits": [
            {"limit": one.text, **estimate_dict(one.observed), "is_met": one.is_met, "status": one.status}
            for one in of.limits
        ],
        "runs_that_keep_all": estimate_dict(of.share),
        "status": of.status,
    }


def line_dict(of: Line) -> dict[str, Any]:
    """A row of settings."""
    return {
        "fixed": dict(of.fixed),
        "tried": [measured_dict(one) for one in of.tried],
        "best": None if of.best is None else measured_dict(of.best),
        "tried_every_setting": of.is_whole,
        "not_monotone": of.why_whole or None,
    }


def answer_dict(of: Answer) -> dict[str, Any]:
    """What `whatif` found."""
    return {
        "question": "whatif",
        "scenario": of.scenario,
        "overrides": list(of.overrides),
        "keep": list(of.limits),
        "minimise": of.minimise.key,
        "unit": of.minimise.unit,
        "searched": of.searched,
        "answer": None if of.best is None else measured_dict(of.best),
        "is_sure": of.is_sure,
        "rows": [line_dict(line) for line in of.lines],
        "rivals": [
            {
                "values": dict(one.values),
                "verdict": judged.verdict,
                "more": judged.mean,
                "low": judged.low,
                "high": judged.high,
            }
            for one, judged in of.rivals
        ],
        "notes": list(of.notes),
        "settings": of.n_setting,
        "runs": of.n_run,
        "wall_s": of.wall_s,
    }


def capacity_dict(of: Capacity) -> dict[str, Any]:
    """What `capacity` found."""
    return {
        "question": "capacity",
        "scenario": of.scenario,
        "overrides": list(of.overrides),
        "keep": list(of.limits),
        "factor": {"value": of.factor, "low": of.low, "high": of.high},
        "rate_per_s": dict(zip(("value", "low", "high"), of.rate_per_s, strict=True)),
        "first_broken": list(of.first_broken),
        "is_bound": of.is_bound,
        "precision": of.precision,
        "answer": None if of.best is None else measured_dict(of.best),
        "tried": [measured_dict(one) for one in of.tried],
        "notes": list(of.notes),
        "runs": of.n_run,
        "wall_s": of.wall_s,
    }


def price_dict(of: Price) -> dict[str, Any]:
    """What limits cost."""
    return {
        "question": "price",
        "scenario": of.scenario,
        "overrides": list(of.overrides),
        "keep": list(of.keep),
        "minimise": of.minimise.key,
        "unit": of.minimise.unit,
        "objectives": [{"measure": one.name, "unit": one.unit, "op": one.op} for one in of.objectives],
        "points": [
            {
                "limits": list(point.limits),
                "texts": list(point.texts),
                "values": None if point.values is None else dict(point.values),
                "cost": {"mean": point.cost, "low": point.low, "high": point.high},
                "draws_with_an_answer": point.share,
            }
            for point in of.points
        ],
        "notes": list(of.notes),
        "settings": of.n_setting,
        "seeds": of.n_seed,
        "runs": of.n_run,
        "wall_s": of.wall_s,
    }


def robust_dict(of: Robust) -> dict[str, Any]:
    """Variants over worlds."""
    return {
        "question": "robust",
        "scenario": of.scenario,
        "keep": list(of.limits),
        "minimise": of.minimise.key,
        "off": dict(of.off),
        "worlds": of.n_world,
        "standings": [
            {
                "variant": one.name,
                "overrides": list(one.words),
                "best_in": estimate_dict(one.best),
                "keeps_all_in": estimate_dict(one.kept),
                "cost": one.cost,
            }
            for one in of.standings
        ],
        "duels": [
            {
                "variant": one.name,
                "against": one.other,
                "wins": estimate_dict(one.wins),
                "ties": one.ties,
                "wins_below_and_above": {key: list(both) for key, both in one.halves.items()},
            }
            for one in of.duels
        ],
        "runs": of.n_run,
        "wall_s": of.wall_s,
    }


def search_dict(of: Search) -> dict[str, Any]:
    """What a search found."""
    return {
        "question": "search",
        "scenario": of.scenario,
        "overrides": list(of.overrides),
        "keep": list(of.limits),
        "objectives": [{"measure": one.key, "unit": one.unit, "better": one.better} for one in of.objectives],
        "members": [
            {
                "values": dict(one.values),
                "objectives": [estimate_dict(value) for value in one.objectives],
                "limits": measured_dict(one.found)["limits"],
                "runs_that_keep_all": estimate_dict(one.found.share),
                "is_on_front": one.is_on_front,
                "draws_on_front": one.share,
            }
            for one in of.members
        ],
        "tried": of.n_tried,
        "refused": of.n_refused,
        "tried_every_setting": of.is_whole,
        "seeds": of.n_seed,
        "runs": of.n_run,
        "runs_kept_from_before": of.n_kept,
        "notes": list(of.notes),
        "wall_s": of.wall_s,
    }


def sensitivity_dict(of: Sensitivity) -> dict[str, Any]:
    """What a measure depends on."""
    return {
        "question": "sensitivity",
        "scenario": of.scenario,
        "overrides": list(of.overrides),
        "measure": of.measure.key,
        "unit": of.measure.unit,
        "indices": [one._asdict() for one in of.indices],
        "mean": of.mean,
        "deviation": of.deviation,
        "off": dict(of.off),
        "samples": of.n_sample,
        "seeds": of.n_seed,
        "runs": of.n_run,
        "wall_s": of.wall_s,
    }
