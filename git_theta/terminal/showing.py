"""What a terminal is shown of texts that others have chosen: names of tensors, files and branches, messages.

Here such texts leave for a terminal: `guard` lets standard output and standard error show what would move a
cursor, set a title, turn text around or is no UTF-8 as escapes, whoever prints it. Line ends pass, because
messages have lines; in a name they are escaped by `printable`. `word` and `operand` write names so that they
can be typed again.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import TextIO

Say = Callable[[str], None]
"""Tells the user a line."""

_ESCAPE = f"\ue000{os.urandom(8).hex()}["
"""What stands for the start of a colour of ours until it is printed: nobody else's text can have it."""

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,40})://(?P<account>[^/\s?#:]*(:[^/?#\n]*)?@)?(?P<rest>\S*)"
)
_QUERY = re.compile(r"([?&;])([^?&;=]*)=([^&;#]*)")
_SECRET = re.compile("token|key|secret|passw|sig|auth|cred", re.IGNORECASE)
_HIDDEN = "<redacted>"
_TOKEN = 20  # characters: who signs in with a token alone gives it in place of a name
_LONGEST = 250  # bytes of a name that takes an ending
_HARMLESS = ("Zs", "Co", "Cn")  # blanks, and what fonts or newer versions of Unicode may know
_COLOURS = re.compile("(\x1b\\[[0-9;]*m)")
_GLOB = re.compile(r"[*?\[\\]|\A:")


def printable(name: str) -> str:
    """A name that somebody else chose, without what would move the cursor, colour or end a line."""
    return name if name.isprintable() else "".join(map(_escaped, name))


def shown(text: str) -> str:
    """A text of several lines made safe for a terminal, the passwords in its urls removed."""
    lines = redacted(text).split("\n")
    return "\n".join(line if line.isprintable() else _lenient(line) for line in lines)


def redacted(text: str) -> str:
    """A text without the passwords and tokens of the urls in it, as git leaves them out."""
    return _URL.sub(_without_secrets, text) if "://" in text else text


def painted(text: str) -> str:
    """A text with our own colour codes, otherwise made safe as by `shown`."""
    pieces = _COLOURS.split(text)
    return "".join(piece if number % 2 else shown(piece) for number, piece in enumerate(pieces))


def word(name: str) -> str:
    """A name as a word for the shell, in one line and without what a terminal would obey."""
    if name.isprintable():
        return shlex.quote(name)
    octal = "".join(f"\\{ord(c):03o}" if c in "\\'" else c if c.isprintable() else _bytes(c) for c in name)
    # POSIX knows $'...' since 2024 only, and $(...) drops line ends at its end.
    return f"$'{octal}'" if name.endswith("\n") else f"\"$(printf -- '{octal.replace('%', '%%')}')\""


def operand(path: str) -> str:
    """A path as a word for a command that takes no pattern there, and would take -x for an option."""
    return word(f"./{path}" if path.startswith("-") else path)


def pathspec(path: str) -> str:
    """A path as a word for a git command that takes patterns there."""
    return word(f":(literal){path}") if _GLOB.search(path) else operand(path)


def fill(remedy: str, path: str) -> str:
    """Put a path into a remedy in place of PATH, quoted, and so that git takes it for no pattern."""
    if "PATH" not in remedy:
        return remedy
    if _GLOB.search(path):
        remedy = remedy.replace("git ", "git --literal-pathspecs ")
    return re.sub(r"PATH(\.new)?", lambda found: beside(path) if found[1] else operand(path), remedy)


def beside(path: str) -> str:
    """The quoted name of a new file beside another, shortened where the name would be too long."""
    folder, slash, name = path.rpartition("/")
    if len(os.fsencode(name)) <= _LONGEST:
        return f"{operand(path)}.new"
    return operand(f"{folder}{slash}.theta-new")


def guard() -> None:
    """Let standard output and standard error escape what is printed to them from now on."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def control(stream: TextIO, text: str) -> None:
    """Print what is meant for the terminal itself, as the moves of a progress bar are."""
    if isinstance(stream, Guarded):
        stream.control(text)
    else:
        stream.write(text)


def coloured(stream: TextIO, text: str) -> str:
    """A text with colours of ours, to be printed to a stream by itself or with texts of others."""
    return text.replace("\x1b[", _ESCAPE) if isinstance(stream, Guarded) else text


class Guarded(io.TextIOWrapper):
    """A text stream that escapes. What is data goes to its buffer.

    Attributes:
        ascii_only: whether it was meant for ASCII. click goes around such streams, and takes UTF-8 itself.
    """

    ascii_only = False

    def write(self, text: str, /) -> int:
        super().write(shown(text).replace(_ESCAPE, "\x1b["))
        return len(text)

    def control(self, text: str) -> None:
        super().write(text)


def encoding(stream: TextIO) -> str:
    """The encoding that a stream was meant for."""
    return "ascii" if getattr(stream, "ascii_only", False) else stream.encoding or "utf-8"


def _guarded(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Guarded):
        return stream
    buffered, through = stream.line_buffering, stream.write_through
    ascii_only = codecs.lookup(stream.encoding).name == "ascii"
    encoding = "utf-8" if ascii_only else stream.encoding
    made = Guarded(
        stream.detach(), encoding, "backslashreplace", line_buffering=buffered, write_through=through
    )
    made.ascii_only = ascii_only
    return made


def _without_secrets(url: re.Match[str]) -> str:
    scheme, account, rest = url["scheme"], url["account"] or "", url["rest"]
    name, colon, _ = account.removesuffix("@").partition(":")
    if colon:
        account = f"{name}:{_HIDDEN}@"
    elif len(name) >= _TOKEN and scheme.lower().startswith("http"):
        account = f"{_HIDDEN}@"
    return f"{scheme}://{account}" + _QUERY.sub(_without_secret, rest)


def _without_secret(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={_HIDDEN}" if _SECRET.search(found[2]) else found[0]


def _lenient(line: str) -> str:
    from unicodedata import category  # not where every line is printable

    return "".join(c if c.isprintable() or category(c) in _HARMLESS else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _bytes(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode(errors="surrogateescape"))
