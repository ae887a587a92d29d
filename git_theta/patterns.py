"""Names of tensors, and patterns that mean several: how they are written, and which is meant.

A pattern is a glob, in which `*` stands for every character, dots and slashes too. A name in double quotes,
written as JSON, is that name alone: "w[0]". Where a tensor is called just as a glob is written, it is meant
and no other; only `*` alone always means all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from git_theta.errors import ThetaError

QUOTED = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
"""A regular expression for a name in quotes."""
_PLAIN = re.compile(r"[^\s*?\[\]\":]+\Z")
_ALL = "*"
_COLON = re.compile(r":(?=\s)")
_CLASSES = re.compile(r"[?\[]")
_LONGEST = 256
"""Characters of a glob that is compared place by place: that takes the product of its and a name's length."""


@dataclass(frozen=True)
class Pattern:
    """What names are compared with.

    Attributes:
        literal: whether the text is a name, and no glob.
    """

    text: str
    literal: bool = False

    def matches(self, name: str) -> bool:
        return name == self.text or (not self.literal and _matches(name, self.text))

    def among(self, names: Collection[str]) -> Pattern:
        """What the same text means where these are the names there are."""
        return Pattern(self.text, True) if self.text in names and self.text != _ALL else self

    def __str__(self) -> str:
        """As `read` reads it, and a rule."""
        if self.literal:
            return written(self.text)
        glob = _COLON.sub("[:]", self.text)
        return re.sub(r"\A\s|\s\Z", lambda found: f"[{found.group()}]", glob)


def read(text: str) -> Pattern:
    """A pattern as it is typed.

    Raises:
        ThetaError: it has a line end, which no rule can have, outside of quotes.
    """
    if re.fullmatch(QUOTED, text, re.DOTALL):
        try:
            return Pattern(json.loads(text), literal=True)
        except ValueError:
            pass  # a glob with quotes at its ends
    if len(text) > _LONGEST and _CLASSES.search(text):
        raise ThetaError(
            f"a glob with ? or [ has {len(text)} characters, and {_LONGEST} at most",
            "put the name in double quotes, or use * in place of a part",
        )
    if "\n" in text:
        raise ThetaError(
            f"{json.dumps(text)} is no glob: it has a line end",
            f"a name can have one, in quotes: {json.dumps(text)}",
        )
    return Pattern(text)


def _matches(name: str, glob: str) -> bool:
    """Whether a glob matches a name, as fnmatchcase does; in linear time unless it has character classes."""
    if _CLASSES.search(glob):
        return fnmatchcase(name, glob)
    first, *middle = glob.split("*")
    if not middle:
        return name == glob
    last = middle.pop()
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    position, end = len(first), len(name) - len(last)
    for part in middle:  # the first place that fits leaves the most for what follows
        if (found := name.find(part, position, end)) < 0:
            return False
        position = found + len(part)
    return True


def written(name: str) -> str:
    """A name as a pattern that means it alone, in one line of printable ASCII unless it is plain."""
    return name if _PLAIN.match(name) and name.isprintable() else json.dumps(name)
