"""The local store: one file for each object, named by its SHA-256."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from git_theta.errors import DamagedObject, MissingObject, NewerObject, ThetaError, cannot_write
from git_theta.files import TemporaryFolder, beside, make_folder

if TYPE_CHECKING:
    from git_theta.objects.container import Container

_OPEN_FILES = 128
_WORKERS = 4  # verifying reads every byte, which threads share
_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_OID = re.compile(r"[0-9a-f]{64}\Z")


class LocalStore:
    """The objects of a repository, and those of the repositories that it borrows from.

    Args:
        root: the `theta` folder of the repository's common git directory.
        alternates: `theta` folders that are searched too, and never written to.
        sync: flush objects to the disk before they get their name.

    Attributes:
        temporary: where files are written that have no name yet.
    """

    def __init__(self, root: Path, alternates: Sequence[Path] = (), sync: bool = False) -> None:
        self.root = root
        self._folders = [folder / "objects" for folder in (root, *alternates)]
        self._texts = [str(folder) for folder in self._folders]
        self.temporary = TemporaryFolder(root / "tmp")
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

    def has(self, oid: str, size: int | None = None) -> bool:
        """Whether an object is here; with that size, where one is given.

        After a power failure a file can be shorter than what was written to it.
        """
        if not _OID.match(oid):
            raise ValueError(f"{oid!r} is no oid")
        for folder in self._texts:  # a push asks for tens of thousands, so no Path is made for each
            with suppress(FileNotFoundError, NotADirectoryError):
                found = os.stat(f"{folder}/{oid[:2]}/{oid[2:4]}/{oid}")  # noqa: PTH116
                return size is None or found.st_size == size
        return False

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
        except NewerObject as error:
            raise NewerObject(f"object {oid[:12]}: {error.message}", error.remedy) from None
        except DamagedObject as error:
            raise DamagedObject(f"object {oid[:12]}: {error.message}", self.remedy(oid)) from None
        except OSError as error:
            raise DamagedObject(f"object {oid[:12]} cannot be read: {error.strerror} ({path})") from None
        with self._lock:
            self._containers[oid] = opened
            while len(self._containers) > _OPEN_FILES:
                self._containers.popitem(last=False)
        return opened

    def damaged(self, oids: Iterable[str]) -> dict[str, ThetaError]:
        """Those of these objects whose bytes are not what their names say, or cannot be read."""

        def check(oid: str) -> ThetaError | None:
            try:
                path = self.find(oid)
                if path is not None:
                    verify(path, oid)
            except ThetaError as error:
                return error
            except OSError as error:
                return DamagedObject(f"object {oid[:12]} cannot be read: {error.strerror}", self.remedy(oid))
            return None

        asked = list(oids)
        with ThreadPoolExecutor(_WORKERS) as executor:
            found = zip(asked, executor.map(check, asked), strict=True)
            return {oid: error for oid, error in found if error is not None}

    def remedy(self, oid: str) -> str:
        """What to type when an object is damaged."""
        return f"rm -f {shlex.quote(str(self.find(oid) or oid))}; git theta fetch --all"

    @contextmanager
    def spool(self) -> Iterator[IO[bytes]]:
        """A temporary file; gone after the `with` block.

        It lies in the store's own folder, so that what is as large as a checkpoint needs room in one place
        only; where that cannot be written (commands that only look need not), in the system's.
        """
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self.temporary.file())
            except ThetaError:
                from tempfile import gettempdir  # slow to import, and seldom needed

                file = stack.enter_context(TemporaryFolder(Path(gettempdir())).file())
            yield file

    @contextmanager
    def write(self) -> Iterator[tuple[IO[bytes], Callable[[str], None]]]:
        """Write a new object: a file, and what to call with its oid once everything is written.

        Until then the object has no name that anything would find; if the block ends early, or the
        process dies, nothing of it is left but a file in `theta/tmp`.

        Raises:
            ThetaError: the store cannot be written.
        """
        with self.temporary.file() as file:
            yield file, lambda oid: self._rename(Path(str(file.name)), oid)

    def adopt(self, source: Path, oid: str, size: int) -> None:
        """Take over an object from another store: hard-linked, cloned or copied, and verified.

        Raises:
            DamagedObject: what lies there is not this object.
            ThetaError: the store cannot be written.
        """
        if self.has(oid, size):
            return
        with self.temporary.file() as file:
            temporary = beside(Path(str(file.name)))  # a link would replace the file that is locked
            try:
                self._adopt(source, temporary, oid, size)
            finally:
                temporary.unlink(missing_ok=True)

    def _adopt(self, source: Path, temporary: Path, oid: str, size: int) -> None:
        try:
            link_or_copy(source, temporary)
        except OSError as error:
            raise cannot_write(self.root, error) from None
        verify(temporary, oid, size)
        self._rename(temporary, oid)

    def leftovers(self) -> list[Path]:
        """Temporary files that processes which died have left behind."""
        return self.temporary.leftovers()

    def clean_up(self) -> None:
        """Remove temporary files that processes which died have left behind."""
        self.temporary.clean_up()

    def _rename(self, temporary: Path, oid: str) -> None:
        final = self._folders[0] / oid[:2] / oid[2:4] / oid
        try:
            make_folder(final.parent)
            if temporary.stat().st_mode & 0o777 != 0o444:  # a hard link can be someone else's
                temporary.chmod(0o444)
            if self._sync:
                _flush(temporary)
            temporary.replace(final)
            if self._sync:
                _flush(final.parent)
        except OSError as error:
            raise cannot_write(self.root, error) from None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
            f"rm -f {shlex.quote(str(path))}; git theta fetch --all",
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
