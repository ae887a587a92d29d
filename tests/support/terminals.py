"""What commands do on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path


def on_a_terminal(folder: Path, *command: str, code: int | None = None, **environment: str) -> str:
    """What a command writes to a terminal.

    Args:
        code: the exit code that it must have, if that matters.
    """
    parent, child = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "TERM": "xterm", **environment},
        start_new_session=True,
    ) as process:
        os.close(child)
        output = b""
        while True:
            try:
                read = os.read(parent, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not read:
                break
            output += read
        process.wait(60)
    os.close(parent)
    assert code is None or process.returncode == code
    return output.decode().replace("\r\n", "\n")
