"""`scripts/check --mutants`: what it changes, and that it tells who notices."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from scripts_kit import script

ROOT = Path(__file__).parents[2]
RULE = '''"""Says 1 + 1."""

def rule(a: "1 + 1", b):  # µ before the places
    """One < two."""
    if (a < b and
            b == 3):
        a += 2
    µ = a + b
    return "x" + "y" if µ else -µ

def later():
    def inner():
        return 7
    return inner
'''


mutants = script("mutants")


def made(text: str) -> dict[tuple[str, str], str]:
    """(kind, what stood there) → what it becomes, of every change of a text."""
    return {
        (kind, before): after
        for kind, _, old, new in mutants.places(text)
        for _, before, after in [mutants.replaced(text, old, new)]
    }


def test_every_kind_of_place_is_found_and_nothing_that_only_speaks() -> None:
    found = made(RULE)
    assert found[("comparison", "a < b")] == "(a <= b)"
    assert found[("comparison", "b == 3")] == "(b != 3)"
    assert found[("sum", "a += 2")] == "a -= 2"
    assert found[("sum", "a + b")] == "(a - b)"
    assert found[("constant", "7")] in ("(8)", "(6)")
    assert {before for kind, before in found if kind == "condition"} == {
        "a < b and\n            b == 3",
        "µ",
    }
    assert not [before for _, before in found if '"' in before or "1" in before]
    rules = [rule for _, rule, old, _ in mutants.places(RULE) if ast.unparse(old) == "7"]
    assert rules == ["inner", "inner"]  # one up, one down, and not once more for the rule around it


def test_a_changed_text_has_one_change_where_it_should_be() -> None:
    for _, _, old, new in mutants.places(RULE):
        text, before, after = mutants.replaced(RULE, old, new)
        assert text.replace(after, before, 1) == RULE or text.count(after) > 1
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(RULE))


def test_mutants_of_the_model_are_of_all_kinds_and_are_the_same_for_a_seed() -> None:
    chosen = mutants.mutants(ROOT, 40, 5)
    assert {m.kind for m in chosen} == {"comparison", "condition", "constant", "sum"}
    assert [str(m) for m in chosen] == [str(m) for m in mutants.mutants(ROOT, 40, 5)]
    assert [str(m) for m in chosen] != [str(m) for m in mutants.mutants(ROOT, 40, 6)]
    for mutant in chosen:
        sound = (ROOT / mutant.path).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse(sound)), str(mutant)
        assert not set(Path(mutant.path).parts) & set(mutants.DECLARATIONS)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one rule, whose proof asks for its sign alone."""
    (tmp_path / "sim" / "model").mkdir(parents=True)
    (tmp_path / "sim" / "__init__.py").touch()
    (tmp_path / "sim" / "model" / "one.py").write_text("def one(a):\n    return a + 5 if a > 0 else 0\n")
    monkeypatch.setattr(mutants, "COPIED", ("sim",))
    proof = "from sim.model.one import one; raise SystemExit(one(2) <= 0 or one(-1) > 0)"
    monkeypatch.setattr(mutants, "PROOFS", {"sign": ("-c", proof)})
    return tmp_path


def test_who_notices_is_told_and_the_copy_is_sound_again(project: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy = mutants.Copy(project, tmp_path / "copy")
    limits = mutants.limits(copy)
    sound = (project / "sim" / "model" / "one.py").read_text()
    told = {(m.kind, m.after): copy.killer(m, limits) for m in mutants.mutants(project, 100, 1)}
    assert told[("sum", "(a - 5)")] == "sign"
    assert told[("condition", "(not a > 0)")] == "sign"
    assert told[("constant", "(6)")] is None
    assert told[("comparison", "(a >= 0)")] is None
    assert (copy.folder / "sim" / "model" / "one.py").read_text() == sound


def test_a_mutant_that_runs_for_ever_is_killed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy = mutants.Copy(project, tmp_path / "copy")
    (mutant,) = mutants.mutants(project, 1, 1)
    endless = mutant._replace(text="while True: pass\n")
    assert copy.killer(endless, {"sign": 0.5}) == "sign"


def test_proofs_that_fail_by_themselves_end_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "PROOFS", {"never": ("-c", "raise SystemExit(1)")})
    (tmp_path / "copy").mkdir()
    with pytest.raises(SystemExit, match="never fails without a mutant"):
        mutants.limits(mutants.Copy(project, tmp_path / "copy"))


def test_the_proofs_are_there() -> None:
    for words in mutants.PROOFS.values():
        if words[1] == "pytest":
            assert [name for name in words if name.startswith("tests/") and not (ROOT / name).exists()] == []
        else:
            assert (ROOT / f"{words[1].replace('.', '/')}.py").is_file()
