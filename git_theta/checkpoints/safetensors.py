"""safetensors: eight bytes of length, a JSON header, then the tensors without gaps.

Read here without the safetensors package, because importing it and handing it a file costs more than the
header does. What it refuses is refused here too (checked against version 0.8), and duplicate names as well.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from git_theta.checkpoints.checks import check_dimensions, elements
from git_theta.checkpoints.layout import Layout, Source, Span
from git_theta.checkpoints.tensor_bytes import pieces
from git_theta.dtypes import BYTES, DType, dtype
from git_theta.errors import DamagedCheckpoint, ThetaError

if TYPE_CHECKING:
    from git_theta.checkpoints.remainder import Remainder
    from git_theta.tensors import Tensor

MAX_HEADER = 100_000_000  # the limit of the reference implementation
_LARGE = 1 << 20
"""Characters of a header from which on it is looked at before it is read: JSON can take 60 times as much."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_METADATA = "__metadata__"
_SHOWN = 40  # characters of an entry of __metadata__
_ALIGNMENT = 8
_START = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*(?:[\"}]|\Z)")
_TEXT = re.compile(rb"[\t\n\r -~]{8}")

# Dtypes that git-theta knows and the reference implementation does not: it refuses a whole file for one.
_REFUSED = frozenset(("C32", "C128"))


class Safetensors:
    """The safetensors format (see `checkpoints.layout.Format`).

    A dtype that git-theta does not know yet must not make `git add` fail: such a tensor is read as raw
    bytes, U8 with one dimension.
    """

    name = "safetensors"
    suffixes: tuple[str, ...] = (".safetensors",)
    streams = True
    probe = 64

    def recognises(self, head: bytes) -> bool:
        # Eight bytes of text are no length: as a number they are far beyond any file's size.
        return bool(_START.match(head, 8)) and not _TEXT.match(head)

    def layout(self, source: Source) -> Layout:
        header = _read_header(source.head)
        base = 8 + len(header)
        spans: list[Span] = []
        for name, fields in _members(header):
            if name != _METADATA:
                spans.append(_span(name, fields, base))
        spans.sort(key=lambda span: (span.offset, span.nbytes, span.name))
        end = base
        for span in spans:
            if span.offset != end:
                what = "overlaps with another one" if span.offset < end else "leaves a gap before it"
                raise DamagedCheckpoint(
                    f"tensor {span.name!r} {what}: it starts at byte {span.offset}, expected {end}"
                )
            end += span.nbytes
        if source.size is not None and source.size != end:
            raise DamagedCheckpoint(f"the file has {source.size} bytes; its header says {end}")
        return Layout(self.name, tuple(spans))

    def expected_size(self, layout: Layout, head: Callable[[int], bytes]) -> int | None:
        return 8 + int.from_bytes(head(8), "little") + sum(span.nbytes for span in layout.spans)

    def patch(self, skeleton: bytes, layout: Layout, tensors: Mapping[str, Tensor]) -> bytes:
        return skeleton  # the format has no checksums

    def write(self, target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], like: bytes | None) -> None:
        """Write a file; see `Format.write`.

        The data are ordered by the width of their items, widest first, so that every tensor is aligned;
        among equals the order given stays. Files that the reference implementation wrote have that order
        already. `__metadata__` is that of `like`, a header.
        """
        _write(target, tensors, _metadata(like) if like is not None else None)

    def remainder(self, skeleton: bytes) -> Remainder:
        """The entries of `__metadata__`; places in the file and the order of entries are no parts."""
        from git_theta.checkpoints.remainder import Remainder

        found = {f"{_METADATA}.{key}": text for key, text in (_metadata(skeleton) or {}).items()}
        shown = {name: repr(text) for name, text in found.items() if len(text) <= _SHOWN}
        return Remainder(found, shown=shown)

    def write_merged(
        self,
        target: BinaryIO,
        tensors: Sequence[tuple[str, Tensor]],
        skeletons: Mapping[int, bytes],
        like: int,
        chosen: Mapping[str, int],
    ) -> None:
        """See Divisible.write_merged. New entries of `__metadata__` stand behind the others."""
        entries = {number: _metadata(one) for number, one in skeletons.items()}
        keys = dict.fromkeys(key for number in (like, *entries) for key in entries[number] or {})
        found = [(key, entries.get(chosen.get(f"{_METADATA}.{key}", like))) for key in keys]
        merged = {key: one[key] for key, one in found if one is not None and key in one}
        _write(target, tensors, merged or (entries[like] and {}))


def _metadata(skeleton: bytes) -> dict[str, str] | None:
    """What `__metadata__` has in the header that a file begins with; None where it is not there."""
    kept = dict(_members(_read_header(lambda count: skeleton[:count]))).get(_METADATA)
    return None if kept is None else dict(kept)


def _write(
    target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], metadata: Mapping[str, str] | None
) -> None:
    header: dict[str, Any] = {} if metadata is None else {_METADATA: dict(metadata)}
    ordered = sorted(tensors, key=lambda named: -named[1].dtype.itemsize)
    offset = 0
    for name, tensor in ordered:
        if name in header or name == _METADATA:
            raise ThetaError(f"safetensors cannot hold a tensor of the name {name!r} here: it is taken")
        _check_writable(name, tensor)
        start, offset = offset, offset + tensor.dtype.nbytes(tensor.shape)
        header[name] = {
            "dtype": tensor.dtype.name,
            "shape": list(tensor.shape),
            "data_offsets": [start, offset],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    target.write(len(text).to_bytes(8, "little"))
    target.write(text)
    for _, tensor in ordered:
        for piece in pieces(tensor):
            target.write(piece)


def _read_header(head: Callable[[int], bytes]) -> bytes:
    start = head(8)
    if len(start) < 8:
        raise DamagedCheckpoint(f"the file ends after {len(start)} bytes, before its header")
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER:
        raise DamagedCheckpoint(f"the header claims {length} bytes; the most allowed is {MAX_HEADER}")
    header = head(8 + length)[8:]
    if len(header) < length:
        raise DamagedCheckpoint(f"the file is cut off: of {length} bytes of header {len(header)} are there")
    return header


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, which is how doubled names are seen."""


def _is_nested(outside: str) -> bool:
    """Whether there are more lists and objects than names, in a header without its strings."""
    return outside.count("[") + outside.count("{") > outside.count(":") + 1


def _members(header: bytes) -> _Object:
    try:
        text = header.decode()
    except UnicodeDecodeError as error:
        raise DamagedCheckpoint(f"the header is not valid UTF-8 at its byte {error.start}") from None
    if len(text) > _LARGE and _is_nested(_STRING.sub("", text)):
        raise DamagedCheckpoint("the header has lists of lists or of objects, which no safetensors file has")
    try:
        members = json.loads(text, object_pairs_hook=_Object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"the header is not valid JSON: {error}") from None
    if not isinstance(members, _Object):
        raise DamagedCheckpoint("the header is not a JSON object")
    names = [name for name, _ in members]
    if len(set(names)) != len(names):
        double = next(name for name, count in Counter(names).items() if count > 1)
        raise DamagedCheckpoint(f"tensor {double!r} stands twice in the header")
    for name, value in members:
        if name == _METADATA and not _is_metadata(value):
            raise DamagedCheckpoint(f"{_METADATA} in the header does not map strings to strings")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _is_metadata(value: Any) -> bool:
    if isinstance(value, _Object):
        return all(isinstance(text, str) for _, text in value)
    return value is None  # the reference implementation reads null as if it were not there


def _span(name: str, pairs: Any, base: int) -> Span:
    try:
        fields = dict(pairs)
        kind, shape, (start, stop) = fields["dtype"], fields["shape"], fields["data_offsets"]
        plain = isinstance(pairs, _Object) and len(fields) == len(pairs)
        plain = plain and isinstance(kind, str) and isinstance(shape, list)
        plain = plain and all(type(number) is int and number >= 0 for number in (*shape, start, stop))
    except (KeyError, TypeError, ValueError):
        plain = False
    if not plain:
        raise DamagedCheckpoint(f"tensor {name!r} is not described as safetensors describes tensors")
    check_dimensions(name, shape)
    if stop < start:
        raise DamagedCheckpoint(f"tensor {name!r} ends at byte {stop}, before its start {start}")
    known = _known(kind)
    if known is None:
        return Span(name, BYTES, (stop - start,), base + start)
    if elements(shape) * known.bits != (stop - start) * 8:
        raise DamagedCheckpoint(
            f"tensor {name!r} has {stop - start} bytes, which is not what {kind} of shape {shape} needs"
        )
    return Span(name, known, tuple(shape), base + start)


def _known(name: str) -> DType | None:
    try:
        return dtype(name)
    except ThetaError:
        return None


def _check_writable(name: str, tensor: Tensor) -> None:
    if tensor.dtype.name in _REFUSED:
        raise ThetaError(f"safetensors cannot hold tensor {name!r}: it is of dtype {tensor.dtype.name}")
    if elements(tensor.shape) * tensor.dtype.bits % 8:
        raise ThetaError(
            f"safetensors cannot hold tensor {name!r}: {tensor.dtype.name} of shape "
            f"{list(tensor.shape)} does not end at a whole byte"
        )
