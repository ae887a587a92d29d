"""Which objects a push must bring: all that the manifests in the history of its refs name.

Computed from commits alone, so that merges, new branches of fresh clones, forced pushes and tags need
nothing but what Git has; and from the whole history, because a remote that has a commit can lack its objects.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, ThetaError
from git_theta.git.attributes import filtered
from git_theta.git.blobs import SMALLEST, UNREADABLE, Blob, contents, find_manifests, reachable
from git_theta.git.partial import bring_missing, promisors
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST
from git_theta.remotes.configured import titled
from git_theta.terminal.showing import pathspec, printable

_RAW_BYTES = 1024  # what is smaller under a tracked pattern is no checkpoint: a symbolic link, a pointer


@dataclass(frozen=True)
class Push:
    """A push to one url.

    Attributes:
        name: the remote's, or the url where git pushes by url.
        url: where the push goes; a remote can have several.
        tips: what is pushed.
        known: commits that are here and that the remote's refs are at, as far as that was said.
        retry: the command that pushes, to name it in messages, without the `git` in front.
        refs_follow: whether refs are pushed after the objects; else objects are all that is asked for.
        dry_run: bring nothing, neither there nor here.
    """

    name: str
    url: str
    tips: Sequence[str]
    known: Sequence[str] = ()
    retry: str = "push"
    refs_follow: bool = True
    dry_run: bool = False

    @property
    def title(self) -> str:
        """What messages call the remote."""
        return titled(self.name, self.url)


@dataclass
class Plan:
    """What the refs of a push need.

    Attributes:
        objects: sizes by oid, of what the manifests of their history name.
        damaged: new manifests that cannot be restored, and why.
        raw: new checkpoints that are stored as they are under a tracked pattern.
    """

    objects: dict[str, int] = field(default_factory=dict)
    damaged: list[tuple[Blob, ThetaError]] = field(default_factory=list)
    raw: list[Blob] = field(default_factory=list)


def plan(repository: Repository, push: Push) -> Plan:
    """What a push needs.

    What the remote-tracking branches say decides only which manifests are read in full: a damaged one that
    was pushed before must not stop every push.
    """
    made = Plan()
    history = repository.unaltered
    if promisors(repository):
        known = refs_of(repository, push) if push.refs_follow else ()
        bring_missing(history, beyond(push.tips, known))
    named = push.name in repository.config.subsections("remote")
    options = ("--not", f"--remotes={push.name}") if named else ()
    new = {blob.oid: blob for blob in reachable(history, beyond(push.tips, push.known), *options)}
    whole, read = repository.index.whole(), []
    for blob, text in _manifests(history, reachable(history, push.tips)):
        made.objects |= manifests.find_objects(text)
        if new.pop(blob.oid, None) and (oid := bytes.fromhex(blob.oid)) not in whole:
            if error := damage(blob, text):
                made.damaged.append((blob, error))
            else:
                read.append(oid)
    repository.index.record_whole(read)
    others = {blob.path: blob for blob in new.values() if blob.size >= _RAW_BYTES and blob.path}
    made.raw = [others[path] for path in sorted(filtered(repository, others))]
    return made


def _manifests(repository: Repository, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, bytes]]:
    """The manifests among blobs. What turns out to be none is not read again with the next push.

    Raises:
        ThetaError: git cannot read a blob, which could be one.
    """
    known = repository.index.others()
    unread = {blob.oid: blob for blob in blobs if bytes.fromhex(blob.oid) not in known}
    others = []
    for blob, text in contents(repository, list(unread.values())):
        del unread[blob.oid]
        if manifests.is_manifest(text):
            yield blob, text
        else:
            others.append(bytes.fromhex(blob.oid))
    repository.index.record_others(others)
    for blob in unread.values():
        if blob.size == UNREADABLE or SMALLEST <= blob.size <= LARGEST:
            raise ThetaError(
                f"git cannot read the blob {blob.oid} {printable(blob.path)}".rstrip(), "git fsck"
            )


def beyond(tips: Sequence[str], known: Sequence[str]) -> list[str]:
    """Arguments for rev-list: what the tips reach and the known commits do not."""
    return [*tips, *(f"^{oid}" for oid in known)]


def naming(
    repository: Repository, revisions: Sequence[str], oids: Container[str]
) -> Iterator[tuple[Blob, list[str]]]:
    """The manifests that revisions reach and that name some of these objects; which ones, too."""
    history = repository.unaltered
    for blob, text in find_manifests(history, reachable(history, revisions)):
        named = manifests.find_objects(text)
        if found := [oid for oid in named if oid in oids]:
            yield blob, found


def refs_of(repository: Repository, push: Push) -> list[str]:
    """The commits that are here and that the remote's refs are at: it is asked."""
    listed = repository.run("ls-remote", "--", push.url).stdout.decode(errors="replace")
    return present(repository, [*push.known, *(line.partition("\t")[0] for line in listed.splitlines())])


def present(repository: Repository, oids: Iterable[str]) -> list[str]:
    """Those of these oids that are here: what others have pushed meanwhile is not."""
    history = repository.unaltered.with_environment({"GIT_NO_LAZY_FETCH": "1"})
    asked = "".join(f"{oid}\n" for oid in dict.fromkeys(oids)).encode()
    answers = history.git("cat-file", "--batch-check=%(objectname)", "--buffer", stdin=asked).decode()
    return [line for line in answers.splitlines() if " " not in line] if asked else []


def commit_of(repository: Repository, blob: Blob, tips: Iterable[str]) -> str:
    """The commit that brought a blob, abbreviated; empty if git does not say."""
    found = repository.unaltered.run("log", "-m", "--format=%h", f"--find-object={blob.oid}", *tips)
    return (found.stdout.decode().split() or [""])[-1]  # later ones replace it


def damage(blob: Blob, text: bytes) -> ThetaError | None:
    """Why nobody could check a manifest out."""
    try:
        if manifests.parse(text).storage:
            return None
        return DamagedManifest(
            "its data were never stored", f"git add {pathspec(blob.path)}, and commit again"
        )
    except DamagedManifest as error:
        return error
