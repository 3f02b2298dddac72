"""What a study's runs come to: every point against its baseline, judged once, for the terminal and for the page alike.

`sim.studies` composes the points and keeps beside the plan what that alone tells (`compared.json`): which points see the
same traffic, the baseline of each, and what is known of arrivals without running them. Who shows the study reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sim.analysis.compare import MEASURES
from sim.analysis.control import Control, with_control
from sim.analysis.replicate import Replication, replicate
from sim.analysis.varied import Varied, baselines
from sim.measures.shown import Compared, compared

ALL_POINTS, ALL_RUNS = 200, 50_000  # of a study of which every point is composed again and summed up
TOO_MANY = (
    f"arrivals are a control in studies of at most {ALL_POINTS} points and {ALL_RUNS:,} runs that are whole"
)


class Pairing(NamedTuple):
    """Which points of a study are held against which, in the order of the points."""

    traffic: list[Any]  # the same where points see the same requests
    bases: list[
        int | None
    ]  # the place of the baseline, its own where it is one, None where its traffic has none
    controls: (
        Mapping[str, Any] | None
    )  # traffic → what is known of its arrivals; None where that was not made


class Studied(NamedTuple):
    """What the runs of a study come to."""

    found: Replication
    control: Control | None  # None where the study asks for none


def pairing_of(results: Any, every: Varied) -> Pairing:
    """As the study's folder has it; of a study too large to be composed again, or not whole, told by its keys."""
    kept = results.compared
    if kept is not None and len(kept["baselines"]) == len(every.names):
        return Pairing(list(kept["traffic"]), list(kept["baselines"]), kept.get("controls"))
    return Pairing(
        [repr(seen) for seen in every.traffic()], baselines(every, results.study.get("baseline") or {}), None
    )


def studied(results: Any, runs: Any, names: Sequence[str], pairing: Pairing, shown: Sequence[int]) -> Studied:
    """Means of the points at places `shown`, their differences and verdicts, all points of the study judged together.

    `runs` has a row for each run with every measure. Of a study of more than ALL_RUNS runs only what is shown is summed up:
    the comparisons that are not shown take their full share of the 5 %, so that verdicts hold whatever they would say.
    """
    study = results.study
    measures, margins = judged_measures(study)
    is_all = runs.num_rows <= ALL_RUNS
    places = list(range(len(names))) if is_all else list(shown)
    bases = {names[i]: None if (base := pairing.bases[i]) is None else names[base] for i in places}
    traffic = {names[i]: str(pairing.traffic[i]) for i in places}
    rows = rows_of(runs, places, names, measures)
    n_more = sum(pairing.bases[i] not in (None, i) for i in set(range(len(names))) - set(places))
    looks = (results.stopped or {}).get("looks")
    found = replicate(rows, list(bases), measures, traffic, bases, looks, margins, n_more)
    n_judged, wanted = found.n_judged, {names[i] for i in shown}
    found = found._replace(rows=[row for row in found.rows if row.name in wanted], n_together=n_judged)
    if study.get("control") != "arrivals":
        return Studied(found, None)
    if pairing.controls is None:
        return Studied(found, Control(TOO_MANY))
    return Studied(*with_control(found, rows, traffic, pairing.controls))


def judged_measures(study: Mapping[str, Any]) -> tuple[tuple[Compared, ...], dict[str, float] | None]:
    """(the measures of a study's points, column → margin of those that `decide` names, which are judged; None: all are)."""
    asked = {compared(str(name)): float(margin) for name, margin in (study.get("decide") or {}).items()}
    return tuple(dict.fromkeys((*MEASURES, *asked))), {one.key: asked[one] for one in asked} or None


def rows_of(
    runs: Any, places: Sequence[int], names: Sequence[str], measures: Sequence[Compared]
) -> list[dict[str, Any]]:
    """The rows of some points under the points' names, with what is compared of them."""
    import numpy as np

    there = [one.key for one in measures if one.key in runs.column_names]
    numbers, at = np.unique(runs.column("point").to_numpy(), return_inverse=True)
    called = {int(numbers[i]): names[i] for i in places}
    wanted = np.flatnonzero(np.isin(at, places))
    table = runs.select(["point", "seed", "slo_ok", *there]).take(wanted)
    return [{**row, "variant": called[row["point"]]} for row in table.to_pylist()]
