"""The local store: one file for each object, named by its SHA-256."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING

from git_theta.errors import DamagedObject, MissingObject, ThetaError

if TYPE_CHECKING:
    from git_theta.objects.container import Container

_OPEN_FILES = 128
_STALE_SECONDS = 24 * 3600
_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_OID = re.compile(r"[0-9a-f]{64}\Z")


class LocalStore:
    """The objects of a repository, and those of the repositories that it borrows from.

    Args:
        root: the `theta` folder of the repository's common git directory.
        alternates: `theta` folders that are searched too, and never written to.
        sync: flush objects to the disk before they get their name.
    """

    def __init__(self, root: Path, alternates: Sequence[Path] = (), sync: bool = False) -> None:
        self.root = root
        self._folders = [folder / "objects" for folder in (root, *alternates)]
        self._temporary = root / "tmp"
        self._sync = sync
        self._containers: OrderedDict[str, Container] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, oid: str) -> Path | None:
        """Where an object lies, or None if it is not here."""
        if not _OID.match(oid):
            raise ValueError(f"{oid!r} is no oid")
        for folder in self._folders:
            path = folder / oid[:2] / oid[2:4] / oid
            if path.exists():
                return path
        return None

    def has(self, oid: str) -> bool:
        return self.find(oid) is not None

    def oids(self) -> Iterator[str]:
        """The objects of this repository (not those that it borrows), in no order."""
        for path in self._folders[0].glob("??/??/*"):
            if _OID.match(path.name):
                yield path.name

    def container(self, oid: str) -> Container:
        """An object, opened. Recently used ones stay open.

        Raises:
            MissingObject: it is not here.
            DamagedObject: it is not an object.
        """
        from git_theta.objects.container import Container, PositionedFile  # needs NumPy

        with self._lock:
            found = self._containers.get(oid)
            if found is not None:
                self._containers.move_to_end(oid)
                return found
        path = self.find(oid)
        if path is None:
            raise MissingObject(f"object {oid[:12]} is not here", "git theta fetch", (oid,))
        try:
            opened = Container(PositionedFile(str(path)))
        except DamagedObject as error:
            raise DamagedObject(f"object {oid[:12]}: {error.message}", self.remedy(oid)) from None
        with self._lock:
            self._containers[oid] = opened
            while len(self._containers) > _OPEN_FILES:
                self._containers.popitem(last=False)
        return opened

    def remedy(self, oid: str) -> str:
        """What to type when an object is damaged."""
        return f"rm {self.find(oid) or oid}; git theta fetch; git theta fsck"

    @contextmanager
    def spool(self) -> Iterator[IO[bytes]]:
        """A temporary file in the store's own folder; gone after the `with` block."""
        with self._new() as file:
            try:
                yield file
            finally:
                with suppress(FileNotFoundError):
                    Path(file.name).unlink()

    @contextmanager
    def write(self) -> Iterator[tuple[IO[bytes], Callable[[str], None]]]:
        """Write a new object: a file, and what to call with its oid once everything is written.

        Until then the object has no name that anything would find; if the block ends early, or the
        process dies, nothing of it is left but a file in `theta/tmp`.
        """
        with self._new() as file:

            def keep(oid: str) -> None:
                file.flush()
                if self._sync:
                    os.fsync(file.fileno())
                self._rename(Path(file.name), oid)

            try:
                yield file, keep
            finally:
                with suppress(FileNotFoundError):
                    Path(file.name).unlink()

    def adopt(self, source: Path, oid: str, size: int) -> None:
        """Take over an object from another store: hard-linked, cloned or copied, and verified.

        Raises:
            DamagedObject: what lies there is not this object.
        """
        if self.has(oid):
            return
        with self._new() as file:
            temporary = Path(file.name)
        try:
            link_or_copy(source, temporary)
            verify(temporary, oid, size)
            self._rename(temporary, oid)
        finally:
            temporary.unlink(missing_ok=True)

    def clean_up(self) -> None:
        """Remove temporary files that processes which died have left behind."""
        if not self._temporary.is_dir():
            return
        for path in self._temporary.iterdir():
            with suppress(OSError):
                process = int(path.name.partition("-")[0]) if path.name[0].isdigit() else 0
                if not _runs(process) or time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def _new(self) -> IO[bytes]:
        try:
            self._temporary.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what is written comes in large pieces.
            return NamedTemporaryFile(
                dir=self._temporary, prefix=f"{os.getpid()}-", delete=False, buffering=0
            )
        except OSError as error:
            raise cannot_write(self.root, error) from None

    def _rename(self, temporary: Path, oid: str) -> None:
        final = self._folders[0] / oid[:2] / oid[2:4] / oid
        final.parent.mkdir(parents=True, exist_ok=True)
        if temporary.stat().st_mode & 0o777 != 0o444:  # a hard link can be someone else's
            temporary.chmod(0o444)
        temporary.replace(final)
        if self._sync:
            folder = os.open(final.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def cannot_write(place: Path, error: OSError) -> ThetaError:
    """The error for a store that cannot be written: full, read-only, not ours."""
    return ThetaError(
        f"cannot write to {place}: {error.strerror or error}",
        "make room or mend the permissions there, then type the command again; nothing stored was lost",
    )


def verify(path: Path, oid: str, size: int | None = None) -> None:
    """Check a file against its oid.

    Raises:
        DamagedObject: the bytes or the size are others.
    """
    found = sha256()
    with path.open("rb", buffering=0) as file:
        buffer = memoryview(bytearray(1 << 20))
        while count := file.readinto(buffer):
            found.update(buffer[:count])
    if found.hexdigest() != oid or (size is not None and path.stat().st_size != size):
        raise DamagedObject(
            f"object {oid[:12]} is damaged: its bytes are not what its name says ({path})",
            f"rm {path}; git theta fetch; git theta fsck",
        )


def link_or_copy(source: Path, target: Path) -> None:
    """Put source's bytes at target: a hard link, else a clone or a copy. Replaces target."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        if not _clone(source, target):
            shutil.copyfile(source, target)


def _clone(source: Path, target: Path) -> bool:
    """Let both files share their blocks until one is written to, where Linux and the file system can."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    with source.open("rb") as original, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False
    return True


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process > 0
