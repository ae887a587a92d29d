"""Keeps Python and programs from being loaded from the current folder, whose files others have written.

Git starts filters and hooks in the top folder of a work tree, whose files others have written. Where
PYTHONPATH has an empty or a relative entry, Python takes modules from there; where PATH has one, programs.
This is imported before anything else, so it needs no more than what each Python has loaded by then. What
Python itself imports earlier (sitecustomize, git_theta) no program can hold off; `git theta doctor` says so.
"""

# pathlib would be imported from the folder that is to be left out:
# ruff: noqa: PTH117, PTH118, PTH120

from __future__ import annotations

import os
import sys

BEFORE = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
"""As they were: for the user's own hooks, which git would have started with them."""


def fixed(folders: str) -> str:
    """The absolute entries of a path variable; the others depend on the current folder."""
    return os.pathsep.join(folder for folder in folders.split(os.pathsep) if os.path.isabs(folder))


def leave_out_the_current_folder() -> None:
    """Take what means the current folder out of sys.path, and out of PATH and PYTHONPATH for children."""
    named = BEFORE.get("PYTHONPATH", "").split(os.pathsep)
    unwanted = {os.path.realpath(folder) for folder in ("", *named) if not os.path.isabs(folder)}
    own = os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir))
    sys.path[:] = [folder for folder in sys.path if _is_wanted(folder, unwanted, own)]
    for name, folders in BEFORE.items():
        # An empty PATH is the current folder.
        os.environ[name] = fixed(folders) or (os.defpath if name == "PATH" else "")


def _is_wanted(folder: str, unwanted: set[str], own: str) -> bool:
    """Whether an entry of sys.path stays: an installation, or an absolute path that is not excluded."""
    place = os.path.realpath(folder)
    installed = place == own or place.startswith(os.path.join(os.path.realpath(sys.prefix), "lib"))
    return installed or (os.path.isabs(folder) and place not in unwanted)


leave_out_the_current_folder()
