"""Macros of attributes (gitattributes(5), "Defining macro attributes"): what a line says with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

Macros = Mapping[str, Sequence[str]]
"""The words that a macro stands for, by its name."""

BUILT_IN: Macros = {"binary": ("-diff", "-merge", "-text")}
_DEEPEST = 10  # macros in macros


def expanded(words: Sequence[str], macros: Macros, depth: int = 0) -> Iterator[str]:
    """The words of a line, each macro that is set followed by what it stands for."""
    for word in words:
        yield word
        if word in macros and depth < _DEEPEST:
            yield from expanded(macros[word], macros, depth + 1)


def effective(words: Sequence[str], macros: Macros) -> dict[str, str]:
    """The word that decides for each attribute which a line says something about: the last one."""
    return {name_of(word): word for word in expanded(words, macros)}


def mentioned(words: Sequence[str], macros: Macros) -> set[str]:
    """The attributes that a line decides on; to unset a macro takes back all that it stands for."""
    set_anyway = [name_of(word) if name_of(word) in macros else word for word in words]
    return set(effective(set_anyway, macros))


def name_of(word: str) -> str:
    """The attribute that a word is about: of `filter=theta`, `-filter` and `!filter`, it is `filter`."""
    return word.lstrip("-!").partition("=")[0]
