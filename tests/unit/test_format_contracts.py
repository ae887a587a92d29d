"""The shared checks for formats find the mistakes that formats make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from git_theta.checkpoints.layout import Layout, Span
from git_theta.checkpoints.safetensors import Safetensors
from git_theta.dtypes import BYTES
from git_theta.errors import DamagedCheckpoint
from git_theta.testing.formats import FormatContract, MemorySource, join, read_layout, split

HEADER = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
FILE = len(HEADER).to_bytes(8, "little") + HEADER + b"abcd"


class Trusting(Safetensors):
    """Believes that no file was ever cut off."""

    def expected_size(self, layout: Layout, head: Any) -> None:
        return None

    def layout(self, source: Any) -> Layout:
        return Layout(self.name, (Span("a", BYTES, (4,), 61),) if len(source.head(61)) == 61 else ())


class Crashing(Safetensors):
    def layout(self, source: Any) -> Layout:
        try:
            return super().layout(source)
        except DamagedCheckpoint:
            raise IndexError from None


class Fickle(Safetensors):
    calls = 0

    def layout(self, source: Any) -> Layout:
        Fickle.calls += 1
        return Layout(self.name, (Span(f"a{Fickle.calls}", BYTES, (4,), 61),))


class Meddling(Safetensors):
    def patch(self, skeleton: bytes, layout: Any, tensors: Any) -> bytes:
        return skeleton + b" "


class Losing(Safetensors):
    def write(self, target: Any, tensors: Any, like: Any) -> None:
        super().write(target, tensors[1:], like)


class Greedy(Safetensors):
    def recognises(self, head: bytes) -> bool:
        return True


class Shouting(Safetensors):
    suffixes = ("SAFETENSORS",)


Checks = FormatContract


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Trusting, Checks.test_every_truncated_file_is_refused),
        (Crashing, Checks.test_damage_is_found_or_harmless),
        (Fickle, Checks.test_layout_depends_on_the_bytes_alone),
        (Meddling, Checks.test_patching_with_the_same_values_changes_nothing),
        (Losing, Checks.test_what_is_written_reads_back),
        (Greedy, Checks.test_recognises_its_own_files_and_no_others),
        (Shouting, Checks.test_describes_itself),
    ],
)
def test_finds_the_mistake(broken: type[Safetensors], check: Callable[[FormatContract], None]) -> None:
    class Of(FormatContract):
        def __init__(self, one: type[Safetensors]) -> None:
            self.one = one

        def format(self) -> Safetensors:
            return self.one()

        def files(self) -> dict[str, bytes]:
            return {"file": FILE}

    check(Of(Safetensors))
    with pytest.raises((AssertionError, IndexError)):
        check(Of(broken))


def test_splitting_and_joining() -> None:
    layout = read_layout(Safetensors(), FILE)
    spans, skeleton = split(layout, FILE)
    assert (spans, skeleton) == ({"a": b"abcd"}, FILE[:-4])
    assert join(layout, spans, skeleton) == FILE
    with pytest.raises(DamagedCheckpoint):
        read_layout(Safetensors(), FILE + b"e")


def test_a_streamed_source_has_no_file() -> None:
    source = MemorySource(FILE, streamed=True)
    assert source.size is None
    with pytest.raises(AssertionError):
        source.file()
