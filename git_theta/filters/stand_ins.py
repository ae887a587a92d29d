"""Texts that stand in the place of a checkpoint: they name one, or were made of one, but are none.

Programs that meet one mean the model. Stored as if it were a checkpoint, the text would be what everybody
gets from then on. The first bytes tell, whatever the file is called.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import DamagedManifest, ThetaError
from git_theta.manifest import TEXT_MAGIC, Manifest, is_manifest, parse
from git_theta.regular import open_regular
from git_theta.terminal.showing import fill, printable

PROBE = 4096
"""First bytes of a file that `recognise` needs, but for conflict markers that begin later."""

_ENCODINGS = {  # with the mark that a text can begin with
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
_MARKER = re.compile(rb"^([<|=>])\1{6,}( [^\n]*)?\n", re.MULTILINE)


@dataclass(frozen=True)
class StandIn:
    """A kind of such a text.

    Attributes:
        what: it is, for messages.
        remedy: the command that puts the checkpoint in its place. PATH stands for the file.
    """

    what: str
    remedy: str

    def refusal(self) -> ThetaError:
        """The error for a command that would have it stored."""
        return ThetaError(f"this is {self.what}, not the checkpoint", self.remedy)

    def warning(self, pathname: str) -> str:
        """The line for a checkout, which writes it as it is."""
        remedy = fill(self.remedy, pathname)
        return f"{printable(pathname)}: this is {self.what}, not the checkpoint; to get that, type: {remedy}"


RESTORE = "git restore PATH"
MARKED = StandIn("a text with conflict markers", "git theta checkout --ours PATH (or --theirs)")
ENCODED = StandIn("a manifest in another encoding", "git theta track PATH && git theta pull")
CRLF = StandIn("a manifest whose lines end in CRLF", "git rm -q --cached PATH && git add PATH")
EDITED = StandIn("a manifest that was edited", RESTORE)
SHOWN = StandIn("what git-theta shows of a checkpoint", RESTORE)
LFS = StandIn("a pointer of Git LFS", "git lfs smudge < PATH > PATH.new && mv PATH.new PATH")
ANNEX = StandIn(
    "a pointer of git-annex", "git annex get PATH && git theta track PATH && git add --renormalize PATH"
)
ORIGINAL = StandIn(
    "metadata of the original Git-Theta",
    "check it out in another folder with that (pip install git-theta==0.2.0), and copy it here",
)
_KINDS = (
    (rb"version \S*(git-lfs|hawser|git-media)\S*\n", LFS),
    (rb"(/|(\.\./)*\.git/)annex/objects/\S", ANNEX),
    (re.escape(TEXT_MAGIC), SHOWN),
    (rb'\s*\{\s*"git-theta"\s*:|\{"tensor":"[^\n]*"digest":"|\{"(skeleton|digest)":"[0-9a-f]{64}"', EDITED),
    (rb'(?s)\s*\{.*"(tensor_metadata|lfs_metadata|theta_metadata)"\s*:\s*\{', ORIGINAL),
)
_PATTERNS = [(re.compile(pattern), kind) for pattern, kind in _KINDS]


def recognise(text: bytes) -> StandIn | None:
    """What stands there; None for a manifest, and for what can be a checkpoint.

    Args:
        text: of the file, or its first PROBE bytes.
    """
    read = plain(text)
    if marker := _MARKER.match(read):
        inner = read[marker.end() :]
        return MARKED if is_manifest(inner) or _kind(inner) else None
    found = None if is_manifest(read) else _kind(read)
    if (found or is_manifest(read)) and found is not ORIGINAL and _MARKER.search(read):
        return MARKED
    if is_manifest(read) and not is_manifest(text):
        return ENCODED
    return found


def of_file(path: Path) -> StandIn | None:
    """What stands in a file; None for a checkpoint, a whole manifest, and where there is no file to read."""
    try:
        with open(open_regular(path, follow=True), "rb") as file:
            head = file.read(PROBE)
            whole = head + file.read() if is_manifest(head) else head
    except OSError:
        return None
    return recognise(whole)


def is_manifest_file(path: Path, text: bytes) -> bool:
    """Whether a file is this manifest, as attributes can have made it look in the work tree."""
    if not len(text) <= path.stat().st_size <= 4 * len(text) + 4:
        return False
    return plain(path.read_bytes()) == plain(text)


def plain(text: bytes) -> bytes:
    """A text with the line ends and in the encoding that manifests have in Git.

    Attributes can give it others in the work tree.
    """
    if text[:1] in b"\0\xfe\xff\xef" or text[1:2] == b"\0":
        text = _decoded(text)
    end = text.find(b"\n")
    return text.replace(b"\r\n", b"\n") if text[end - 1 : end] == b"\r" else text


def parsed(blob: bytes | None) -> Manifest | None:
    """The manifest that a blob holds, whatever its line ends; None for anything else and damaged ones."""
    if blob is None or not is_manifest(blob):
        return None
    try:
        return parse(plain(blob))
    except DamagedManifest:
        return None


def recoded(encoding: str) -> ThetaError:
    """The error for an attribute that makes Git take a manifest for another encoding than it has."""
    return ThetaError(
        f"the attribute working-tree-encoding ({encoding}) stands in the way: Git would spoil the manifest",
        "git theta track PATH",
    )


def in_git(text: bytes) -> StandIn | None:
    """What a blob is in place of a manifest as git-theta writes it; None for that, and for a checkpoint."""
    found = recognise(text)
    return CRLF if found is None and is_manifest(text) and plain(text) != text else found


def _decoded(text: bytes) -> bytes:
    """A text in UTF-8; unchanged where it is in no encoding that is known here."""
    if text.startswith(codecs.BOM_UTF8):
        return text.removeprefix(codecs.BOM_UTF8)
    for name, mark in _ENCODINGS.items():
        decoder = codecs.getincrementaldecoder(name)()  # that a first part ends in a character is no error
        try:
            found = decoder.decode(text.removeprefix(mark)).encode()
        except ValueError:
            continue
        if found[:20].isascii() and b"\0" not in found[:20]:
            return found
    return text


def _kind(text: bytes) -> StandIn | None:
    return next((kind for pattern, kind in _PATTERNS if pattern.match(text)), None)
