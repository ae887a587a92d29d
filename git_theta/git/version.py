"""The installed git's version."""

from __future__ import annotations

import re
import subprocess

from git_theta.errors import ThetaError


def git_version() -> str:
    """As `git version` says it: "2.39.5".

    Raises:
        ThetaError: git is not installed.
    """
    try:
        done = subprocess.run(["git", "version"], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        raise ThetaError("git is not installed, or not on the PATH", "install Git 2.22 or newer") from None
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found.group() if found else done.stdout.strip()
