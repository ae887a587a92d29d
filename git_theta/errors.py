"""The errors that git-theta expects. Anything else that reaches a user's screen is a bug."""

from __future__ import annotations

import errno
from pathlib import Path

UPGRADE = "pip install -U git-theta"


class ThetaError(Exception):
    """Something went wrong that the user can mend.

    Args:
        message: what happened, naming the file and, where there is one, the tensor.
        remedy: the next command to type, or the next thing to do.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class DamagedCheckpoint(ThetaError):
    """A file that its first bytes say is a checkpoint, but that breaks the rules of its format."""


class DamagedManifest(ThetaError):
    """A text that starts like a manifest, but is not one that git-theta wrote."""


class NewerManifest(DamagedManifest):
    """A manifest that only a newer git-theta can read. It is left as it is."""

    def __init__(self, version: int, known: int) -> None:
        super().__init__(
            f"made by a newer git-theta (version {version} of the manifest; this git-theta reads {known})",
            UPGRADE,
        )


class UnstoredManifest(DamagedManifest):
    """A whole manifest without storage lines, whose data nobody has stored where they could be found."""


class DamagedObject(ThetaError):
    """A stored object whose bytes are not what its name or its members' digests say."""


class NewerObject(DamagedObject):
    """An object that only a newer git-theta can read, or one with the plug-in that has made it."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy or UPGRADE)


class BrokenPlugin(ThetaError):
    """A plug-in of another package that cannot be used. Only what needs that very one is refused."""


class MissingObject(ThetaError):
    """An object that a manifest names and that is neither here nor on a remote."""

    def __init__(self, message: str, remedy: str = "", oids: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy)
        self.oids = oids


def cannot_write(place: Path, error: OSError) -> ThetaError:
    """The error for a place that cannot be written: full, read-only, not ours."""
    return ThetaError(
        f"cannot write to {place}: {error.strerror or error}",
        "make room or mend the permissions there, then type the command again; nothing stored was lost",
    )


def too_little_memory(error: BaseException) -> ThetaError | None:
    """The ThetaError for any exception that means that memory has run out; None for other exceptions."""
    said = str(error)
    texts = ("not enough memory", "can't allocate memory", "failed to map segment", "can't start new thread")
    system = isinstance(error, OSError) and error.errno == errno.ENOMEM
    library = isinstance(error, (RuntimeError, ImportError)) and any(text in said for text in texts)
    if not (isinstance(error, MemoryError) or system or library):
        return None
    return ThetaError("there is not enough memory", "close other programs, and try again")
