"""Fonts for texts in any script: class names, captions and questions in figures."""

import unicodedata
from functools import lru_cache

from matplotlib import font_manager, rcParams
from matplotlib.font_manager import FontEntry, FontProperties

_PLACEHOLDERS = "last resort"  # begins the names of fonts that draw boxes for every character


def drawable(text: str) -> tuple[str, list[str]]:
    """Return a text that matplotlib can draw without formulas, and the font families for it.

    It is as `plain` returns it, with escaped dollar signs.

    Examples:
        >>> text, families = drawable("Katze 猫")
        >>> axis.set_title(text, fontfamily=families)
    """
    shown, families = plain(text)
    return shown.replace("$", r"\$"), families


def plain(text: str) -> tuple[str, list[str]]:
    """Return a text to draw with `parse_math=False`, and the font families for it.

    Where the usual fonts lack characters, other fonts of this machine are added. Characters that no
    font has, and those that no file may contain, are replaced by their code point, such as
    [U+732B]. Those that are not seen, such as controls and marks of direction, are left out: SVG
    and PDF cannot hold all of them.
    """
    text = "".join(map(_cleaned, text))
    families = list(rcParams["font.family"])
    characters = {char for char in text if not char.isspace()}
    missing = characters - _covered(characters, [_file(family) for family in families])
    fonts = len(font_manager.fontManager.ttflist)  # more may be added later
    added, missing = _other_families(frozenset(missing), fonts) if missing else ([], missing)
    shown = "".join(_replacement(char) if char in missing else char for char in text)
    return shown, [*families, *added]


def _cleaned(char: str) -> str:
    if char.isspace():
        return char if char == "\n" else " "
    if ord(char) & 0xFFFE == 0xFFFE or unicodedata.category(char) == "Cs":
        return _code_point(char)
    return "" if unicodedata.category(char) in ("Cc", "Cf") else char


def _replacement(char: str) -> str:
    return "" if unicodedata.category(char) == "Mn" else _code_point(char)


def _code_point(char: str) -> str:
    return f"[U+{ord(char):04X}]"


@lru_cache(64)
def _other_families(characters: frozenset[str], fonts: int) -> tuple[list[str], set[str]]:
    """Return families that have characters, and the characters that none has.

    Args:
        characters: To be drawn.
        fonts: The number of known fonts, part of the cache's key.
    """
    added, missing = [], set(characters)
    for entry in sorted(font_manager.fontManager.ttflist, key=_rank):
        if not missing:
            break
        usable = entry.name not in added and not entry.name.lower().startswith(_PLACEHOLDERS)
        if usable and _covered(missing, [entry.fname]):
            found = _covered(missing, [_file(entry.name)])
            added += [entry.name] if found else []
            missing -= found
    return added, missing


def _rank(entry: FontEntry) -> tuple[bool, bool, str]:
    """Sort upright sans-serif fonts first."""
    return entry.style != "normal", "sans" not in entry.name.lower(), entry.name


def _file(family: str) -> str:
    return str(font_manager.findfont(FontProperties(family=[family])))


def _covered(characters: set[str], files: list[str]) -> set[str]:
    """Return the characters that a font file has; none for fonts that are no outlines."""
    found = set()
    for file in files:
        try:
            font = font_manager.get_font(file)
        except (OSError, RuntimeError):
            continue
        if font.scalable:
            found |= {char for char in characters if font.get_char_index(ord(char))}
    return found
