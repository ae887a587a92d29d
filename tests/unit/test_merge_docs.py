"""docs/merging.md says what the registry says."""

import itertools
from pathlib import Path

from git_theta.merges import registry
from git_theta.merges.options import describe
from git_theta.merges.rule_sources import Layer, resolve, thetaconfig

PAGE = Path(__file__).parents[2] / "docs" / "merging.md"


def row(name):
    """A strategy's row of the table."""
    strategy = registry.by_name(name)
    most = strategy.most
    models = (
        str(most)
        if most == strategy.least
        else f"{strategy.least} or {most}"
        if most
        else f"≥ {strategy.least}"
    )
    base = {"required": "yes", "optional": "on request", "unused": "no"}[strategy.base]
    options = [
        f"`{one.name}{'=' + one.default if one.default else ''}` {one.text}" for one in describe(strategy)
    ]
    cells = [
        f"`{name}`",
        strategy.summary,
        strategy.formula,
        ";<br>".join(options) or "none",
        models,
        base,
        strategy.reference,
        strategy.use,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def test_the_table_is_the_registry():
    page = PAGE.read_text(encoding="utf-8")
    lines = page[page.index("| name | what it does |") :].splitlines()[2:]
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines))
    expected = [row(name) for name in registry.names()]
    assert table == expected, "the table should read:\n" + "\n".join(expected)


def test_the_example_of_rules_is_one():
    page = PAGE.read_text(encoding="utf-8")
    start = page.index('[merge "models/*.safetensors"]')
    lines = page[start : page.index("```", start)].splitlines()[1:]
    pairs = [tuple(part.strip() for part in line.split("=", 1)) for line in lines if line.strip()]
    rules = resolve(
        [thetaconfig([(f"merge.models/*.safetensors.{k}", v) for k, v in pairs], "models/a.safetensors")]
    )
    assert str(rules.choose("h.0.attn")) == "ties density=0.2 rows=pad"
    assert str(rules.choose("lm_head.weight")) == "ours rows=pad"
    assert str(rules.choose("model.layers.0.q")) == "linear weight=0.7 rows=pad"
    assert [str(rename) for rename in rules.renames] == ["model.* -> transformer.*"]
    assert resolve([Layer.read("again", rules.settings())]).settings() == rules.settings()
