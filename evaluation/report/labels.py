"""Names as figures write them: folded to a few short lines, each still unlike every other."""

import re
import unicodedata
from collections.abc import Iterable

WIDTH, LINES = 21, 2
PIECE = re.compile(r"[^\s_,:;/.-]*[\s_,:;/.-]|[^\s_,:;/.-]+")


def fold(name: str, width: int = WIDTH, lines: int = LINES) -> str:
    """The name in at most `lines` lines of at most `width` small letters (see `cells`), broken after punctuation.

    Of what does not fit, the middle is left out: the end tells most names apart.
    """
    folded = _break(name, width)
    kept = len(name)
    while len(folded) > lines and kept > 2:
        kept -= 1
        head = kept // 2
        folded = _break(f"{name[:head]}…{name[len(name) - (kept - head) :]}", width)
    return "\n".join(folded)


def fold_all(names: Iterable[str], width: int = WIDTH, lines: int = LINES) -> dict[str, str]:
    """Each name with its folded form; those that would read the same are numbered."""
    folded: dict[str, str] = {}
    for name in dict.fromkeys(names):
        text, number = fold(name, width, lines), 2
        while text in folded.values():
            text, number = f"{fold(name, width - 3, lines)} #{number}", number + 1
        folded[name] = text
    return folded


def cells(text: str) -> float:
    """How many small letters wide a text is."""
    return sum(map(_cell, text))


def _cell(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 2
    return 1.5 if letter in "mwMW@%" else 1.2 if letter.isupper() else 1


def longest_line(texts: Iterable[str]) -> float:
    """The width of the longest line among the texts, as `cells` counts; 0 where there are none."""
    return max((cells(line) for text in texts for line in text.split("\n")), default=0)


def _break(text: str, width: int) -> list[str]:
    lines = [""]
    for piece in PIECE.findall(text):
        if lines[-1] and cells(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        for letter in piece:  # a piece that is longer than a line is cut
            if cells(lines[-1] + letter) > width and not letter.isspace():
                lines.append("")
            lines[-1] += letter
    return [line.rstrip() for line in lines]
