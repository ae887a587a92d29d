"""The display of how far long work is."""

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from git_theta.terminal import progress
from git_theta.terminal.progress import Progress, make_way

GONE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds that have passed."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0 + now[0])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("GIT_PROGRESS_DELAY", raising=False)
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))
    return stream


@pytest.mark.parametrize(
    ("seconds", "done", "words"),
    [
        (10, 1, "[#####               ] 25.0%, 1 of 4, 30 s left"),
        (100, 1, "[#####               ] 25.0%, 1 of 4, 5:00 min left"),
        (7000, 2, "[##########          ] 50.0%, 2 of 4, 1:56:40 h left"),
        (10, 4, "[####################]  100%, 4 of 4"),
        (10, 5, "[####################]  100%, 4 of 4"),
    ],
)
def test_says_how_long_it_takes(
    clock: Callable[[float], None], terminal: Terminal, seconds: float, done: int, words: str
) -> None:
    with Progress("Merging a model") as bar:
        clock(seconds)
        bar(done, 4)
        assert terminal.getvalue() == f"\rMerging a model {words}\x1b[K"
    assert terminal.getvalue().endswith(GONE)


def test_bytes_have_a_rate(clock: Callable[[float], None], terminal: Terminal) -> None:
    with Progress("Fetching objects", 8_000_000, sized=True) as bar:
        bar.advance(1_000_000)
        clock(2)
        bar.advance(1_000_000)
    assert " 25.0%, 2.0 MB of 8.0 MB, 1.0 MB/s, 6 s left\x1b[K" in terminal.getvalue()


def test_what_has_no_end_has_no_share(clock: Callable[[float], None], terminal: Terminal) -> None:
    with Progress("Storing m", sized=True) as bar:
        clock(2)
        bar.advance(1_000_000)
    assert terminal.getvalue() == f"\rStoring m 1.0 MB, 500 KB/s\x1b[K{GONE}"


def test_comes_after_a_second_and_then_ten_times_a_second(
    clock: Callable[[float], None], terminal: Terminal
) -> None:
    with Progress("Merging") as bar:
        for seconds, shown in ((0.5, 0), (0.9, 0), (1.5, 1), (1.52, 1), (1.7, 2)):
            clock(seconds)
            bar(1, 4)
            assert terminal.getvalue().count("Merging") == shown


def test_comes_when_git_says(
    clock: Callable[[float], None], terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_PROGRESS_DELAY", "0")
    with Progress("Merging") as bar:
        bar(1, 4)
        assert "Merging" in terminal.getvalue()


def test_nothing_is_written_for_what_is_quick(clock: Callable[[float], None], terminal: Terminal) -> None:
    with Progress("Merging") as bar:
        bar(4, 4)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("why", ["no terminal", "dumb", "quiet"])
def test_is_silent(clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    stream = io.StringIO() if why == "no terminal" else Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setenv("TERM", "dumb" if why == "dumb" else "xterm")
    with Progress("Merging", quiet=why == "quiet") as bar:
        clock(10)
        bar(1, 4)
    assert stream.getvalue() == ""


def test_makes_way_for_a_line(clock: Callable[[float], None], terminal: Terminal) -> None:
    with Progress("Storing m") as bar:
        clock(10)
        bar(1, 4)
        make_way()
        terminal.write("a warning\n")
    make_way()
    assert terminal.getvalue().endswith(f"{GONE}a warning\n")


def test_goes_when_interrupted(clock: Callable[[float], None], terminal: Terminal) -> None:
    with pytest.raises(KeyboardInterrupt), Progress("Merging") as bar:
        clock(10)
        bar(1, 4)
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith(GONE)
