"""The installed git's version, and the oldest that will do."""

from __future__ import annotations

import re
import subprocess

from git_theta.errors import ThetaError

OLDEST = (2, 34)
"""That of Ubuntu 22.04. Before 2.31 there is no GIT_CONFIG_COUNT."""

INSTALL = f"install Git {'.'.join(map(str, OLDEST))} or newer"


def git_version() -> str:
    """The version of the installed git, such as "2.39.5".

    Raises:
        ThetaError: git is not installed.
    """
    try:
        done = subprocess.run(["git", "version"], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        raise ThetaError("git is not installed, or not on the PATH", INSTALL) from None
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found.group() if found else done.stdout.strip()


def numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def check() -> str:
    """The installed git's version, which is new enough.

    Raises:
        ThetaError: it is not, or git is not installed.
    """
    if numbers(version := git_version()) < OLDEST:
        raise ThetaError(f"git {version} is too old", INSTALL)
    return version
