"""How texts are laid out for standard output: its width, and whether it has colours."""

from __future__ import annotations

from dataclasses import dataclass

from git_theta.terminal.showing import shown


@dataclass(frozen=True)
class Style:
    """The layout of a text: width and colours.

    Attributes:
        width: columns of the terminal.
        colour: whether to use ANSI colours.
        unicode: whether signs outside ASCII can be shown.
    """

    width: int = 80
    colour: bool = False
    unicode: bool = True

    def paint(self, words: str, codes: str) -> str:
        """Words in a colour, given by its ANSI codes; "" leaves them as they are."""
        words = shown(words)
        return f"\x1b[{codes}m{words}\x1b[m" if self.colour and codes and words.strip() else words

    def sign(self, fancy: str, plain: str) -> str:
        return fancy if self.unicode else plain

    @property
    def arrow(self) -> str:
        return self.sign("→", "->")

    @property
    def ellipsis(self) -> str:
        return self.sign("…", "~")
