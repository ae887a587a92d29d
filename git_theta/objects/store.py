"""The local store: one file for each object, named by its SHA-256."""

from __future__ import annotations

import os
import re
import shlex
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from git_theta.errors import DamagedObject, MissingObject, NewerObject, ThetaError, cannot_write
from git_theta.files import TemporaryFolder, WholeFile, beside, make_folder
from git_theta.objects.copying import copy
from git_theta.objects.verifying import check, damaged, opened, unreadable, verify

if TYPE_CHECKING:
    from git_theta.objects.container import Container

_OPEN_FILES = 128
_WORKERS = 4  # verifying reads every byte, which threads share
_MODE = 0o444
_OID = re.compile(r"[0-9a-f]{64}\Z")


class LocalStore:
    """The objects of a repository, and those of the repositories that it borrows from.

    Others may write to the same store. What is no regular file is no object: it is as if it were not there,
    and gives way to the object. Nothing is written through a link in place of one of the folders that objects
    are spread over; the whole store, or the folder of all objects, may be a link to another disk.

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
        own = self._folders[0]
        self.temporary = TemporaryFolder((own if own.is_symlink() else root) / "tmp")  # on the objects' disk
        self._sync = sync
        self._containers: OrderedDict[str, Container] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, oid: str) -> Path | None:
        """Where an object lies, or None if it is not here."""
        if not _OID.match(oid):
            raise ValueError(f"{oid!r} is no oid")
        for folder, text in zip(self._folders, self._texts, strict=True):
            if _status(text, oid) is not None:
                return _path(folder, oid)
        return None

    def has(self, oid: str, size: int | None = None) -> bool:
        """Whether an object is here; with that size, where one is given.

        After a power failure a file can be shorter than what was written to it.
        """
        if not _OID.match(oid):
            raise ValueError(f"{oid!r} is no oid")
        for folder in self._texts:  # a push asks for tens of thousands, so no Path is made for each
            found = _status(folder, oid)
            if found is not None:
                return size is None or found.st_size == size
        return False

    def oids(self) -> Iterator[str]:
        """The objects of this repository (not those that it borrows), in no order."""
        for path in self._folders[0].glob("??/??/*"):
            if _OID.match(path.name) and _status(self._texts[0], path.name) is not None:
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
        path = self._place(oid)
        if path is None:
            raise MissingObject(f"object {oid[:12]} is not here", "git theta fetch", (oid,))
        try:
            found = Container(PositionedFile(str(path)))
        except NewerObject as error:
            raise NewerObject(f"object {oid[:12]}: {error.message}", error.remedy) from None
        except DamagedObject as error:
            raise DamagedObject(f"object {oid[:12]}: {error.message}", self.remedy(oid)) from None
        except OSError as error:
            raise DamagedObject(
                f"object {oid[:12]} cannot be read: {error.strerror} ({path})", self.remedy(oid)
            ) from None
        with self._lock:
            self._containers[oid] = found
            while len(self._containers) > _OPEN_FILES:
                self._containers.popitem(last=False)
        return found

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
        return f"rm -f {shlex.quote(str((self._place(oid) or Path(oid)).absolute()))}; git theta fetch --all"

    def _place(self, oid: str) -> Path | None:
        """Where an object lies; where it is not here, what lies in its place, if anything does."""
        places = (_path(folder, oid) for folder in self._folders)
        return self.find(oid) or next((path for path in places if os.path.lexists(path)), None)

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

                elsewhere = TemporaryFolder(Path(gettempdir()), ".git-theta-")
                elsewhere.clean_up()
                file = stack.enter_context(elsewhere.file())
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
            yield file, lambda oid: self._name(file, Path(str(file.name)), oid)

    def adopt(self, source: Path, oid: str, size: int, link: bool = False) -> None:
        """Take over an object from another store: cloned or copied, and verified.

        Args:
            link: make it a hard link, where that can be: then damage to one is damage to both.

        Raises:
            DamagedObject: what lies there is not this object.
            ThetaError: the store cannot be written.
        """
        if self.has(oid, size):
            return
        with self.temporary.file() as file:
            if link and self._link(source, Path(str(file.name)), oid, size):
                return
            with opened(source, oid) as original:
                if os.fstat(original.fileno()).st_size != size:
                    raise damaged(source, oid)
                try:
                    copy(original.fileno(), size, file)
                except OSError as error:
                    raise unreadable(source, oid, error) from None
            check(file, source, oid, size)
            self._name(file, Path(str(file.name)), oid)

    def _link(self, source: Path, temporary: Path, oid: str, size: int) -> bool:
        """Take over an object as a hard link; False where that cannot be.

        Its permissions are those of the original, which is not ours to change.
        """
        second = beside(temporary)  # a link would replace the file that is locked
        try:
            os.link(source, second, follow_symlinks=False)
            with opened(second, oid) as file:
                if os.fstat(file.fileno()).st_mode & 0o777 != _MODE:
                    return False
                check(file, source, oid, size)
                self._name(file, second, oid)
        except OSError:
            return False
        finally:
            second.unlink(missing_ok=True)
        return True

    def clean_up(self) -> int:
        """Remove temporary files that processes which died have left behind. Returns how many there were."""
        return self.temporary.clean_up()

    def _name(self, file: IO[bytes] | WholeFile, temporary: Path, oid: str) -> None:
        """Give a file that is whole, and open, the name of an object."""
        final = _path(self._folders[0], oid)
        for folder in (final.parent.parent, final.parent):
            if folder.is_symlink():
                raise ThetaError(
                    f"{folder} is a link, where a folder of objects should be",
                    f"rm {shlex.quote(str(folder.absolute()))}",
                )
        try:
            make_folder(final.parent)
            if os.fstat(file.fileno()).st_mode & 0o777 != _MODE:
                os.fchmod(file.fileno(), _MODE)
            if self._sync:
                os.fsync(file.fileno())
            if final.is_dir() and not final.is_symlink():
                final.rename(f"{final}.{os.urandom(4).hex()}")  # aside: only files give way by themselves
            temporary.replace(final)
            if self._sync:
                _flush_folder(final.parent)
        except OSError as error:
            raise cannot_write(self.root, error) from None


def _path(folder: Path, oid: str) -> Path:
    return folder / oid[:2] / oid[2:4] / oid


def _status(folder: str, oid: str) -> os.stat_result | None:
    """What the system says of an object's file; None where there is none, or no regular one.

    A push asks for tens of thousands, so no Path is made for each.
    """
    try:
        found = os.lstat(f"{folder}/{oid[:2]}/{oid[2:4]}/{oid}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
