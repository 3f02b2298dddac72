"""Tab completion: what is offered, and that bash does with it what it should."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.completion import SCRIPTS, candidates
from sim.errors import InputError
from sim.scenario.build import from_dict
from sim.scenario.catalogue import option_files
from sim.scenario.compose import compose
from sim.scenario.edit import Edit, edited

REPO = Path(__file__).resolve().parents[2]

OFFERED = [
    (
        [""],
        {
            *("run", "compare", "plan", "sweep", "sql", "show", "list", "plot", "why", "report", "trace"),
            *(
                "calibrate",
                "import-model",
                "completion",
                "whatif",
                "capacity",
                "explore",
                "budget",
                "metrics",
                "robust",
                "search",
                "sensitivity",
            ),
            "check",
        },
    ),
    (["plan", "spiky"], {"spiky_policies", "spiky_hour"}),
    (["sweep", "spiky_policies", "--"], {"--yes", "--shard", "--executor"}),
    (["--v"], {"--version"}),
    (["c"], {"compare", "calibrate", "capacity", "completion", "check"}),
    (["whatif", "spiky_hour", "--k"], {"--keep"}),
    (["calibrate", "--"], {"--coefficients", "--scenario"}),
    (["calibrate", "a.csv", "--scenario", "spi"], {"spiky_hour"}),
    (["calibrate", "a.csv", "--scenario", "spiky_hour", "gpu=h1"], {"gpu=h100", "gpu=h100_pcie"}),
    (["run", "spi"], {"spiky_hour"}),
    (["run", "spiky_hour", "gpu=h1"], {"gpu=h100", "gpu=h100_pcie"}),
    (["run", "spiky_hour", "gpu.mem"], {"gpu.memory_gb=", "gpu.memory_bw_gb_s="}),
    (["run", "spiky_hour", "dur"], {"duration_s="}),
    (["run", "spiky_hour", "ru"], {"runtime=", "runtime."}),
    (["run", "spiky_hour", "autoscaler.sync"], {"autoscaler.sync_period_s="}),
    (["run", "spiky_hour", "autoscaler.scale_up.sel"], {"autoscaler.scale_up.select_policy="}),
    (["run", "spiky_hour", "runtime.batching=s"], {"runtime.batching=static"}),
    (["run", "spiky_hour", "output.records="], {"output.records=true", "output.records=false"}),
    (["compare", "spiky_hour", "autoscaler=hpa,fixed_"], {"autoscaler=hpa,fixed_max"}),
    (["show", "two_models", "gpu@"], {"gpu@pools.chat.gpu=", "gpu@pools.code.gpu="}),
    (["show", "two_models", "traffic@classes.ch"], {"traffic@classes.chat="}),
    (["show", "two_models", "pools."], {"pools.chat.", "pools.code."}),
    (["show", "two_models", "pools.chat.max_r"], {"pools.chat.max_replicas="}),
    (["show", "two_models", "classes.code.prio"], {"classes.code.priority="}),
    (["show", "two_models", "gpu@pools.chat.gpu=l4"], {"gpu@pools.chat.gpu=l4", "gpu@pools.chat.gpu=l40s"}),
    (["list", "tr"], {"traffic"}),
    (["completion", ""], {"bash", "zsh", "fish"}),
    (["run", "no_such_scenario", "gpu=l40"], {"gpu=l40s"}),
    (["run", "spiky_hour", "nothing.like.it"], set()),
    (["nonsense", ""], None),
]


@pytest.mark.parametrize(("words", "offered"), OFFERED, ids=[" ".join(words) for words, _ in OFFERED])
def test_candidates(words: list[str], offered: set[str] | None) -> None:
    found = candidates(words)
    assert all(word.startswith(words[-1]) for word in found)
    if offered is not None:
        assert set(found) == offered


def test_files_are_offered_where_a_path_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    for name in ("own/a.yaml", "own/b.txt", "config.json"):
        (tmp_path / name).write_text("")
    assert candidates(["run", "spiky_hour", "model=own/"]) == ["model=own/a.yaml"]
    assert candidates(["compare", "spiky_hour", "model=qwen3_8b,own/"]) == ["model=qwen3_8b,own/a.yaml"]
    assert candidates(["run", "spiky_hour", "gpu.memory_gb=own/"]) == []
    assert candidates(["import-model", "con"]) == ["config.json"]


@pytest.mark.parametrize("group", ["gpu", "pool", "runtime", "traffic", "router", "output", "pools.chat"])
def test_every_offered_key_can_be_overridden(group: str) -> None:
    kinds = option_files("router") if group == "router" else [""]  # each kind of router has keys of its own
    stories = [compose("two_models", [f"router={kind}"] if kind else []) for kind in kinds]
    offered = candidates(["run", "two_models", f"{group}."])
    assert offered
    for key in offered:
        path = tuple(key.rstrip("=.").split("."))
        wrong = [problems_of(edited(data, [Edit(key, path, "not_likely_a_value")])) for data in stories]
        assert not all(any("no such key" in line for line in lines) for lines in wrong), key


def problems_of(data: dict[str, Any]) -> list[str]:
    """What is wrong with the data."""
    try:
        from_dict(data)
    except InputError as error:
        return error.problems
    return []


@pytest.mark.parametrize("shell", SCRIPTS)
def test_script_is_one_the_shell_reads(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True)


def in_bash(line: str) -> list[str]:
    """What bash would offer at the end of the line."""
    script = f"""
fleetsim() {{ PYTHONPATH='{REPO}' '{sys.executable}' -m sim.cli "$@"; }}
compopt() {{ :; }}
{SCRIPTS["bash"]}
COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}
_fleetsim
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], cwd=REPO, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed here")
def test_bash_offers_what_follows_its_last_word_break() -> None:
    assert in_bash("fleetsim sh") == ["show"]
    assert in_bash("fleetsim run spiky") == ["spiky_hour"]
    assert in_bash("fleetsim run spiky_hour gpu=h1") == ["h100", "h100_pcie"]
    assert in_bash("fleetsim run two_models gpu@pools.chat.gpu=l40") == ["l40s"]
    assert in_bash("fleetsim run spiky_hour pool.max_rep") == ["pool.max_replicas="]
