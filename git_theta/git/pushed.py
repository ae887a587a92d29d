"""What was pushed, as far as this repository has seen it: git keeps no trace of a push by url.

`theta/pushed` has a line for each oid that a push was about to bring somewhere. Nothing is concluded from it
but that such a commit must not be rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from git_theta import files
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository

_OID = re.compile(r"[0-9a-f]{40,64}")


def record(repository: Repository, tips: Sequence[str]) -> str:
    """Remember what is pushed, before it is. Returns a line for the user where that could not be done."""
    known = set(pushed(repository))
    lines = "".join(f"{oid}\n" for oid in tips if oid not in known)
    try:
        if lines:
            files.append(repository.theta / "pushed", lines.encode())
    except ThetaError as error:
        return f"cannot note what was pushed ({error.message}), which git theta repack must not rewrite"
    return ""


def pushed(repository: Repository) -> list[str]:
    """The oids that pushes have brought somewhere, or were about to; some may be gone by now."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return [oid for oid in (repository.theta / "pushed").read_text().split() if _OID.fullmatch(oid)]
    return []
