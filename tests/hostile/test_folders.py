"""Folders of runs that are damaged, and configurations of models that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .drive import faults, fleetsim, told, written

DEEP = 3_000
HUGE = "1" + "0" * 400
TEXTS: dict[str, str | bytes] = {
    "nothing": "",
    "null": "null",
    "a number": "7",
    "a text": '"abc"',
    "a list": "[1]",
    "an object": "{}",
    "brackets": "[" * DEEP + "]" * DEEP,
    "braces": '{"a":' * DEEP + "1" + "}" * DEEP,
    "an open bracket": "[" * DEEP,
    "many digits": HUGE,
    "very many digits": "9" * 6000,
    "no UTF-8": b"\xff\xfe",
    "zero bytes": bytes(300),
    "a page": "<!DOCTYPE html><html></html>",
    "an escape": '{"model_type": "\x1b[31m"}',
}
VALUES: tuple[Any, ...] = (None, True, "", "abc", -1, 0, 1.5, 1e300, 10**400, [1], {}, "\x1b[31m\u202e")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
IMPORT = ("import-model", "--name", "Mine")


def test_a_whole_configuration_is_imported(tmp_path: Path) -> None:
    answer = fleetsim(*IMPORT, written(tmp_path / "config.json", json.dumps(CONFIG)))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("what", list(TEXTS))
def test_a_configuration_that_is_none(what: str, tmp_path: Path) -> None:
    answer = fleetsim(*IMPORT, written(tmp_path / "config.json", TEXTS[what]))
    assert answer.code == 2
    assert not faults(answer)


def test_every_value_of_a_configuration(tmp_path: Path) -> None:
    found = []
    for key in CONFIG:
        for value in VALUES:
            text = json.dumps({**CONFIG, key: value})
            answer = fleetsim(*IMPORT, written(tmp_path / "config.json", text))
            wrong = [line for line in faults(answer) if "without its sender" not in line]  # notes have none
            found += [f"{key} = {str(value)[:20]}: {line}" for line in wrong]
            is_number = isinstance(CONFIG[key], int) and not isinstance(CONFIG[key], bool)
            if answer.code == 0 and is_number and isinstance(value, int | float) and not 1 <= value <= 1e9:
                found.append(f"{key} = {value}: accepted")
    assert not found, told(found)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A whole run."""
    root = tmp_path_factory.mktemp("folders")
    answer = fleetsim("run", "first_run", "duration_s=20", f"output.dir={root}")
    assert answer.code == 0, answer.err
    (run,) = root.iterdir()
    yield run
    shutil.rmtree(root)


def test_every_file_of_a_run(kept: Path, tmp_path: Path) -> None:
    here, found = tmp_path / "run", []
    for name in [path.name for path in kept.iterdir()]:
        for what, text in {**TEXTS, "no file": b""}.items():
            shutil.rmtree(here, ignore_errors=True)
            shutil.copytree(kept, here)
            if what == "no file":
                (here / name).unlink()
            else:
                written(here / name, text)
            for verb in ("plot", "why"):
                answer = fleetsim(verb, str(here))
                found += [f"{name}: {what}: {line}" for line in faults(answer)]
            if list(here.glob(".tmp-*")):
                found.append(f"{name}: {what}: something half-written is left")
    assert not found, told(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["summary.json", "config.json"])
def test_every_value_of_a_run(name: str, kept: Path, tmp_path: Path) -> None:
    here, found = tmp_path / "run", []
    shutil.copytree(kept, here)
    whole = json.loads((kept / name).read_text(encoding="utf-8"))
    for key in whole:
        for value in (None, "abc", [1], {}, "gone"):
            changed = (
                {**whole, key: value} if value != "gone" else {k: v for k, v in whole.items() if k != key}
            )
            written(here / name, json.dumps(changed))
            answer = fleetsim("why", str(here))
            found += [f"{name}.{key} = {value!r}: {line}" for line in faults(answer)]
    assert not found, told(found)
