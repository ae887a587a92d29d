"""The checkpoint formats: which one a file has, and which one a manifest names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from git_theta.checkpoints.layout import Format, Layout, Source, Span, View
from git_theta.checkpoints.remainder import Remainder
from git_theta.dtypes import DType
from git_theta.errors import BrokenPlugin, ThetaError
from git_theta.plugins import Registry, anything, lacking, one_of

GROUP = "git_theta.plugins.checkpoints"
OPAQUE = "opaque"
"""What manifests call the format of a file that no format recognises; no plug-in may have this name."""

PROBE = 4096
"""How many first bytes of a file `detect` is given, where the file has that many."""


def detect(head: bytes, pathname: str) -> Format | None:
    """The format of a file, or None where no format recognises it.

    The first bytes decide. Where several formats recognise them, the one that lists the file's suffix is
    taken, else the first: built-in ones before others, then by name. A broken format recognises nothing.

    Args:
        head: the first PROBE bytes of the file, or all that it has.
        pathname: its name.
    """
    first = None
    for form in _registry.find(lambda one: one.recognises(head[: one.probe])):
        if _is_named_for(form, pathname):
            return form
        first = first or form
    return first


def check_unrecognised(head: bytes, pathname: str, recorded: Iterable[str]) -> None:
    """Refuse a file that no format recognises if a broken plug-in is the one that would recognise it.

    Args:
        head, pathname: as for `detect`.
        recorded: formats that earlier versions of the file have, by name.

    Raises:
        BrokenPlugin: the file is of that plug-in's format, as what is recorded or the file's name says.
    """
    earlier = set(recorded)
    for name in _registry.names():
        form = _registry.by_name(name) if name in earlier else _registry.usable(name)
        if form is not None and (name in earlier or _is_named_for(form, pathname)):
            with _registry.calling(form):
                form.recognises(head[: form.probe])


def by_name(name: str) -> Format:
    """The format that a manifest names.

    Raises:
        BrokenPlugin: the package that brings it is broken.
        ThetaError: there is none. Lists the known ones.
    """
    return _registry.by_name(name)


def names() -> tuple[str, ...]:
    """The names of all formats, the built-in ones first."""
    return _registry.names()


def broken(heads: Iterable[bytes]) -> list[BrokenPlugin]:
    """What is wrong with the formats of other packages.

    Args:
        heads: the first PROBE bytes of files that they are to be asked about.
    """
    return _registry.broken(*(_question(head) for head in heads))


def _question(head: bytes) -> Callable[[Format], object]:
    return lambda form: form.recognises(head[: form.probe])


def _is_named_for(form: Format, pathname: str) -> bool:
    return pathname.lower().endswith(form.suffixes)


def flaw(form: Format) -> str:
    """How a format breaks the rules of its interface, in words; "" if it does not."""
    return _registry.flaw(form.name, form)


def _flaw(form: Format) -> str:
    if form.name == OPAQUE:
        return f"{OPAQUE} is what manifests call a file of no format"
    if not 0 < form.probe <= PROBE:
        return f"its probe is {form.probe}, and not from 1 to {PROBE}"
    if not isinstance(form.suffixes, tuple) or not all(isinstance(suffix, str) for suffix in form.suffixes):
        return "its suffixes are no tuple of texts"
    bool(form.streams)
    absent = lacking(form, "recognises", "layout", "expected_size", "patch", "write")
    if not absent:
        form.recognises(b"")
    return absent


def _layout(found: Any, source: Source) -> Any:
    """A layout, of which `checks.checked` can say whether the file has it. Raises TypeError for others."""
    one_of(Layout)(found)
    for one in (*found.spans, *found.views):
        one_of(Span, View)(one)
        texts = (one.name, one.of) if isinstance(one, View) else (one.name,)
        numbers = (one.offset, *one.shape, *(one.strides if isinstance(one, View) else ()))
        sound = isinstance(one.dtype, DType) and all(isinstance(text, str) for text in texts)
        if not sound or not all(isinstance(number, int) for number in numbers):
            raise TypeError(f"it gave {one!r}")
    return found


_RESULTS: Mapping[str, Callable[..., Any]] = {
    "recognises": anything,
    "layout": _layout,
    "expected_size": one_of(int, type(None)),
    "patch": one_of(bytes, bytearray),
    "write": anything,
    "remainder": one_of(Remainder),
    "write_merged": anything,
}
_registry: Registry[Format] = Registry(GROUP, "checkpoint format", _flaw, _RESULTS, (ThetaError, OSError))
