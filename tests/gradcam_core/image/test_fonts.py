"""Texts in any script are drawn, without warnings, in every file format."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from gradcam_core.image.fonts import drawable

# U+10FFFD is a private character, and U+DCE9 a byte of a file name that is not UTF-8.
TEXTS = [
    *("cat", "猫", "кошка γάτα", "قط", "बिल्ली", "แมว", "고양이", "🐈\u200d⬛ 😀"),
    *("a\u200db\ufe0f", "$x_1$ for 5 $", "\U0010fffd", "\udce9", "two\nlines", ""),
]


def drawn(text: str, kind: str) -> bytes:
    """Draw a text; warnings are errors."""
    figure, buffer = Figure(figsize=(3, 1)), io.BytesIO()
    shown, families = drawable(text)
    figure.text(0.1, 0.5, shown, fontfamily=families)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "pdf", "svg", "eps"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_script_is_drawn_without_a_warning(text: str, kind: str) -> None:
    assert drawn(text, kind)


def test_a_text_in_the_usual_font_stays_as_it_is() -> None:
    assert drawable("Siamese cat, Ψ")[0] == "Siamese cat, Ψ"


def test_characters_without_a_font_are_named() -> None:
    assert drawable("a\U0010fffdb")[0] == "a[U+10FFFD]b"
    assert drawable("\udce9")[0] == "[U+DCE9]"


@pytest.fixture
def font(tmp_path: Path) -> Iterator[str]:
    """A font whose only glyph, for U+10FFFC, is a square; the name of its family."""
    pen = TTGlyphPen(None)
    for place, point in enumerate([(0, 0), (0, 1000), (1000, 1000), (1000, 0)]):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({0x10FFFC: "square"})
    square = pen.glyph()
    builder.setupGlyf({".notdef": square, "square": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    known = list(font_manager.fontManager.ttflist)
    assert drawable("\U0010fffc")[0] == "[U+10FFFC]"
    font_manager.fontManager.addfont(tmp_path / "squares.ttf")
    yield "Squares"
    font_manager.fontManager.ttflist = known


def test_a_font_of_this_machine_is_used_where_the_usual_one_lacks_characters(font: str) -> None:
    text, families = drawable("cat \U0010fffc")
    assert text == "cat \U0010fffc"
    assert families[-1] == font
    by_itself, buffer = Figure(figsize=(3, 1)), io.BytesIO()
    by_itself.text(0.1, 0.5, "\U0010fffc", fontfamily=font)
    by_itself.savefig(buffer, format="png")
    assert drawn("\U0010fffc", "png") == buffer.getvalue()
    assert font not in drawable("cat")[1]
