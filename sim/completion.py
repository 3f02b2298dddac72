"""Tab completion: what can follow the words typed so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sim.errors import InputError

VERBS = (
    "run",
    "compare",
    "plan",
    "sweep",
    "sql",
    "whatif",
    "capacity",
    "budget",
    "robust",
    "search",
    "sensitivity",
    "show",
    "list",
    "plot",
    "why",
    "report",
    "explore",
    "trace",
    "metrics",
    "check",
    "calibrate",
    "import-model",
    "completion",
)
STORY_VERBS = ("run", "compare", "show", "explore", "whatif", "capacity", "robust", "search", "sensitivity")
STUDY_VERBS = ("plan", "sweep", "check")
RUN_VERBS = ("budget", "plot", "why", "report", "trace", "metrics")
OPTIONS = {
    "trace": ("--from", "--to", "-o"),
    "check": ("--junit", "--json", "--markdown", "--share"),
    "metrics": ("--at", "--dashboard", "--rules", "--start", "-o"),
    "whatif": ("--keep", "--vary", "--minimise", "--curve", "--seeds", "--every", "--json"),
    "sensitivity": (
        *("--vary", "--measure", "--samples", "--seeds", "--step-time", "--cold-start", "--load", "--json"),
    ),
    "search": ("--vary", "--objective", "--keep", "--trials", "--seeds", "--sampler-seed", "--json"),
    "robust": ("--keep", "--minimise", "--worlds", "--step-time", "--cold-start", "--load", "--json"),
    "budget": ("--objective", "--period", "--json"),
    "capacity": ("--keep", "--seeds", "--precision", "--json"),
}
FILES_OF = {"calibrate": (".csv", ".json"), "import-model": (".json",)}

BASH = r"""# fleetsim: tab completion for bash. Add to ~/.bashrc:  source <(fleetsim completion bash)
_fleetsim() {
    local line words word prefix
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    mapfile -t COMPREPLY < <(fleetsim __complete "${words[@]:1}" 2>/dev/null)
    prefix=""
    [[ $word == *[=:@,]* ]] && prefix=${word%"${word##*[=:@,]}"}
    [[ $COMP_WORDBREAKS == *[=:@]* && -n $prefix ]] && COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.,] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F _fleetsim fleetsim
"""

ZSH = r"""#compdef fleetsim
# fleetsim: tab completion for zsh. Add to ~/.zshrc after compinit:  source <(fleetsim completion zsh)
_fleetsim() {
    local -a found
    found=("${(@f)$(fleetsim __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- ${found:#}
}
compdef _fleetsim fleetsim
"""

FISH = r"""# fleetsim: tab completion for fish. Save as ~/.config/fish/completions/fleetsim.fish
complete -c fleetsim -f -a '(fleetsim __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def candidates(words: Sequence[str]) -> list[str]:
    """What the last word may become; `words` are all after the command, the last one unfinished."""
    *before, word = words or [""]
    found = following(before, word)
    return sorted({name for name in found if name.startswith(word)})


def following(before: Sequence[str], word: str) -> Iterable[str]:
    """Everything that may stand where `word` stands."""
    if not before:
        return ("--help", "--version") if word.startswith("-") else VERBS
    verb = before[0]
    if verb in OPTIONS and word.startswith("-"):
        return OPTIONS[verb]
    if verb in STORY_VERBS:
        return scenarios() if len(before) == 1 else overrides(before[1], word)
    if verb in STUDY_VERBS:
        return [*studies(), *scenarios()] if len(before) == 1 else study_words(verb, before[1], word)
    if verb == "list" and len(before) == 1:
        return groups()
    if verb == "completion":
        return SCRIPTS
    if verb == "why" and len(before) > 1:
        return why_settings(before[1])
    if verb == "calibrate" and "--scenario" in before:
        story = before.index("--scenario") + 1
        return scenarios() if story == len(before) else overrides(before[story], word)
    if verb == "calibrate" and word.startswith("-"):
        return "--coefficients", "--scenario"
    kept = ["latest", *runs()] if verb in RUN_VERBS and "/" not in word else []
    return [*kept, *files(word, FILES_OF.get(verb, ()))]


def studies() -> list[str]:
    """Names of the studies that there are."""
    from sim.scenario.catalogue import study_files

    return list(study_files())


def study_words(verb: str, name: str, word: str) -> Iterable[str]:
    """What may follow a study or a scenario."""
    if word.startswith("-"):
        return ("--yes", "--shard", "--executor") if verb == "sweep" else ("--yes",)
    return overrides(name, word) if name not in studies() else ()


def runs() -> list[str]:
    """Names of the runs that were kept here."""
    return [path.parent.name for path in Path("results").glob("*/summary.json")]


def why_settings(run: str) -> list[str]:
    """What `why` can be asked of a run."""
    from sim.records.config import read_json
    from sim.records.run_dir import CONFIG_JSON, find_run

    measures = ["measure=e2e", "measure=ttft", "request="]
    try:
        config = read_json(find_run(run) / CONFIG_JSON)["config"]
        return [*(f"class={c['name']}" for c in config["classes"]), *measures]
    except (InputError, OSError, ValueError, KeyError):
        return ["class=", *measures]


def scenarios() -> list[str]:
    """Names of scenarios."""
    from sim.scenario.catalogue import scenario_files

    return list(scenario_files())


def groups() -> list[str]:
    """Names of groups."""
    from sim.scenario.catalogue import GROUPS

    return [*GROUPS, "scenarios"]


def files(word: str, endings: tuple[str, ...]) -> list[str]:
    """Files with one of the endings and folders below what was typed."""
    folder = Path(word).parent if not word.endswith("/") else Path(word)
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    inside = [p for p in entries if p.is_dir() or p.name.endswith(endings)]
    return [f"{p}/" if p.is_dir() else str(p) for p in inside]


def overrides(story: str, word: str) -> Iterable[str]:
    """Overrides of a scenario: keys before the `=`, values after it."""
    key, equals, value = word.partition("=")
    if not equals:
        return keys(story, key)
    done, comma, last = value.rpartition(",")
    return [f"{key}={done}{comma}{name}" for name in (*values(key), *option_files_at(key, last))]


def option_files_at(key: str, typed: str) -> list[str]:
    """YAML files below a folder that was typed: an option of a group may be a file."""
    from sim.scenario.catalogue import GROUPS

    group = key.lstrip("+").partition("@")[0]
    return files(typed, (".yaml",)) if group in GROUPS and "/" in typed else []


def values(key: str) -> list[str]:
    """Options of a group, or the names that a key may have."""
    from sim.scenario.catalogue import GROUPS, option_files

    group = key.lstrip("+").partition("@")[0]
    return list(option_files(group)) if group in GROUPS else names_for(key)


def keys(story: str, typed: str) -> list[str]:
    """Groups with `=`, and the keys one level below what was typed."""
    from sim.scenario.catalogue import GROUPS

    if "@" in typed:
        group = typed.partition("@")[0]
        return [f"{group}@{place}=" for place in places(story, group)]
    chosen = [f"{group}=" for group in GROUPS if group != "station"] if "." not in typed else []
    return chosen + below(story, typed)


def places(story: str, group: str) -> list[str]:
    """Where one pool, class or station of the scenario can have its own option of a group."""
    from sim.scenario.inherit import CLASS_GROUPS, POOL_GROUPS

    if group == "traffic":
        return [f"classes.{name}" for name in entries(story, "classes")]
    if group in CLASS_GROUPS:
        return [f"classes.{name}.{group}" for name in entries(story, "classes")]
    if group == "station":
        return [f"gateway.stations.{name}" for name in entries(story, "gateway.stations")]
    inner = f".{group}" if group in POOL_GROUPS else ""
    return [f"pools.{name}{inner}" for name in entries(story, "pools")]


def entries(story: str, group: str) -> list[str]:
    """Names of the scenario's own pools, classes or stations."""
    from sim.scenario.story import read_story

    try:
        found = read_story(story)
    except InputError:
        return []
    start = f"{group}."
    packages = [c.package for c in found.choices if c.package and c.package.startswith(start)]
    chosen = [package.removeprefix(start).split(".")[0] for package in packages]
    body: Any = found.body
    for part in group.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return list(dict.fromkeys([*(body if isinstance(body, dict) else ()), *chosen]))


def below(story: str, typed: str) -> list[str]:
    """Full keys whose last part is still to be typed: `gpu.memory_gb=`, `pools.code.`."""
    from sim.scenario.keys import level

    prefix, _, _ = typed.rpartition(".")
    parts = prefix.split(".") if prefix else []
    start = f"{prefix}." if prefix else ""
    if prefix in ("pools", "classes", "tenants", "gateway.stations"):
        return [f"{start}{name}." for name in entries(story, prefix)]
    return [f"{start}{name}{'.' if key.is_deep else '='}" for name, key in level(parts).items()]


def names_for(key: str) -> list[str]:
    """The names, or true and false, that a key may have."""
    from sim.scenario.keys import level

    *parts, last = key.lstrip("+").split(".")
    found = level(parts).get(last)
    return found.names if found else []
