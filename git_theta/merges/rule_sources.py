"""Where the rules of a merge come from, and which place has the last word: options, environment, files.

    [merge "models/*.safetensors"]
        strategy = ties
        density = 0.2
        rule = lm_head.*: ours
        rule = *.layers.0.*: linear weight=0.7
        rename = embed.weight -> wte.weight
        rows = common
        one-sided = take

Places are asked in this order: command line, environment, git config, `.thetaconfig`. The first one that
names a strategy decides for all tensors; rules of the places before it, and its own, decide for the tensors
that they match. Of several rules that match, that of the earlier place wins, in one place the later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from git_theta.errors import ThetaError
from git_theta.merges import registry
from git_theta.merges.options import canonical, has_option, parse_pairs
from git_theta.merges.rules import (
    Choice,
    Rules,
    parse_one_sided,
    parse_rename,
    parse_rows,
    parse_rule,
    parse_strategy,
)

COMMAND_LINE = "the command line"


@dataclass(frozen=True)
class Layer:
    """The settings for merges from one place, such as the command line or git config.

    Attributes:
        origin: the place, for messages.
        strategy: a strategy with options, as in a rule; "" for none.
        values: options by canonical name.
        one_sided: what becomes of tensors that some side has not changed; "" if nothing is said.
        apply: the strategy that changes are applied with; "" if nothing is said.
        resolutions: rules for what is in conflict else, as the record of a merge has them.
        strict: whether an option that the strategy does not have is wrong, even if another place names
            the strategy.
    """

    origin: str
    strategy: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    renames: tuple[str, ...] = ()
    rows: str = ""
    one_sided: str = ""
    apply: str = ""
    strict: bool = False
    resolutions: tuple[str, ...] = ()

    @classmethod
    def read(cls, origin: str, pairs: Iterable[tuple[str, str]], strict: bool = False) -> Layer:
        """A layer from (key, value): strategy, rule, rename, rows, one-sided, apply, resolution, or an
        option; a later value wins.
        """
        single: dict[str, str] = {}
        several: dict[str, list[str]] = {"rule": [], "rename": [], "resolution": []}
        for key, value in pairs:
            name = canonical(key)
            if name in several:
                several[name].append(value)
            else:
                single[name] = value
        strategy, rows = single.pop("strategy", "").strip(), single.pop("rows", "")
        one_sided, apply = single.pop("one-sided", ""), single.pop("apply", "").strip()
        values = parse_pairs((f"{key}={value}" for key, value in single.items()), origin)
        rules, renames, resolutions = map(tuple, several.values())
        return cls(origin, strategy, values, rules, renames, rows, one_sided, apply, strict, resolutions)


def command_line(
    strategy: str | None, options: Sequence[str] = (), rules: Sequence[str] = (), renames: Sequence[str] = ()
) -> Layer:
    """What `--strategy`, `-o key=value` and `--rule` say; `rows` and `one-sided` are given with -o."""
    values = parse_pairs(options, "-o")
    rows, one_sided = values.pop("rows", ""), values.pop("one-sided", "")
    return Layer(
        COMMAND_LINE,
        (strategy or "").strip(),
        values,
        tuple(rules),
        tuple(renames),
        rows,
        one_sided,
        strict=True,
    )


def favoured(side: str) -> Layer:
    """The layer for git's -X ours or -X theirs: that side, only for what both have changed."""
    return Layer(COMMAND_LINE, side, one_sided="take", strict=True)


def applying(origin: str, strategy: str) -> Layer:
    """The layer for applying changes (cherry-pick, rebase) that one place gives: a strategy with options."""
    return Layer(origin, strategy.strip())


def environment(value: str | None) -> Layer:
    """What GIT_THETA_MERGE says: a strategy with options."""
    return Layer("GIT_THETA_MERGE", (value or "").strip())


def git_config(pairs: Iterable[tuple[str, str]]) -> Layer:
    """What git config says in `theta.merge` and `theta.merge.<option>`.

    Args:
        pairs: (key, value) as `git config --list -z` gives them, all or some.
    """
    found = []
    for key, value in pairs:
        lower = key.lower()
        if lower == "theta.merge":
            found.append(("strategy", value))
        elif lower.startswith("theta.merge."):
            found.append((lower.removeprefix("theta.merge."), value))
    return Layer.read("git config theta.merge", found)


def thetaconfig(pairs: Iterable[tuple[str, str]], path: str) -> Layer:
    """What the sections [merge] and [merge "GLOB"] of `.thetaconfig` say for a path.

    Args:
        pairs: (key, value) as `git config --list -z --file .thetaconfig` gives them.
        path: of the checkpoint, from the top of the repository. Globs match as in .gitattributes.
    """
    found = []
    for key, value in pairs:
        section, _, rest = key.partition(".")
        pattern, _, name = rest.rpartition(".")
        if section.lower() == "merge" and (not pattern or path_matches(pattern, path)):
            found.append((name, value))
    return Layer.read(".thetaconfig", found)


def resolve(layers: Sequence[Layer]) -> Rules:
    """Combine the layers of all places into the rules of a merge; earlier layers go before later ones.

    Raises:
        ThetaError: something does not follow the grammar, or there is no such strategy or option. Names
            the place and the rule, and lists what is valid.
    """
    deciding = next((place for place, layer in enumerate(layers) if layer.strategy), None)
    asked = layers if deciding is None else layers[: deciding + 1]
    if deciding is None and any(layer.strict and layer.values for layer in layers):
        raise ThetaError("options are given with -o, but no merge strategy", "add --strategy NAME")
    if deciding is None:
        for layer in layers:
            _check_names(layer)
    rows = next((parse_rows(layer.rows, layer.origin) for layer in layers if layer.rows), None)
    said = ((layer.one_sided, layer.origin) for layer in layers if layer.one_sided)
    one_sided = next((parse_one_sided(*one) for one in said), None)
    return Rules(
        None if deciding is None else _default(layers, deciding),
        tuple(parse_rule(text, layer.origin) for layer in reversed(asked) for text in layer.rules),
        tuple(parse_rename(text, layer.origin) for layer in layers for text in layer.renames),
        rows,
        one_sided,
        tuple(parse_rule(text, layer.origin) for layer in layers for text in layer.resolutions),
    )


def path_matches(pattern: str, path: str) -> bool:
    """Whether a glob matches a path as in .gitattributes: without a slash it is matched with the name.

    In time that grows with the product of their lengths, whatever the glob: it comes with the repository.
    """
    names = path.split("/")
    if "/" not in pattern:
        return _name_matches(names[-1], pattern)
    parts = pattern.lstrip("/").split("/")
    reached = {0}  # how many names the parts up to here can stand for
    for number, part in enumerate(parts):
        if part != "**":
            reached = {at + 1 for at in reached if at < len(names) and _name_matches(names[at], part)}
        elif number < len(parts) - 1:
            reached = {*range(min(reached, default=len(names)), len(names))}
        else:
            reached = {len(names)} if any(at < len(names) for at in reached) else set()
    return len(names) in reached


def _name_matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[^", "[!"))


def _default(layers: Sequence[Layer], deciding: int) -> Choice:
    """The strategy of a layer, with its options and those that other layers give for it."""
    strategy, _, _ = parse_strategy(layers[deciding].strategy, layers[deciding].origin)
    values: dict[str, str] = {}
    rows = one_sided = ""
    for place, layer in reversed(list(enumerate(layers))):
        if layer.strategy:
            other, words, own_rows = parse_strategy(layer.strategy, layer.origin)
            own_one_sided = words.pop("one-sided", "")
            if other is strategy:
                values |= {**words, **layer.values}
                rows, one_sided = own_rows, own_one_sided
        elif layer.strict:
            values |= layer.values
        else:
            _check_names(layer)
            values |= {key: value for key, value in layer.values.items() if has_option(strategy, key)}
        if place == deciding:
            registry.parse(strategy, values, layer.origin)  # so that its own mistakes are named as such
    options = registry.parse(strategy, values, layers[0].origin)
    origin = layers[deciding].origin
    return Choice(
        strategy,
        options,
        parse_rows(rows, origin),
        False,
        origin,
        parse_one_sided(one_sided, origin),
        typed=origin == COMMAND_LINE,
    )


def _check_names(layer: Layer) -> None:
    """Refuse options that no strategy has."""
    known = [strategy for name in registry.names() if (strategy := registry.usable(name))]
    for key in layer.values:
        if not any(has_option(strategy, key) for strategy in known):
            raise ThetaError(
                f"{layer.origin}: no merge strategy has an option {key!r}", "see: git theta strategies"
            )
