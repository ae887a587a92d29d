"""Clean and smudge for a repository: what the filter process and the single-shot commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from git_theta.chains import closure
from git_theta.errors import ThetaError
from git_theta.filters import prepared
from git_theta.filters.clean import Cleaner, Request
from git_theta.filters.content import Content
from git_theta.filters.known import Known
from git_theta.filters.smudge import Smudger, Write
from git_theta.git import attributes, callers, conflicts, misplaced
from git_theta.git.recorded import recorded, related
from git_theta.git.recovery import named
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.settings import Settings
from git_theta.tensors import Tensor


class Filters:
    """The two directions, for one repository.

    Args:
        command: the git command that calls (see callers).
        warn: shows a line to the user.
    """

    def __init__(
        self, repository: Repository, settings: Settings, command: Sequence[str], warn: Callable[[str], None]
    ) -> None:
        if command[:1] == ["stash"]:  # it only puts aside, and must be able to, whatever the file is
            settings = replace(settings, allow_damaged=True)
        self._repository = repository
        self._settings = settings
        self._warn = warn
        self._looks_only = callers.only_looks(command)
        self._may_store = callers.may_store(command)
        self._adopts = callers.adopts(command)
        self._adds = list(command[:1]) == ["add"]
        self._smudger = Smudger(repository.objects)
        self._cleaner = Cleaner(repository.objects, self._known, settings, warn)
        repository.store.clean_up()
        prepared.clean_up(repository.store)

    def clean(self, content: Content, pathname: str) -> bytes:
        """The manifest of a file; see Cleaner.clean for what is raised. Errors name the file."""
        request = Request(
            pathname,
            recorded(self._repository, pathname),
            lambda: related(self._repository, self._settings.base),
            self._looks_only,
            self._adopts,
            lambda: misplaced.blobs(self._repository, pathname),
            lambda: attributes.encoding(self._repository, pathname),
        )
        try:
            text = self._cleaner.clean(content, request)
        except ThetaError as error:
            raise named(pathname, error) from None
        if self._adds and (warning := conflicts.warning(self._repository, pathname, text)):
            self._warn(warning)
        return text

    def smudge(self, manifest: Manifest, write: Write) -> None:
        """Write a file's bytes; see Smudger.smudge for what is raised."""
        self._smudger.smudge(manifest, write)
        self._repository.index.record(
            {digest: closure([digest], manifest.storage) for digest in manifest.digests()}
        )

    def _known(self, request: Request) -> Known:
        recorded = [manifest for _, manifest in request.recorded]
        return known(self._repository, recorded, request.related, self._may_store)


def known(
    repository: Repository,
    recorded: Sequence[Manifest],
    related: Callable[[], Sequence[Manifest]] = tuple,
    doubts: bool = True,
) -> Known:
    """What is known in a repository about a file; see Known."""
    return Known(
        recorded,
        related,
        repository.index,
        repository.objects,
        doubts=doubts,
        has_remote=bool(repository.config.subsections("remote")),
        norm=_norm,
    )


def _norm(tensor: Tensor) -> float:
    from git_theta.diffs.blocks import norm_of  # only where something new is stored

    return norm_of(tensor)
