"""A config.json becomes a model: its shapes read, its parameters counted, a YAML of the catalogue's form."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from sim.errors import InputError
from sim.huggingface.config_json import Config, read_config, shortened
from sim.huggingface.families import FAMILIES, NOT_MODELLED
from sim.huggingface.parts import Fields, shared
from sim.huggingface.quantization import weight_format
from sim.scenario.catalogue import conf_dir, is_file, yaml_files
from sim.scenario.hardware import Model, Precision
from sim.scenario.inherit import slug
from sim.steptime.params import count_parameters

PARAMETERS_MAX = 1e14
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\- /()+]{0,99}")
HASH = re.compile(r"[0-9a-f]{40}")
COMMENTS = {
    "params_b": "1e9, counted from the shapes",
    "active_params_b": "1e9, used for each token",
    "max_model_len": "tokens",
    "ffn": "width of a dense layer's MLP",
    "experts": "routed, in one layer",
    "experts_active": "of them, for each token",
    "expert_ffn": "width of one expert",
    "shared_expert_ffn": "width of the always-on experts together",
    "dense_layers": "leading layers without experts",
    "moe_layers": "layers with experts",
    "mlp_layers": "layers with a dense MLP",
    "attention_layers": "layers with attention",
    "recurrent_layers": "layers with a Mamba2 mixer",
    "kv_lora_rank": "width of the compressed keys and values",
    "rope_dim": "width of the shared positional key",
    "sliding_window": "tokens",
    "window_layers": "layers that attend within it",
}


class Imported(NamedTuple):
    """A model, the YAML that says it, and what its reader should know."""

    model: Model
    yaml: str
    notes: tuple[str, ...]
    precision: str  # of the published weights; empty: not quantised

    @property
    def option(self) -> str:
        """Its name in `model=NAME`."""
        return slug(self.model.name)


def import_model(path: str, name: str | None = None) -> Imported:
    """The model that the config.json at `path` describes; raises InputError with one line."""
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    data = with_quantization(read_config(file), file)
    shown = str(file)
    config = Config(shown, data)
    family = FAMILIES[config.model_type(FAMILIES, NOT_MODELLED)]
    config.defaults = family.defaults
    fields = shared(config, family.ffn_matrices, family.tied)
    for part in family.parts:
        part(config, fields)
    if is_embedding(config):
        fields["kind"] = "embedding"
    precision = precision_of(weight_format(config))
    notes = tuple(notes_of(config, fields, precision))
    says = {
        "name": name_of(name, data, file),
        **fields,
        "source": f"imported from {printable(shown)}"[:2000],
        "note": "; ".join(notes),
    }
    model = counted(config, says)
    return Imported(model, to_yaml(model), notes, precision)


def place_of(out: str, option: str) -> Path:
    """Where `-o OUT` puts the YAML: OUT itself when it names a YAML file, else into the folder, or its model/.

    Raises InputError where the catalogue has a model of that name, which a conf folder cannot replace.
    """
    if is_file(out):
        return Path(out)
    folder = Path(out)
    if folder.name == "conf" or (folder / "model").is_dir():
        folder = folder / "model"
    if folder.name == "model" and option in yaml_files(conf_dir() / "model"):
        raise InputError(
            f"import-model: the catalogue has a model {option!r} already: give yours another name with --name"
        )
    return folder / f"{option}.yaml"


def chosen_as(place: Path, option: str) -> str:
    """What to write after `model=` for a file that lies there: its name where ./conf has it, else its path."""
    return option if place.absolute().parent == Path.cwd() / "conf" / "model" else str(place)


def with_quantization(data: dict[str, Any], file: Path) -> dict[str, Any]:
    """The config with what NVIDIA's checkpoints say of their weights in a second file beside it."""
    beside = file.with_name("hf_quant_config.json")
    if data.get("quantization_config") is not None or file.name != "config.json" or not beside.is_file():
        return data
    said = read_config(beside).get("quantization")
    return {**data, "quantization_config": said} if isinstance(said, dict) else data


def counted(config: Config, fields: Fields) -> Model:
    """The model with its own parameter counts; raises InputError where its shapes contradict each other."""
    most = PARAMETERS_MAX / 1e9
    try:
        model = Model(params_b=most, active_params_b=most, **fields)
        counts = count_parameters(model)
        if counts.total > PARAMETERS_MAX:
            raise InputError(
                f"{config.shown}: these shapes make {counts.total:.3g} parameters; allowed: up to {PARAMETERS_MAX:.0e}"
            )
        return dataclasses.replace(
            model, params_b=round(counts.total / 1e9, 6), active_params_b=round(counts.active / 1e9, 6)
        )
    except ValueError as error:  # what pydantic and the model's own checks raise
        listed: list[Any] = getattr(error, "errors", list)()
        why = listed[0]["msg"].removeprefix("Value error, ") if listed else str(error)
        where = ".".join(map(str, listed[0]["loc"])) if listed else ""
        raise InputError(f"{config.shown}: {where + ': ' if where else ''}{why}") from None


def is_embedding(config: Config) -> bool:
    """Whether none of the file's architectures writes text."""
    names = list(config.architectures())
    return bool(names) and not any(n.endswith(("ForCausalLM", "ForConditionalGeneration")) for n in names)


def precision_of(found: str) -> str:
    """The weight format as a pool's `precision`; with `?` in front where there is none."""
    return found if found in ("", *get_args(Precision)) else f"?{found.removeprefix('?')}"


def notes_of(config: Config, fields: Fields, precision: str) -> Iterator[str]:
    """What the file says and the model does not."""
    if precision.startswith("?"):
        yield f"the weights are published in {printable(precision[1:])}, which no precision stands for: choose one"
    elif precision:
        yield f"the weights are published in {precision}: set precision to it (pool.precision={precision})"
    if config.inside is not config.outside or config.get("vision_config") is not None:
        yield "only the text model is counted, not the towers for images or sound"
    if config.get("num_nextn_predict_layers"):
        yield "the layers for multi-token prediction are left out"
    if config.get("index_topk") is not None:
        yield "the sparse attention (index_topk) is taken as full: long contexts come out too slow"
    if fields.get("kind") == "embedding":
        yield "no output tokens: a request is its prompt"


def name_of(given: str | None, data: dict[str, Any], file: Path) -> str:
    """The model's name: the given one, the repository's, or the file's or folder's; raises InputError."""
    if given is not None:
        if not NAME.fullmatch(given) or not slug(given):
            raise InputError(
                f"import-model: --name {shortened(given)} is not valid; allowed: up to 100 letters, digits, blanks "
                "and _.-/()+, a letter or digit first"
            )
        return given
    said = data.get("_name_or_path")
    parts = [said] if isinstance(said, str) and re.fullmatch(r"[\w\-]+/[\w.\-]+", said) else []
    stem = re.sub(r"[_.\-]*config$", "", file.name.removesuffix(".json"))
    folders = reversed(file.absolute().parts[:-1])
    parts += [
        stem,
        *(f.removeprefix("models--") for f in folders if not HASH.fullmatch(f) and f != "snapshots"),
    ]
    for part in parts:
        plain = re.sub(r"[^A-Za-z0-9_.\- ()+]+", " ", re.split(r"/|--", part)[-1]).strip(" _.-()+")[:100]
        if plain and NAME.fullmatch(plain):
            return plain
    return "imported"


def printable(text: str) -> str:
    """The text on one line and without what only a terminal or YAML understands."""
    return "".join(c if c.isprintable() and c not in '"\\$' else "?" for c in text)


def to_yaml(model: Model) -> str:
    """The model as a file of conf/model: what is not at its default, with a word about each number."""
    lines = []
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name != "attention" and value in (field.default, ""):
            continue
        comment = f" # {COMMENTS[field.name]}" if field.name in COMMENTS else ""
        lines.append(f"{field.name}: {yaml_value(value, field.name)}{comment}")
    return "\n".join(lines) + "\n"


def yaml_value(value: Any, key: str) -> str:
    """A value as it reads back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".") if value >= 1e-6 else repr(value)
    if key in ("name", "source", "note"):
        return f'"{printable(str(value))}"'
    return str(value)
