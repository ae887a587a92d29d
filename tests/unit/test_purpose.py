"""Whether anybody can keep what a git command prints about a file that it has cleaned."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_theta.drivers.purpose import Purpose, output_is_kept, purpose
from git_theta.git.callers import Caller

_PAGED = """
import os, subprocess, sys
pager = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
os.dup2(pager.stdin.fileno(), 1)
pager.stdin.close()
print("ready", file=sys.stderr, flush=True)
sys.stdin.read()
os.close(1)
pager.wait()
"""
"""A process that has started a pager, as git does."""


@pytest.fixture
def nobody() -> Iterator[int]:
    """A process whose output goes nowhere."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process.pid
        process.communicate()


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[int]:
    """A process whose output goes to a file."""
    with (
        (tmp_path / "kept").open("wb") as file,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as process,
    ):
        yield process.pid
        process.communicate()


@pytest.mark.parametrize(
    ("command", "looked_at", "kept"),
    [
        ("status", Purpose.LOOK, Purpose.LOOK),
        ("status -v", Purpose.LOOK, Purpose.SHOW),
        ("diff", Purpose.LOOK, Purpose.SHOW),
        ("diff --stat", Purpose.LOOK, Purpose.LOOK),
        ("diff --quiet -- --binary", Purpose.LOOK, Purpose.LOOK),
        ("diff --stat -p", Purpose.LOOK, Purpose.SHOW),
        ("diff --no-ext-diff", Purpose.LOOK, Purpose.SHOW),
        ("diff --binary", Purpose.PATCH, Purpose.PATCH),
        ("diff --bin", Purpose.PATCH, Purpose.PATCH),
        ("diff --output=patch", Purpose.PATCH, Purpose.PATCH),
        ("diff-index HEAD", Purpose.LOOK, Purpose.LOOK),
        ("diff-index --cached --quiet HEAD", Purpose.LOOK, Purpose.LOOK),
        ("diff-index -p HEAD", Purpose.LOOK, Purpose.PATCH),
        ("diff-index --binary --no-ext-diff HEAD --", Purpose.PATCH, Purpose.PATCH),
        ("diff-files -U0", Purpose.LOOK, Purpose.PATCH),
        ("log -p", Purpose.LOOK, Purpose.LOOK),
        ("blame model.pt", Purpose.LOOK, Purpose.LOOK),
        ("add .", Purpose.STORE, Purpose.STORE),
        ("apply patch", Purpose.STORE, Purpose.STORE),
        ("", Purpose.STORE, Purpose.STORE),
    ],
)
def test_purposes(command: str, looked_at: Purpose, kept: Purpose, nobody: int, somebody: int) -> None:
    words = command.split()
    assert (purpose(Caller(words, nobody)), purpose(Caller(words, somebody))) == (looked_at, kept)


class TestOutput:
    def test_a_file_or_nothing(self, nobody: int, somebody: int) -> None:
        assert not output_is_kept(nobody)
        assert output_is_kept(somebody)

    def test_a_pipe_is_kept(self) -> None:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert output_is_kept(process.pid)
            process.communicate()

    @pytest.mark.parametrize(
        ("pager", "kept"),
        [("cat", False), ("exec cat > FILE", True), ("tee FILE", True), ("cat | tee FILE", True)],
    )
    def test_a_pager_that_the_process_has_started(self, tmp_path: Path, pager: str, kept: bool) -> None:
        parent, child = pty.openpty()
        shell = ["sh", "-c", pager.replace("FILE", str(tmp_path / "kept"))] if kept else [pager]
        command = [sys.executable, "-c", _PAGED, *shell]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=child, stderr=pipe) as process:
            assert process.stderr is not None
            process.stderr.readline()
            assert output_is_kept(process.pid) == kept
            process.communicate()
        os.close(parent)
        os.close(child)

    def test_a_terminal(self) -> None:
        parent, child = pty.openpty()
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=child) as process:
            assert not output_is_kept(process.pid)
            process.communicate()
        os.close(parent)
        os.close(child)

    def test_a_process_that_is_not_there(self) -> None:
        assert output_is_kept(0), "in doubt"
