"""What every checkpoint format must pass; it needs nothing but the interface in `checkpoints.layout`."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from typing import BinaryIO

from git_theta.checkpoints import registry
from git_theta.checkpoints.checks import checked
from git_theta.checkpoints.layout import Format, Layout, Source
from git_theta.errors import DamagedCheckpoint
from git_theta.tensors import ArrayTensor

_FOREIGN = (
    b"",
    b"\0" * 4096,
    b"just text\n" * 40,
    b"\x7fELF\x02\x01\x01",
    b"\x89PNG\r\n\x1a\n",
    b"GGUF\x03\0\0\0",
)


class MemorySource:
    """A checkpoint in memory.

    Args:
        streamed: behave like a stream, whose end is not known and of which only the head can be had.
    """

    def __init__(self, data: bytes, *, streamed: bool = False) -> None:
        self.data = data
        self.streamed = streamed

    @property
    def size(self) -> int | None:
        return None if self.streamed else len(self.data)

    def head(self, count: int) -> bytes:
        return self.data[:count]

    def file(self) -> BinaryIO:
        assert not self.streamed, "a format that streams must not ask for the file"
        return io.BytesIO(self.data)


def read_layout(checkpoint_format: Format, data: bytes) -> Layout:
    """The checked layout of a whole file in memory, as a stream where the format streams.

    Raises:
        DamagedCheckpoint: as the format does, or because a stream is not as long as it should be.
    """
    source: Source = MemorySource(data, streamed=checkpoint_format.streams)
    layout = checked(checkpoint_format.layout(source), len(data))
    expected = checkpoint_format.expected_size(layout, source.head)
    if expected is not None and expected != len(data):
        raise DamagedCheckpoint(f"the file has {len(data)} bytes, and should have {expected}")
    return layout


def split(layout: Layout, data: bytes) -> tuple[dict[str, bytes], bytes]:
    """The bytes of each span by name, and the skeleton."""
    spans: dict[str, bytes] = {}
    skeleton, end = b"", 0
    for span in layout.spans:
        skeleton += data[end : span.offset]
        end = span.offset + span.nbytes
        spans[span.name] = data[span.offset : end]
    return spans, skeleton + data[end:]


def join(layout: Layout, spans: Mapping[str, bytes], skeleton: bytes) -> bytes:
    """The file that these spans and this skeleton make."""
    data, used = b"", 0
    for span in layout.spans:
        before = span.offset - len(data)
        data += skeleton[used : used + before] + spans[span.name]
        used += before
    return data + skeleton[used:]


def tensors(layout: Layout, spans: Mapping[str, bytes]) -> dict[str, ArrayTensor]:
    """The spans as tensors, by name, in file order."""
    return {span.name: ArrayTensor(span.dtype, span.shape, spans[span.name]) for span in layout.spans}


class FormatContract:
    """Round trips, files cut off at hundreds of places, damaged bytes, patching and writing.

    A format that cannot write sets `writes = False`.
    """

    writes = True

    def format(self) -> Format:
        """A new instance of the format."""
        raise NotImplementedError

    def files(self) -> Mapping[str, bytes]:
        """Whole files of the format, some kilobytes each, by a word about what is special in them."""
        raise NotImplementedError

    def test_describes_itself(self) -> None:
        checkpoint_format = self.format()
        assert registry.flaw(checkpoint_format) == ""
        for suffix in checkpoint_format.suffixes:
            assert suffix.startswith(".")
            assert suffix == suffix.lower()

    def test_recognises_its_own_files_and_no_others(self) -> None:
        checkpoint_format = self.format()
        for case, data in self.files().items():
            assert checkpoint_format.recognises(data[: checkpoint_format.probe]), case
        for foreign in _FOREIGN:
            assert not checkpoint_format.recognises(foreign[: checkpoint_format.probe]), foreign[:16]

    def test_spans_and_skeleton_make_the_file(self) -> None:
        for case, (layout, data) in self._layouts().items():
            assert layout.format == self.format().name
            assert join(layout, *split(layout, data)) == data, case

    def test_layout_depends_on_the_bytes_alone(self) -> None:
        for case, (layout, data) in self._layouts().items():
            assert read_layout(self.format(), data) == layout, case

    def test_every_truncated_file_is_refused(self) -> None:
        checkpoint_format = self.format()
        for case, data in self.files().items():
            for length in range(0, len(data), max(1, len(data) // 300)):
                cut = data[:length]
                if checkpoint_format.recognises(cut[: checkpoint_format.probe]):
                    assert _is_refused(checkpoint_format, cut), f"{case}, cut to {length} bytes"

    def test_damage_is_found_or_harmless(self) -> None:
        # Whatever is in the file: a layout that passes the checks, or DamagedCheckpoint, nothing else.
        draw = random.Random(1)  # noqa: S311 (test data)
        checkpoint_format = self.format()
        for layout, data in self._layouts().values():
            inside = {at for span in layout.spans for at in range(span.offset, span.offset + span.nbytes)}
            outside = [at for at in range(len(data)) if at not in inside]
            for _ in range(300):
                damaged = bytearray(data)
                for _ in range(draw.choice((1, 1, 2, 8))):
                    damaged[draw.choice(outside)] = draw.randrange(256)
                if checkpoint_format.recognises(bytes(damaged[: checkpoint_format.probe])):
                    _is_refused(checkpoint_format, bytes(damaged))

    def test_patching_with_the_same_values_changes_nothing(self) -> None:
        for case, (layout, data) in self._layouts().items():
            spans, skeleton = split(layout, data)
            assert self.format().patch(skeleton, layout, tensors(layout, spans)) == skeleton, case

    def test_what_is_written_reads_back(self) -> None:
        if not self.writes:
            return
        for case, (layout, data) in self._layouts().items():
            spans, skeleton = split(layout, data)
            written = [io.BytesIO(), io.BytesIO()]
            for target in written:
                self.format().write(target, list(tensors(layout, spans).items()), skeleton)
            assert written[0].getvalue() == written[1].getvalue(), case
            again = read_layout(self.format(), written[0].getvalue())
            read, _ = split(again, written[0].getvalue())
            assert read == spans, case
            assert {(s.name, s.dtype, s.shape) for s in again.spans} == {
                (s.name, s.dtype, s.shape) for s in layout.spans
            }, case
            assert again.views == layout.views, case

    def _layouts(self) -> dict[str, tuple[Layout, bytes]]:
        return {case: (read_layout(self.format(), data), data) for case, data in self.files().items()}


def _is_refused(checkpoint_format: Format, data: bytes) -> bool:
    try:
        read_layout(checkpoint_format, data)
    except DamagedCheckpoint:
        return True
    return False
