"""The remedies that the sources print, and those that the tests type: both read from the programs' text.

A text is a template: what the program writes itself, with a hole for each value that is put in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

HOLE = "\0"
_ERROR = "ThetaError"
_FINDING = "Finding"
_DEEP = 8
_ENOUGH = 12  # letters of prose that a test quotes
_GIT = (
    "add|am|apply|bundle|branch|check-attr|checkout|cherry-pick|clone|commit|config|diff|fetch|fsck|gc|init|log"
    "|ls-files|ls-remote|merge|pull|push|rebase|reflog|remote|replace|reset|restore|rev-parse|rm|show|stash|status"
    "|switch|tag|theta|unset|update-index|worktree"
)
_OTHERS = r"pip (?:un)?install|pipx install|rm -r?f?|chmod|sed -i\S*"
_COMMAND = re.compile(
    rf"(?<![\w/.-])(?:git (?:-[cC] \S+ )*(?:(?:{_GIT})\b|\0 --)|(?:{_OTHERS})\b)(?!-| has | needs )"
)


@dataclass(frozen=True, order=True)
class Remedy:
    """A remedy in the sources.

    Attributes:
        place: file:line.
        template: its text, with a hole for each value.
    """

    place: str
    template: str

    def __str__(self) -> str:
        return f"{self.place}: {shown(self.template)}"


def commands(template: str) -> list[int]:
    """Where commands start in it."""
    return [found.start() for found in _COMMAND.finditer(template)]


def shown(template: str) -> str:
    """A template for a person."""
    return template.replace(HOLE, "{}").replace("\n", "\\n")


@dataclass(frozen=True, eq=False)
class Module:
    """A source file."""

    path: Path
    tree: ast.Module

    @cached_property
    def functions(self) -> dict[str, list[ast.FunctionDef]]:
        found: dict[str, list[ast.FunctionDef]] = {}
        for node, _ in self.nodes:
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append(node)
        return found

    @cached_property
    def help(self) -> list[ast.expr]:
        """Texts that explain: docstrings, and what click shows."""
        statements = [node.value for node, _ in self.nodes if isinstance(node, ast.Expr)]
        options = [
            node.value for node, _ in self.nodes if isinstance(node, ast.keyword) and node.arg == "help"
        ]
        return [node for node in statements + options if isinstance(node, ast.Constant | ast.JoinedStr)]

    @cached_property
    def nodes(self) -> list[tuple[ast.AST, ast.FunctionDef | None]]:
        """Every node, with the innermost function around it."""
        found = []
        waiting: list[tuple[ast.AST, ast.FunctionDef | None]] = [(self.tree, None)]
        while waiting:
            node, function = waiting.pop()
            found.append((node, function))
            inner = node if isinstance(node, ast.FunctionDef) else function
            waiting.extend((child, inner) for child in ast.iter_child_nodes(node))
        return found


def read(folders: Iterable[Path]) -> list[Module]:
    """The Python files of these folders."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [Module(path, ast.parse(path.read_text())) for path in paths]


_FILL = "fill"
"""Puts a path into a text: see terminal.showing."""


@dataclass
class Sources:
    """What a program says when something is wrong, followed from where it is said to where it is written.

    Through variables, constants, arguments and the functions that return a text; what cannot be followed is
    a hole.
    """

    modules: list[Module]
    root: Path
    _followed: set[int] = field(default_factory=set)
    _found: dict[tuple[int, int], list[Remedy]] = field(default_factory=dict)

    def remedies(self) -> list[Remedy]:
        """The remedies of all errors and findings, then all other texts that hold a command."""
        errors = self._errors()
        found = set()
        for module in self.modules:
            for node, function in module.nodes:
                if isinstance(node, ast.Call) and _name(node.func) in errors:
                    where = 2 if _name(node.func) == _FINDING else 1
                    given = _argument(node, where, "remedy")
                elif isinstance(node, ast.Assign) and _name(node.targets[0]) == "remedy":
                    given = node.value
                else:
                    continue
                if given is not None:
                    found |= set(self._texts(given, module, function, _DEEP))
        return sorted(remedy for remedy in found | set(self._notes()) if _says_something(remedy.template))

    def typed(self) -> tuple[set[str], set[str]]:
        """What tests type with GitRepo.remedy, and what they do by hand as `does` says."""
        texts: dict[str, set[str]] = {"remedy": set(), "does": set()}
        for module in self.modules:
            for node, function in module.nodes:
                if isinstance(node, ast.Call) and _name(node.func) in texts and len(node.args) > 1:
                    found = self._texts(node.args[1], module, function, _DEEP)
                    texts[_name(node.func)] |= {
                        one.template for one in found if _says_something(one.template)
                    }
        return texts["remedy"], texts["does"]

    def _errors(self) -> set[str]:
        names = {_ERROR, _FINDING}
        classes = [
            node
            for module in self.modules
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ClassDef)
        ]
        for _ in classes:  # a class may stand before the one it is derived from
            names |= {one.name for one in classes if names & {_name(base) for base in one.bases}}
        return names

    def _notes(self) -> Iterator[Remedy]:
        for module in self.modules:
            self._followed |= set(map(id, module.help))
            for node, function in module.nodes:
                if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in self._followed:
                    yield from (
                        text for text in self._texts(node, module, function, 1) if commands(text.template)
                    )

    def _texts(
        self, node: ast.expr, module: Module, function: ast.FunctionDef | None, depth: int
    ) -> list[Remedy]:
        """What an expression can be. Names like `read` have so many callers that each is followed once."""
        key = id(node), depth
        if key not in self._found:
            self._found[key] = list(dict.fromkeys(self._follow(node, module, function, depth)))
        return self._found[key]

    def _follow(
        self, node: ast.expr, module: Module, function: ast.FunctionDef | None, depth: int
    ) -> Iterator[Remedy]:
        self._followed.add(id(node))
        place = f"{module.path.relative_to(self.root)}:{node.lineno}"
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield Remedy(place, node.value)
        elif isinstance(node, ast.IfExp):
            yield from self._all([node.body, node.orelse], module, function, depth)
        elif isinstance(node, ast.BoolOp):
            yield from self._all(node.values, module, function, depth)
        elif isinstance(node, ast.List | ast.Tuple):
            yield from self._all(node.elts, module, function, depth)
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                self._followed.add(id(part))
            yield from self._joined(place, node.values, module, function, depth)
        elif isinstance(node, ast.FormattedValue):
            yield from self._texts(node.value, module, function, depth)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield from self._joined(place, [node.left, node.right], module, function, depth)
        elif isinstance(node, ast.Attribute) and node.attr == "remedy":
            pass  # another error's: it stands where that is made
        elif isinstance(node, ast.Name) and depth:
            yield from self._named(node.id, place, module, function, depth - 1)
        elif isinstance(node, ast.Call) and depth:
            yield from self._called(node, place, module, function, depth - 1)
        else:
            yield Remedy(place, HOLE)

    def _all(
        self, nodes: Iterable[ast.expr], module: Module, function: ast.FunctionDef | None, depth: int
    ) -> Iterator[Remedy]:
        for node in nodes:
            yield from self._texts(node, module, function, depth)

    def _joined(
        self,
        place: str,
        parts: list[ast.expr],
        module: Module,
        function: ast.FunctionDef | None,
        depth: int,
    ) -> Iterator[Remedy]:
        """A text with holes, once with each command that can be put into one of them."""
        found = [list(self._texts(part, module, function, depth)) for part in parts]
        plain = [
            texts[0].template if isinstance(part, ast.Constant | ast.JoinedStr) and len(texts) == 1 else HOLE
            for part, texts in zip(parts, found, strict=True)
        ]
        whole = "".join(plain)
        filled = [
            Remedy(text.place, "".join([*plain[:number], text.template, *plain[number + 1 :]]))
            for number, texts in enumerate(found)
            if plain[number] == HOLE
            for text in texts
            if commands(text.template)
        ]
        yield from filled
        if commands(whole) or not filled:
            yield Remedy(place, whole)

    def _named(
        self, name: str, place: str, module: Module, function: ast.FunctionDef | None, depth: int
    ) -> Iterator[Remedy]:
        values = list(_assigned(name, function.body)) if function is not None else []
        if values:
            yield from self._all(values, module, function, depth)
        elif function is not None and (where := _parameter(function, name)) is not None:
            yield from self._given(module, function, where, name, depth)
        else:
            known = [(one, value) for one in self.modules for value in _assigned(name, one.tree.body, True)]
            own = [pair for pair in known if pair[0] is module] or known
            for one, value in own:
                yield from self._texts(value, one, None, depth)
            if not own:
                yield Remedy(place, HOLE)

    @cached_property
    def _calls(self) -> dict[str, list[tuple[ast.Call, Module, ast.FunctionDef | None]]]:
        """Every call by the name of what is called, and where it stands."""
        found: dict[str, list[tuple[ast.Call, Module, ast.FunctionDef | None]]] = {}
        for module in self.modules:
            for node, function in module.nodes:
                if isinstance(node, ast.Call):
                    found.setdefault(_name(node.func), []).append((node, module, function))
        return found

    def _given(
        self, module: Module, function: ast.FunctionDef, where: int, name: str, depth: int
    ) -> Iterator[Remedy]:
        """What callers give for a parameter."""
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call):
                yield from self._all(_parameters(decorator, name), module, None, depth)
        for node, caller, around in self._calls.get(function.name, ()):
            value = _argument(node, where, name)
            if value is not None:
                yield from self._texts(value, caller, around, depth)
        default = _default(function, name)
        if default is not None:
            yield Remedy(f"{function.name}", default)

    def _called(
        self, node: ast.Call, place: str, module: Module, function: ast.FunctionDef | None, depth: int
    ) -> Iterator[Remedy]:
        name = _name(node.func)
        if isinstance(node.func, ast.Attribute) and name in ("replace", "strip", "rstrip"):
            yield from self._texts(node.func.value, module, function, depth)
            return
        if name == _FILL and isinstance(node.func, ast.Name):
            yield from self._texts(node.args[0], module, function, depth)
            return
        if isinstance(node.func, ast.Attribute) and name == "join" and node.args:
            yield from self._texts(node.args[0], module, function, depth)
            return
        known = [(one, found) for one in self.modules for found in one.functions.get(name, ())]
        own = [pair for pair in known if pair[0] is module] or known
        returned = [
            (one, found, value)
            for one, found in own
            for inner in ast.walk(found)
            if isinstance(inner, ast.Return | ast.Yield) and (value := inner.value) is not None
        ]
        for one, found, value in returned:
            yield from self._texts(value, one, found, depth)
        if not returned:
            yield Remedy(place, HOLE)


def untyped(remedy: Remedy, typed: Iterable[str], done: Iterable[str]) -> bool:
    """Whether no test does what a remedy says: types each of its commands, or does its words by hand."""
    template = remedy.template
    words = [at for at, letter in enumerate(template) if letter != HOLE]
    found = [(at, _fits(template, at, text)) for text in done for at in range(len(template))]
    starts = {one.start(): one.end() for one in _COMMAND.finditer(template)}
    if not starts:
        enough = min(_ENOUGH, len(words))
        return not any(sum(at <= word < end for word in words) >= enough for at, end in found)
    covered = {start for at, end in found for start, stop in starts.items() if at <= start and stop <= end}
    for start in starts:
        for text in typed:
            end = _fits(template, start, text)
            if end and not re.match(r"\w|[ =]?\0| -", template[end:]):
                covered |= {other for other in starts if start <= other < end}
    return covered != starts.keys()


def _fits(template: str, start: int, text: str) -> int:
    """How far a template goes that has this text at a place; 0 if it has another there.

    What a hole of either stands for can be anything, but no option where an argument stands.
    """
    best = 0
    seen = set()
    waiting = [(start, 0)]
    while waiting:
        at, to = here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if to == len(text):
            best = max(best, at)
            continue
        if text[to] == HOLE:
            waiting.append((at, to + 1))
            if at < len(template) and not (text[to - 1 : to] == " " and _option(template, at)):
                waiting += [(at + 1, to), (at + 1, to + 1)]
        if at == len(template):
            continue
        if template[at] == HOLE:
            waiting.append((at + 1, to))
            if not (template[at - 1 : at] == " " and _option(text, to)):
                waiting += [(at, to + 1), (at + 1, to + 1)]
        elif template[at] == text[to]:
            waiting.append((at + 1, to + 1))
    return best


def _option(text: str, at: int) -> bool:
    return text[at] == "-" and text[at - 1 : at] == " "


def _says_something(template: str) -> bool:
    return re.search("[a-z]{3}", template) is not None


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _argument(call: ast.Call, where: int, name: str) -> ast.expr | None:
    if where < len(call.args):
        return call.args[where]
    return next((given.value for given in call.keywords if given.arg == name), None)


def _parameter(function: ast.FunctionDef, name: str) -> int | None:
    names = [one.arg for one in function.args.args if one.arg not in ("self", "cls")]
    names += [one.arg for one in function.args.kwonlyargs]
    return names.index(name) if name in names else None


def _parameters(decorator: ast.Call, name: str) -> Iterator[ast.expr]:
    """What a test is given for a parameter by pytest.mark.parametrize."""
    if _name(decorator.func) != "parametrize":
        return
    names, values = decorator.args
    listed = names.elts if isinstance(names, ast.List | ast.Tuple) else [names]
    words = [str(one.value) for one in listed if isinstance(one, ast.Constant)]
    order = [word.strip() for word in ",".join(words).split(",")]
    if name not in order or not isinstance(values, ast.List | ast.Tuple):
        return
    for value in values.elts:
        if len(order) == 1:
            yield value
        elif isinstance(value, ast.Tuple):
            yield value.elts[order.index(name)]


def _default(function: ast.FunctionDef, name: str) -> str | None:
    names = [one.arg for one in function.args.args]
    for one, value in zip(reversed(names), reversed(function.args.defaults), strict=False):
        if one == name and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def _assigned(name: str, body: Iterable[ast.AST], flat: bool = False) -> Iterator[ast.expr]:
    for statement in body:
        for node in [statement] if flat else ast.walk(statement):
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.AnnAssign | ast.AugAssign):
                targets = [node.target]
            else:
                continue
            if node.value is not None and name in {_name(target) for target in targets}:
                yield node.value
