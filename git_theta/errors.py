"""The errors that git-theta expects. Anything else that reaches a user's screen is a bug."""

from __future__ import annotations

from pathlib import Path


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


class DamagedObject(ThetaError):
    """A stored object whose bytes are not what its name or its members' digests say."""


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
