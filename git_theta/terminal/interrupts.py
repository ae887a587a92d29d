"""Ctrl-C: once is enough, and it waits for what must not be left half-done."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SAME = 1.0  # seconds within which a second one is the first, sent on


def heed_the_first() -> None:
    """Raise KeyboardInterrupt once for each time that a user types Ctrl-C.

    Git sends SIGINT on to the commands that it has started, so those at a terminal get it twice; the second
    one would disturb the cleaning up after the first.
    """
    last = -_SAME

    def interrupted(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _SAME:
            last = time.monotonic()
            raise KeyboardInterrupt

    # Where it is not Python's own, whoever started us has it ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _in_main_thread():
        signal.signal(signal.SIGINT, interrupted)


def heed_no_more() -> None:
    """Let SIGINT be: the process ends already, and another one would only make a mess of that."""
    if _in_main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Held:
    """Whether SIGINT came, but was held back."""

    came = False


@contextmanager
def held_back() -> Iterator[Held]:
    """Let SIGINT wait until a block has ended.

    Processes that the block starts get it nevertheless, unless they are in a session of their own.

    Raises:
        KeyboardInterrupt: at the end of the block, if SIGINT came.
    """
    held = Held()

    def note(number: int, frame: FrameType | None) -> None:
        held.came = True

    handler = signal.signal(signal.SIGINT, note) if _in_main_thread() else None
    try:
        yield held
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
    if held.came:
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
