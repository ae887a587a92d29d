"""git theta add: stages a checkpoint with an update that the user has at hand, or chooses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from git_theta import files
from git_theta.checkpoints import registry as formats
from git_theta.checkpoints.checks import checked
from git_theta.checkpoints.layout import Format, Layout, Span
from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.file_tensors import FileTensor
from git_theta.filters.source import Content
from git_theta.git.repository import Repository
from git_theta.merging import applied_updates
from git_theta.objects.writer import TensorWriter
from git_theta.regular import read_regular
from git_theta.storing.keeper import Keeper
from git_theta.tensors import Tensor
from git_theta.terminal.showing import operand, pathspec, printable
from git_theta.updates import registry as kinds
from git_theta.updates.adapter_files import guides
from git_theta.updates.adapters import Guide, Replaced
from git_theta.updates.interface import Base, Proposal, Target
from git_theta.updates.peft_config import ELSEWHERE
from git_theta.versions.checkpoint import from_file
from git_theta.versions.recorded import Related, recorded
from git_theta.versions.recovery import named
from git_theta.versions.stock import stock

_CONFIG = "adapter_config.json"
_PIECE = 1 << 20


class Guided:
    """A checkpoint in the work tree, and what is known about how it came about.

    Args:
        path: of the file, from the current folder.
        update: name of an update kind to prefer, or "".
        adapter: file that holds the update, or None; read from until `close`.
        scale: how many times the adapter's change is applied.

    Raises:
        ThetaError: the file is no checkpoint; the adapter does not fit it; there is no such update kind.
    """

    def __init__(
        self, repository: Repository, path: Path, update: str, adapter: Path | None, scale: float = 1.0
    ) -> None:
        self._repository = repository
        self._path = path
        files.check_named(path, repository.work_tree)
        top = repository.work_tree.resolve()
        self._pathname = path.resolve().relative_to(top).as_posix()
        self._kind = kinds.by_name(update).name if update else ""
        self._given = [adapter, adapter.with_name(_CONFIG)] if adapter is not None else []
        self._scale = scale
        self._adapter = ExitStack()
        try:
            found = self._read(adapter) if adapter is not None else {}
        except BaseException:
            self.close()
            raise
        self._guides = found if scale == 1 else {name: guide.times(scale) for name, guide in found.items()}

    def close(self) -> None:
        """Close the adapter's file."""
        self._adapter.close()

    def apply(self) -> None:
        """Write the file anew, with the adapter applied to the tensors that it changes.

        The file is replaced in one step: until then it stays as it was. After that it stays as it is, however
        often this is done before `staged`.
        """
        repository, path = self._repository, self._pathname
        update = applied_updates.name_of(self._given, self._scale)
        with self._path.open("rb") as file:
            if applied_updates.is_applied(repository, path, update, file):
                return
            form, layout = self._layout(file)
            spans = {span.name: span for span in layout.spans}
            for name, guide in self._guides.items():
                _check_number(spans[name], guide)
            made: dict[str, Tensor] = {
                name: guide.apply(FileTensor(spans[name], file)) for name, guide in self._guides.items()
            }
            everything = {name: made.get(name) or FileTensor(span, file) for name, span in spans.items()}
            skeleton = form.patch(_outside(file, layout), layout, everything)
            top, aside = repository.work_tree, repository.store.temporary
            with files.replacing(self._path, top=top, aside=aside) as target:
                file.seek(0)
                shutil.copyfileobj(file, target, _PIECE)
                _overwrite(target, layout, made, skeleton)
                applied_updates.note(repository, path, update, target)

    def staged(self) -> None:
        """Note that git has staged the file."""
        applied_updates.forget(self._repository, self._pathname)

    def store(self) -> int:
        """Store the tensors that the update is for, predicted as it says wherever that helps.

        `git add` then finds them stored. Returns how many there were.
        """
        with self._path.open("rb") as file, ThreadPoolExecutor(os.cpu_count() or 2) as threads:
            _, layout = self._layout(file)
            settings = self._repository.config.settings()
            versions = [manifest for _, manifest in recorded(self._repository, self._pathname)]
            repository = self._repository
            there = stock(repository, versions, Related(repository, settings.base))
            keeper = Keeper(there, TensorWriter(repository.store, threads, settings.grouping), settings)
            digests = []
            for span in layout.spans:
                if self._guides and span.name not in self._guides:
                    continue
                tensor = FileTensor(span, file)
                target, digest = Target(span.name, tensor), tensor.digest()
                chains = there.bases.chains(span.name, span.dtype, span.shape)
                bases = list(there.bases.find(span.name, chains, settings.max_chain_depth))
                proposal = next((one for base in bases for one in self._proposals(target, base)), None)
                keeper.gather(keeper.keep(target, digest, proposal))
                digests.append(digest)
            keeper.finish()
            there.ledger.record(there.ledger.storage(digests))
        return len(digests)

    def _proposals(self, target: Target, base: Base) -> Sequence[Proposal]:
        """What the adapter, or else the preferred kind, makes of a base."""
        guide = self._guides.get(target.name)
        if guide is not None:
            return list(guide.propose(target, base))
        return list(kinds.by_name(self._kind).propose(target, [base])) if self._kind else ()

    def _read(self, adapter: Path) -> dict[str, Guide]:
        with self._path.open("rb") as file:
            shapes = {span.name: span.shape for span in self._layout(file)[1].spans}
        opened = from_file(self._repository, adapter, str(adapter))
        self._adapter.callback(opened.close)
        if opened.manifest.format == formats.OPAQUE:
            raise ThetaError(
                f"{printable(str(adapter))} is no checkpoint that is known",
                "give a .safetensors or .bin file",
            )
        tensors = {line.name: opened.tensor(line) for line in opened.manifest.tensors}
        found = guides(tensors, _config(adapter), shapes)
        wrong = {guide.kind for guide in found.values()} - {self._kind, "dense"}
        if self._kind and wrong:
            raise ThetaError(
                f"{printable(str(adapter))} holds updates of kind {', '.join(sorted(wrong))}, "
                f"not {self._kind}",
                f"git theta add {operand(str(self._path))} --update {min(wrong)} "
                f"--update-data {operand(str(adapter))}",
            )
        return found

    def _layout(self, file: IO[bytes]) -> tuple[Format, Layout]:
        content = Content.of(file)
        form = formats.detect(content.head(formats.PROBE), self._pathname)
        if found := stand_ins.of_file(self._path):
            raise named(self._pathname, found.refusal())
        if form is None:
            raise ThetaError(
                f"{printable(str(self._path))} is no checkpoint of a known format",
                f"git add {pathspec(str(self._path))}",
            )
        try:
            return form, checked(form.layout(content), content.size)
        except ThetaError as error:
            error.message = f"{printable(str(self._path))}: {error.message}"
            raise


def _check_number(span: Span, guide: Guide) -> None:
    """Refuse to compute with codes, such as quantised weights. What is replaced by its like is none."""
    if isinstance(guide, Replaced) and guide.share == 1 and guide.tensor.dtype == span.dtype:
        return
    if span.dtype.kind != "float":
        raise ThetaError(
            f"the adapter changes {span.name!r}, which holds {span.dtype.name} and no floating point numbers",
            ELSEWHERE,
        )


def _config(adapter: Path) -> Mapping[str, Any] | None:
    """peft's description of an adapter, from the file beside it."""
    file = adapter.with_name(_CONFIG)
    try:
        config = json.loads(read_regular(file, follow=True))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ThetaError(f"{file} cannot be read: {error}", "mend it, or move it away") from None
    if not isinstance(config, dict):
        raise ThetaError(f"{file} is no description of an adapter", "mend it, or move it away")
    return config


def _outside(file: IO[bytes], layout: Layout) -> bytes:
    """The skeleton: everything between the spans."""
    parts = []
    position = 0
    for span in layout.spans:
        file.seek(position)
        parts.append(file.read(span.offset - position))
        position = span.offset + span.nbytes
    file.seek(position)
    return b"".join([*parts, file.read()])


def _overwrite(file: IO[bytes], layout: Layout, made: Mapping[str, Tensor], skeleton: bytes) -> None:
    """Put new tensors and a skeleton of the same length into a file."""
    position = used = 0
    for span in layout.spans:
        file.seek(position)
        file.write(skeleton[used : used + span.offset - position])
        used += span.offset - position
        position = span.offset + span.nbytes
        if span.name in made:
            file.seek(span.offset)
            file.write(made[span.name].read(0, made[span.name].items).tobytes())
    file.seek(position)
    file.write(skeleton[used:])
