"""Proposals of Optuna: which settings to try next, from what was tried (ask and tell). Needs the extra `search`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sim.errors import InputError
from sim.studies.axes import Axis, Span, Value

TOGETHER = 8  # settings that are asked for before the first of them is told
BAD = 1e30  # stands for infinite: samplers reckon with numbers
Told = Callable[[Sequence[dict[str, Any]]], Sequence[tuple[Sequence[float], Sequence[float]] | None]]


def propose(axes: Sequence[Axis], n_trial: int, n_objective: int, seed: int, tell: Told) -> None:
    """Ask Optuna for settings, some at a time, and tell it what became of them, until so many were tried.

    `tell` gets settings and returns for each (scores that are to be little, by how much each limit is broken, at most 0
    where it is kept), or None for a setting that cannot be. With one objective the sampler is TPE (Bergstra and others
    2011), with several NSGA-II (Deb and others 2002). The same answers lead to the same proposals. Raises InputError
    where Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError(
            "search: Optuna is not installed: pip install 'fleetsim[search]'; without it all settings are tried where "
            "--trials allows for so many"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["minimize"] * n_objective, sampler=sampler_of(optuna, n_objective, seed)
    )
    n = 0
    while n < n_trial:
        trials = [study.ask() for _ in range(min(TOGETHER, n_trial - n))]
        found = tell([suggested(trial, axes) for trial in trials])
        for trial, answer in zip(trials, found, strict=True):
            if answer is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            scores, broken = answer
            trial.set_user_attr("broken", [_number(x) for x in broken])
            study.tell(trial, [_number(x) for x in scores])
        n += len(trials)


def sampler_of(optuna: Any, n_objective: int, seed: int) -> Any:
    """The sampler, told how limits are broken."""
    import warnings

    def broken(trial: Any) -> list[float]:
        return list(trial.user_attrs.get("broken", [BAD]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that constraints may change in later versions of Optuna
        if n_objective == 1:
            return optuna.samplers.TPESampler(
                seed=seed, constraints_func=broken, n_startup_trials=2 * TOGETHER
            )
        return optuna.samplers.NSGAIISampler(seed=seed, constraints_func=broken, population_size=2 * TOGETHER)


def suggested(trial: Any, axes: Sequence[Axis], path: str = "") -> dict[str, Any]:
    """A setting: numbers of a range anywhere within it, one of values, and of an option also what it varies itself.

    Optuna knows each by its path: the same key of two options may have other values.
    """
    found: dict[str, Any] = {}
    for one in axes:
        span = one.span
        if span is not None and (span.has_unit_step or not span.n):
            found[one.key] = _within(trial, path + one.key, span)
            continue
        entries = entries_of(one)
        at = trial.suggest_categorical(path + one.key, list(range(len(entries))))
        found[one.key], inner = entries[at]
        found |= suggested(trial, inner, f"{path}{one.key}[{at}].")
    return found


def _within(trial: Any, name: str, span: Span) -> Any:
    if span.is_whole:
        return int(trial.suggest_int(name, int(span.low), int(span.high), log=span.is_log))
    return float(trial.suggest_float(name, span.low, span.high, log=span.is_log))


def entries_of(one: Axis) -> list[tuple[Any, tuple[Axis, ...]]]:
    """The values of an axis, each with the axes that only it has."""
    found: list[tuple[Any, tuple[Axis, ...]]] = []
    for part in one.parts:
        if isinstance(part, Value):
            found.append((part.value, part.axes))
        else:
            found += [(value, ()) for value in part.values().tolist()]
    return found


def _number(value: float) -> float:
    return float(np.clip(np.nan_to_num(value, nan=BAD, posinf=BAD, neginf=-BAD), -BAD, BAD))
