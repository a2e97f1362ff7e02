"""Text that users and strangers wrote, made harmless for a card: it can neither end a line nor mean anything."""

from __future__ import annotations

import re
import unicodedata

# Control characters, format characters (which turn the direction of text), line separators, halves of surrogate pairs.
HIDDEN_CATEGORIES = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")
# Format characters that the words of some languages are written with.
JOINERS = "\u200c\u200d"


def plain(text: object) -> str:
    r"""One line of visible characters; anything else stands as its escape, such as `\x0a`.

    Args:
        text: any text; another object is taken by its `str`.
    """
    visible = (
        character
        if character in JOINERS or unicodedata.category(character) not in HIDDEN_CATEGORIES
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in str(text)
    )
    return "".join(visible)


def code(text: object) -> str:
    """The same as a code span of Markdown, in which nothing is markup.

    Args:
        text: any text; another object is taken by its `str`.
    """
    line = plain(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if not line.strip() or line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def cell(text: object) -> str:
    """The same for a table, where a bar ends the cell even in code."""
    return code(text).replace("|", "\\|")
