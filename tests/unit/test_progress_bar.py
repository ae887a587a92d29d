import io
import sys

import pytest

from git_theta.terminal import progress_bar
from git_theta.terminal.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float, done: int, of: int) -> str:
    """What is written for so much work after so much time."""
    clock = iter((100.0, 100.0 + seconds))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("TERM", "xterm")
    with ProgressBar("Merging a model") as bar:
        bar(done, of)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "done", "words"),
    [(10, 1, "25 %, 30 s left"), (100, 1, "25 %, 5:00 min left"), (7000, 2, "50 %, 1:56:40 h left")],
)
def test_says_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, seconds: float, done: int, words: str
) -> None:
    text = shown(monkeypatch, Terminal(), seconds, done, 4)
    assert f"Merging a model [{'#' * round(30 * done / 4):30}]  {words}" in text
    assert text.endswith("\r\x1b[K")


def test_is_silent_at_first_and_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), 0.5, 1, 4) == ""
    assert shown(monkeypatch, io.StringIO(), 10, 1, 4) == ""
