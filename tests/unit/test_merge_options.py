"""Options: declared, parsed, checked, filled up, listed; and finding strategies."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

import pytest

from git_theta.errors import ThetaError
from git_theta.merges import registry
from git_theta.merges.interface import Strategy
from git_theta.merges.options import canonical, describe, fit, has_option, option, parse, parse_pairs, render


@dataclass(frozen=True)
class Options:
    size: float = option(0.5, "how large", above=0.0, most=1.0)
    steps: int = option(3, "how many", least=1)
    fast: bool = option(False, "whether")
    kind: Literal["one", "two"] = option("one", "which")
    lambda_: float | None = option(None, "perhaps")
    weight: tuple[float, ...] = option((1.0,), "each", least=0.0)
    part: tuple[float, ...] = option((), "shares", per_model="shares")
    source: tuple[str, ...] = option((), "own", per_model="own")


class Example(Strategy[Options]):
    name = "example"
    summary = formula = reference = use = ""
    options = Options


EXAMPLE = Example()


def test_defaults():
    assert parse(EXAMPLE, {}, "test") == Options()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("size", "1", 1.0),
        ("size", " 1e-3 ", 0.001),
        ("steps", "10", 10),
        ("fast", "yes", True),
        ("fast", "Off", False),
        ("fast", "1", True),
        ("kind", "two", "two"),
        ("lambda", "-2.5", -2.5),
        ("weight", "0.5", (0.5,)),
        ("weight", "1, 2,3", (1.0, 2.0, 3.0)),
        ("source", "main:a.bin,topic:b.bin", ("main:a.bin", "topic:b.bin")),
    ],
)
def test_values(key, text, value):
    options = parse(EXAMPLE, {key: text}, "test")
    assert getattr(options, "lambda_" if key == "lambda" else key) == value


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("size", "0", "a number above 0 and at most 1"),
        ("size", "1.5", "a number above 0 and at most 1"),
        ("size", "nan", "a number"),
        ("size", "much", "a number"),
        ("lambda", "inf", "a number"),
        ("steps", "2.5", "an integer at least 1"),
        ("steps", "0", "an integer at least 1"),
        ("fast", "maybe", "true or false"),
        ("kind", "three", "one of one, two"),
        ("weight", "1,-1", "a number at least 0"),
        ("weight", "1,,2", "a number at least 0"),
        ("source", "a,", "a text"),
    ],
)
def test_wrong_values_say_what_is_expected(key, text, expected):
    with pytest.raises(ThetaError, match="expected " + expected) as caught:
        parse(EXAMPLE, {key: text}, "rule 'x: example'")
    assert caught.value.message.startswith(f"rule 'x: example': {key}={text} of example")
    assert caught.value.remedy == "see: git theta strategies example"


def test_unknown_options_list_the_known_ones():
    with pytest.raises(ThetaError, match="no option 'densty'") as caught:
        parse(registry.by_name("ties"), {"densty": "1"}, "-o")
    for name in ("weight", "density", "elect", "lambda", "normalize", "trim"):
        assert name in caught.value.remedy


def test_values_that_do_not_go_together_name_the_origin():
    with pytest.raises(ThetaError, match=r"^-o: alpha, beta"):
        parse(registry.by_name("interpolate"), {"alpha": "1", "beta": "1"}, "-o")


def test_pairs():
    assert parse_pairs(["density=0.2", "Max_Iter=3", "weights=1", "weight=2", "a=b=c"], "-o") == {
        "density": "0.2",
        "max-iter": "3",
        "weight": "1,2",
        "a": "b=c",
    }
    for wrong in ("density", "=1", ""):
        with pytest.raises(ThetaError, match="key=value"):
            parse_pairs([wrong], "-o")


def test_one_value_per_model():
    options = fit(EXAMPLE, Options(weight=(2.0,), part=(0.4,), source=("a", "b", "c")), 3)
    assert options.weight == (2.0, 2.0, 2.0)
    assert options.part == pytest.approx((0.4, 0.3, 0.3))
    assert options.source == ("a", "b", "c")
    assert fit(EXAMPLE, Options(source=("a",)), 1).part == (1.0,)
    assert fit(EXAMPLE, Options(source=("a", "b")), 2).part == (0.5, 0.5)
    chosen = fit(EXAMPLE, Options(weight=(1.0, 2.0, 3.0), part=(0.4,), source=("a", "b", "c")), 3, [0, 2])
    assert (chosen.weight, chosen.source) == ((1.0, 3.0), ("a", "c"))
    assert chosen.part == pytest.approx((0.4, 0.3))
    for wrong in ({"weight": (1.0, 2.0)}, {"part": (1.0, 2.0)}, {"source": ("a",)}):
        with pytest.raises(ThetaError, match="values for 3 models"):
            fit(EXAMPLE, Options(**{"source": ("a", "b", "c"), **wrong}), 3)


def test_rendered_options_can_be_read_again():
    options = Options(0.25, 5, True, "two", 1.5, (1.0, 0.5), (0.7,), ("main:my file.bin", "b:c"))
    assert render(EXAMPLE, Options()) == "example"
    text = render(EXAMPLE, options)
    assert text == (
        "example size=0.25 steps=5 fast=true kind=two lambda=1.5 weight=1,0.5 part=0.7 "
        "'source=main:my file.bin,b:c'"
    )
    import shlex

    assert parse(EXAMPLE, parse_pairs(shlex.split(text)[1:], "test"), "test") == options


def test_description():
    described = {one.name: one for one in describe(EXAMPLE)}
    assert [one.kind for one in described.values()] == [
        "number",
        "integer",
        "true|false",
        "one|two",
        "number",
        "numbers, one per model",
        "numbers, one per model",
        "texts, one per model",
    ]
    assert described["size"].default == "0.5"
    assert described["lambda"].default == ""
    assert described["fast"].text == "whether"
    assert has_option(EXAMPLE, "lambda")
    assert not has_option(EXAMPLE, "lambda-")


def test_names_of_strategies():
    assert registry.by_name("Task_Arithmetic") is registry.by_name("task-arithmetic")
    assert canonical(" DARE_ties ") == "dare-ties"
    with pytest.raises(ThetaError, match=r"no merge strategy 'tise'; known: .*ties"):
        registry.by_name("tise")


def test_every_strategy_is_complete():
    for name in registry.names():
        strategy = registry.by_name(name)
        assert strategy.name == name
        for text in (strategy.summary, strategy.formula, strategy.reference, strategy.use):
            assert text
        assert strategy.summary.endswith(".")
        assert strategy.use.endswith(".")
        assert strategy.least >= 1
        assert all(one.text for one in describe(strategy))
        strategy.options()


def test_listing_strategies_does_not_import_torch():
    code = (
        "import sys\n"
        "from git_theta.merges import registry, options, rule_sources, plan, jobs\n"
        "for name in registry.names(): options.describe(registry.by_name(name))\n"
        "print(sorted({'torch', 'zarr', 'git'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
