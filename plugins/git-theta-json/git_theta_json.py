"""Checkpoints kept as nested JSON lists: {"layer": {"weight": [[0.5, 1.0], [2.0, -1.5]], "bias": [0, 0]}}.

git-theta stores, compares and restores raw bytes, and that is what makes it exact. The numbers of this format
are text. So a tensor here *is* its text: the span is the text of the outermost list of numbers, of dtype U8,
called by the path of keys that leads to it. That gives everything that works on bytes: a file comes back as
it was, unchanged tensors are stored once, `git theta status` and `git diff` name those that changed, and a
merge takes a tensor from one side or the other. What it does not give is arithmetic on the numbers.

The same way is open to every format whose tensors are not raw bytes (compressed, encrypted, text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from git_theta.checkpoints.layout import Layout, Source, Span
from git_theta.checkpoints.tensor_bytes import pieces
from git_theta.dtypes import BYTES
from git_theta.errors import DamagedCheckpoint, ThetaError

if TYPE_CHECKING:
    from git_theta.tensors import Tensor

_MAX_DEPTH = 100
_START = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:[ \t\r\n]*[\[{]')
_SPACE = re.compile(r"[ \t\r\n]*")
_KEY = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_NUMBERS = re.compile(r"[\[\]0-9 \t\r\n,.eE+\-NaInfity]*")  # with the names that Python's json writes
_NUMBER = re.compile(r"[0-9NI]")
_decode = json.JSONDecoder().raw_decode


class Json:
    """The format; see `git_theta.checkpoints.layout.Format` for what each member means."""

    name = "json"
    suffixes: tuple[str, ...] = (".json",)
    # JSON says nowhere how long its lists are, so they cannot be found without the whole file.
    streams = False
    probe = 1024

    def recognises(self, head: bytes) -> bool:
        return bool(_START.match(head))

    def layout(self, source: Source) -> Layout:
        file = source.file()
        file.seek(0)
        found = _scan(file.read(), hollow=False)
        spans = tuple(Span(one.name, BYTES, (one.end - one.start,), one.start) for one in found)
        return Layout(self.name, spans)

    def expected_size(self, layout: Layout, head: Callable[[int], bytes]) -> int | None:
        return None  # `layout` has seen the end

    def patch(self, skeleton: bytes, layout: Layout, tensors: Mapping[str, Tensor]) -> bytes:
        """The skeleton as it is, if the new values are still lists of numbers."""
        for span in layout.spans:
            _text(span.name, tensors[span.name])
        return skeleton

    def write(self, target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], like: bytes | None) -> None:
        """Write a file with these lists in the places that they have in `like`, a skeleton.

        Raises:
            ThetaError: a tensor is no text of a list of numbers, or has no place in `like`.
        """
        texts = {name: _text(name, tensor) for name, tensor in tensors}
        if like is None:
            members = (json.dumps(name).encode() + b": " + text for name, text in texts.items())
            target.write(b"{" + b", ".join(members) + b"}\n")
            return
        places = _scan(like, hollow=True)
        if {place.name for place in places} != set(texts):
            raise ThetaError(
                "tensors cannot be added to a JSON checkpoint, nor removed from it, by git-theta"
            )
        end = 0
        for place in places:
            target.write(like[end : place.start] + texts[place.name])
            end = place.start
        target.write(like[end:])


@dataclass(frozen=True)
class _List:
    """The outermost list of numbers at a path; in a skeleton, the empty place where it was."""

    name: str
    start: int
    end: int


def _scan(data: bytes, *, hollow: bool) -> list[_List]:
    """The lists of numbers in a JSON text, in file order.

    Args:
        hollow: the text is a skeleton: where a value is missing, there was a list.

    Raises:
        DamagedCheckpoint: the text is not JSON.
    """
    try:
        data.decode()
        scanner = _Scanner(data.decode("latin-1"), hollow)  # one character a byte: places are offsets
        end = scanner.space(scanner.members(scanner.space(0), None, 0))
        if end != len(data):
            raise ValueError(f"more after its end, at byte {end}")
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"the file is not JSON: {error}") from None
    return scanner.found


class _Scanner:
    """Walks over a JSON text. Every method takes the place where its thing starts and returns its end."""

    def __init__(self, text: str, hollow: bool) -> None:
        self.text = text
        self.hollow = hollow
        self.found: list[_List] = []

    def space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def value(self, at: int, path: str, depth: int) -> int:
        start = self.text[at : at + 1]
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
        if start == "{":
            return self.members(at, path, depth)
        if start == "[" and (end := self.numbers(at)):
            self.found.append(_List(path, at, end))
            return end
        if start == "[":
            return self.items(at, path, depth)
        return _decode(self.text, at)[1]

    def numbers(self, at: int) -> int | None:
        """The end of a list that holds numbers and nothing else, or None where it is none."""
        run = _NUMBERS.match(self.text, at)
        assert run is not None
        if run[0].count("]") < run[0].count("["):  # it goes on with something that is no number
            return None
        end: int = _decode(self.text, at)[1]
        return end if _NUMBER.search(self.text, at, end) else None

    def members(self, at: int, path: str | None, depth: int) -> int:
        at = self.expect("{", at)
        while self.text[at : at + 1] != "}":
            key = _KEY.match(self.text, at)
            if key is None:
                raise ValueError(f"no name at byte {at}")
            name = json.loads(key[0].encode("latin-1"))
            name = name if path is None else f"{path}.{name}"
            colon = self.space(key.end())
            at = self.expect(":", colon)
            if self.missing(at):
                self.place(colon + 2 if self.text[colon + 1] == " " else colon + 1, name)
            else:
                at = self.space(self.value(at, name, depth + 1))
            if self.text[at : at + 1] != "}":
                at = self.expect(",", at)
                if self.text[at : at + 1] == "}":
                    raise ValueError(f"nothing after the comma before byte {at}")
        return at + 1

    def items(self, at: int, path: str, depth: int) -> int:
        at = self.expect("[", at)
        if self.text[at : at + 1] == "]":
            return at + 1
        index = 0
        while True:
            if self.missing(at):
                self.place(at, f"{path}.{index}")
            else:
                at = self.space(self.value(at, f"{path}.{index}", depth + 1))
            if self.text[at : at + 1] == "]":
                return at + 1
            at = self.expect(",", at)
            index += 1

    def missing(self, at: int) -> bool:
        return self.hollow and self.text[at : at + 1] in (",", "}", "]")

    def place(self, at: int, path: str) -> None:
        self.found.append(_List(path, at, at))

    def expect(self, character: str, at: int) -> int:
        """The place after this character and the space behind it."""
        if self.text[at : at + 1] != character:
            raise ValueError(f"no {character!r} at byte {at}")
        return self.space(at + 1)


def _text(name: str, tensor: Tensor) -> bytes:
    """The text that a tensor is; ThetaError if it is not one list of numbers."""
    text = b"".join(bytes(piece) for piece in pieces(tensor)) if tensor.dtype == BYTES else b""
    try:
        whole = text.startswith(b"[") and _Scanner(text.decode("ascii"), hollow=False).numbers(0) == len(text)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise ThetaError(
            f"tensor {name!r} is not the text of a list of numbers, all that a JSON checkpoint holds"
        )
    return text
