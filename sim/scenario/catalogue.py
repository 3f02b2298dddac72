"""What there is to choose from: scenarios and the options of each group, packaged and the user's own."""

from __future__ import annotations

import re
from pathlib import Path

from sim.errors import InputError, nearest
from sim.scenario.yaml_file import read_yaml

GROUPS = {
    "gpu": "the GPU of a pool",
    "model": "the model a pool serves",
    "runtime": "the inference server and how it batches",
    "coldstart": "the stages between wanting a replica and having it",
    "pool": "parallelism, precision and replica limits",
    "autoscaler": "who decides how many replicas there are",
    "metrics": "what the autoscaler sees, how often and how late",
    "price": "what a GPU hour costs",
    "site": "where machines stand: the data centre's overhead and its electricity's CO2",
    "traffic": "when requests come and how long they are",
    "patience": "how long a client waits for an answer",
    "retry": "what a client does when there is none",
    "router": "which replica a request goes to",
    "pool_choice": "which pool a class of traffic prefers",
    "gateway": "what happens while no replica is ready",
    "cluster": "the nodes that replicas find their GPUs on",
    "station": "CPU workers before or after the GPU, and how long a visit takes",
    "slo": "limits with a verdict",
    "engine": "which engine computes the run",
    "output": "what a run leaves behind",
}
COMMAND = re.compile(r"#\s*fleetsim (run|compare|why|plot) ")
PACKAGE = Path(__file__).resolve().parent.parent


def packaged_root() -> Path:
    """The folder that holds the packaged conf/ and scenarios/: in a wheel, or else in the checkout."""
    wheel = PACKAGE / "_data"
    return wheel if wheel.is_dir() else PACKAGE.parent


def conf_dir() -> Path:
    """The packaged catalogue."""
    return packaged_root() / "conf"


def own_conf_dir() -> Path | None:
    """`./conf` of the working directory, unless it is the packaged one."""
    own = Path.cwd() / "conf"
    return own if own.is_dir() and own.resolve() != conf_dir().resolve() else None


def yaml_files(folder: Path) -> dict[str, Path]:
    """Name → file of the YAML files in a folder that need not exist."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if path.is_file()}


def scenario_files() -> dict[str, Path]:
    """Name → file of every scenario; one in `./scenarios` comes before a packaged one of the same name."""
    return {**yaml_files(packaged_root() / "scenarios"), **yaml_files(Path.cwd() / "scenarios")}


def study_files() -> dict[str, Path]:
    """Name → file of every study; one in `./scenarios/studies` comes before a packaged one of the same name."""
    places = (packaged_root() / "scenarios", Path.cwd() / "scenarios")
    return {name: path for place in places for name, path in yaml_files(place / "studies").items()}


def own_options(group: str) -> dict[str, Path]:
    """Name → file of the user's own options of a group."""
    own = own_conf_dir()
    return yaml_files(own / group) if own else {}


def option_files(group: str) -> dict[str, Path]:
    """Name → file of every option of a group; a packaged one comes before the user's of the same name."""
    return {**own_options(group), **yaml_files(conf_dir() / group)}


def is_file(option: str) -> bool:
    """Whether an option is given as a YAML file's path instead of by name."""
    return option.endswith((".yaml", ".yml"))


def option_file(group: str, option: str) -> Path:
    """The file of an option that is known by name or given as a path."""
    return Path(option) if is_file(option) else option_files(group)[option]


def scenario_file(name_or_path: str) -> Path:
    """The scenario's file; raises InputError with the nearest names."""
    name = str(name_or_path)
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if path.is_file():
            return path
        raise InputError(f"scenario: there is no file {name}")
    files = scenario_files()
    if name not in files:
        close = nearest(name, files)
        hint = f"; did you mean {close!r}?" if close else ""
        raise InputError(f"scenario: {name!r} is not known; there are: {', '.join(files)}{hint}")
    return files[name]


def unknown_group(group: str) -> str:
    """The line for a group that does not exist."""
    close = nearest(group, GROUPS)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{group}: no such group; there are: {', '.join(GROUPS)}{hint}"


def unknown_option(group: str, option: str, shown: str = "") -> str:
    """The line for an option that its group does not have."""
    options = option_files(group)
    close = nearest(option, options)
    hint = f"; did you mean {close!r}?" if close else ""
    if group == "slo" and not close:
        hint = "; limits of your own are a list, as 'slo=[\"ttft.p99 < 1 s\"]'"
    return f"{shown or group}: {option!r} is not one of {', '.join(options)}{hint}"


def first_comment(path: Path) -> str:
    """The first sentence of a file's first comment, or else the `name` it gives."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "@package" not in line]
    comments = (line.lstrip("# ").strip() for line in lines if line.startswith("#"))
    named = (line.partition(":")[2].strip(" \"'") for line in lines if line.startswith("name:"))
    return re.split(r"\.\s", next(comments, "") or next(named, ""))[0].rstrip(".")


def commands(name_or_path: str) -> list[str]:
    """The commands that a scenario's comments suggest, with what they say of them."""
    lines = scenario_file(name_or_path).read_text(encoding="utf-8").splitlines()
    return [line.lstrip("# ").rstrip() for line in lines if COMMAND.match(line)]


def option_line(path: Path) -> str:
    """One line about an option."""
    try:
        return first_comment(path)
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"


def scenario_line(path: Path) -> str:
    """One line about a scenario: the question it asks."""
    try:
        return str(read_yaml(path, path.name).get("question", "")).strip()
    except InputError as error:
        return f"cannot be read: {error.problems[0]}"


def catalogue(group: str | None = None) -> dict[str, dict[str, str]]:
    """Group (or `scenarios`, or `studies`) → name → one line; raises InputError for an unknown group."""
    files = {"scenarios": scenario_files(), "studies": study_files()}
    found = {
        kind: {name: scenario_line(path) for name, path in named.items()} for kind, named in files.items()
    }
    for kind, one in (("scenarios", "scenario"), ("studies", "study")):
        if group in (kind, one):
            return {kind: found[kind]}
    if group is not None and group not in GROUPS:
        raise InputError(unknown_group(group))
    wanted = [group] if group else list(GROUPS)
    options = {g: {name: option_line(p) for name, p in sorted(option_files(g).items())} for g in wanted}
    return options if group else {**found, **options}
