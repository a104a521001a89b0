"""Rows of panels as a figure for a column, a page or a slide, with type readable at that size."""

import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib import rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from gradcam_core.image.fonts import plain

if TYPE_CHECKING:
    from gradcam_core.figure import Panel, Row, Scale, Size


class _Format(NamedTuple):
    width: float  # inches
    height: float  # inches; more only if the panels would become too small
    type_size: float  # points
    dpi: int
    fill: bool  # whether panels become as large as the height allows


_FORMATS: "dict[Size, _Format]" = {
    "column": _Format(3.4, 9, 7, 300, fill=False),
    "page": _Format(7.2, 9, 8, 200, fill=False),
    "slide": _Format(13.33, 7.5, 18, 144, fill=True),
}
# Multiples of the type size.
_MARGIN, _GAP, _LINE = 0.6, 1.0, 1.3
_BAR = 0.6  # the height of a colour bar
_UNDER = 2.4  # the space under a panel that has one
_NARROWEST, _LOWEST = 11, 4  # a panel's width and height
_MOST_LINES = 6  # of a text
_LONGEST = 600  # characters of a text that are looked at


class NotebookFigure(Figure):
    """A figure that shows itself at the end of a cell, whether or not pyplot is used."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


class _Text(NamedTuple):
    shown: str
    families: list[str]

    @property
    def lines(self) -> int:
        return self.shown.count("\n") + 1


def draw(rows: "Sequence[Row]", size: "Size", shared: "tuple[str, Scale] | None") -> NotebookFigure:
    """Return a figure of rows, which have equally many panels.

    It is as wide as `size` says, and has at most some 50 million pixels, whatever the pictures.

    Args:
        rows: From top to bottom.
        size: Decides on the width, the type, and how many panels stand beside each other.
        shared: The scale of all maps and its label, if they have one.
    """
    layouts = [_Layout(rows, _FORMATS[size], columns, shared) for columns in _choices(rows, size)]
    best = max(layouts, key=lambda layout: layout.area)
    # Formulas are never typeset: `$` and `\` are characters of names here.
    with rc_context({"text.usetex": False}):
        return best.draw()


def _choices(rows: "Sequence[Row]", size: "Size") -> Iterator[int]:
    """Return how many panels may stand beside each other."""
    form, panels = _FORMATS[size], len(rows[0].panels)
    lowest = _LOWEST * max(row.aspect for row in rows)
    for columns in range(panels, 0, -1):
        lines = -(-panels // columns)
        if columns == 1 or _cell(form, columns) >= max(_NARROWEST, lowest) * form.type_size / 72:
            yield -(-panels // lines)  # as many in each line
            if not form.fill:
                return


def _cell(form: _Format, columns: int) -> float:
    """Return the width of a panel's place, in inches."""
    em = form.type_size / 72
    return (form.width - (2 * _MARGIN + (columns - 1) * _GAP) * em) / columns


class _Layout:
    """Where everything is, if so many panels stand beside each other; lengths in inches."""

    def __init__(
        self,
        rows: "Sequence[Row]",
        form: _Format,
        columns: int,
        shared: "tuple[str, Scale] | None",
    ) -> None:
        self._rows, self._form, self._shared = rows, form, shared
        self._columns = columns
        self._em = em = form.type_size / 72
        self._cell = _cell(form, columns)
        self._headings = [self._fitted(row.heading, form.width - 2 * _MARGIN * em) for row in rows]
        self._place()
        # Where the height is the limit, the panels move together.
        widths = [height * row.aspect for height, row in zip(self._heights, rows, strict=True)]
        self._cell = min(self._cell, max([*widths, _NARROWEST * em]))
        self._place()

    def _place(self) -> None:
        """Fit the titles into the panels' places, and find the heights of the panels."""
        em, names = self._em, _letters()
        self._lines: list[list[list[tuple[int, Panel, _Text]]]] = []  # by row and line
        for row in self._rows:
            titled = [
                (at, each, self._fitted(f"({next(names)}) {each.title}", self._cell))
                for at, each in enumerate(row.panels)
                if each
            ]
            lines = range(-(-len(row.panels) // self._columns))
            self._lines.append(
                [[each for each in titled if each[0] // self._columns == line] for line in lines]
            )
        taken = sum(self._heading_height(text) for text in self._headings) + 2 * _MARGIN * em
        taken += (_UNDER + 1.5) * em if self._shared else 0
        taken += sum(sum(self._around(line)) for lines in self._lines for line in lines)
        panels = sum(map(len, self._lines))
        highest = max((self._form.height - taken) / panels, _LOWEST * em)
        self._heights = [min(self._cell / row.aspect, highest) for row in self._rows]
        drawn = sum(
            height * len(lines) for height, lines in zip(self._heights, self._lines, strict=True)
        )
        self._height = taken + drawn

    @property
    def area(self) -> float:
        """Of a panel, on average."""
        pairs = zip(self._heights, self._rows, strict=True)
        return sum(height**2 * row.aspect for height, row in pairs)

    def _heading_height(self, text: _Text) -> float:
        return (text.lines * _LINE + 0.3) * self._em

    def _around(self, line: "list[tuple[int, Panel, _Text]]") -> tuple[float, float]:
        """Return the heights above and below the panels of a line."""
        titles = max((title.lines for _, _, title in line), default=0)
        under = _UNDER if any(panel.scale for _, panel, _ in line) else 0
        return (titles * _LINE + 0.3) * self._em, (under + 1.0) * self._em

    def _fitted(self, text: str, width: float) -> _Text:
        return _wrapped(text, width * 72, self._form.type_size)

    def draw(self) -> NotebookFigure:
        form, em = self._form, self._em
        figure = NotebookFigure(figsize=(form.width, self._height), dpi=form.dpi)
        top = self._height - _MARGIN * em
        for row, heading, lines, height in zip(
            self._rows, self._headings, self._lines, self._heights, strict=True
        ):
            figure.text(
                _MARGIN * em / form.width, top / self._height, heading.shown, va="top",
                **self._type(heading),
            )  # fmt: skip
            top -= self._heading_height(heading)
            width = height * row.aspect
            pictures = row.pictures(round(max(width, height) * form.dpi))
            for line in lines:
                above, below = self._around(line)
                top -= above + height
                for at, panel, title in line:
                    left = _MARGIN * em + at % self._columns * (self._cell + _GAP * em)
                    left += (self._cell - width) / 2
                    axis = self._axes(figure, left, top, width, height)
                    axis.imshow(pictures[at], aspect="auto")
                    axis.axis("off")
                    axis.set_title(title.shown, pad=0.3 * form.type_size, **self._type(title))
                    if panel.scale:
                        self._bar(figure, panel.scale, left + width / 2, top, width)
                top -= below
        if self._shared:
            label, scale = self._shared
            bar = self._bar(figure, scale, form.width / 2, top, form.width / 3)
            bar.set_xlabel(label, fontsize=form.type_size)
        return figure

    def _bar(
        self, figure: Figure, scale: "Scale", centre: float, below: float, width: float
    ) -> Any:
        """Draw a colour bar below a height, with its numbers."""
        em, kind = self._em, self._form.type_size
        width = min(max(width, 10 * em), self._cell) if not self._shared else width
        bar_axes = self._axes(
            figure, centre - width / 2, below - (0.4 + _BAR) * em, width, _BAR * em
        )
        bar = figure.colorbar(
            ScalarMappable(Normalize(scale.low, scale.high or 1), scale.colour_map),
            cax=bar_axes,
            orientation="horizontal",
            extend="max" if scale.clipped else "neither",
        )
        bar_axes.set_label("<colorbar>")  # as matplotlib names those that it places itself
        ends = [scale.low, scale.high] if scale.high else [0]
        numbers = [f"{end:.3g}".replace("-", "\N{MINUS SIGN}") for end in ends]
        bar.set_ticks(ends, labels=numbers if scale.high else ["0 everywhere"])
        bar.minorticks_off()
        bar_axes.tick_params(length=0.2 * kind, pad=0.15 * kind, labelsize=kind)
        for number, side in zip(bar_axes.get_xticklabels(), ("left", "right"), strict=False):
            number.set_horizontalalignment(side)
        bar.outline.set_linewidth(0.06 * kind)
        return bar_axes

    def _axes(self, figure: Figure, left: float, bottom: float, width: float, height: float) -> Any:
        across, up = self._form.width, self._height
        return figure.add_axes((left / across, bottom / up, width / across, height / up))

    def _type(self, text: _Text) -> dict[str, Any]:
        return {
            "fontsize": self._form.type_size,
            "fontfamily": text.families,
            "parse_math": False,
            "linespacing": 1.2,
        }


def _letters() -> Iterator[str]:
    """Return a, b, ..., z, a2, b2, ... ."""
    return (
        letter + (f"{turn}" if turn > 1 else "") for turn in count(1) for letter in ascii_lowercase
    )


@lru_cache(256)
def _wrapped(text: str, width: float, size: float) -> _Text:
    """Break a text into lines of at most `width` points; what is too long ends with "…"."""
    shown, families = plain(" ".join(text[:_LONGEST].split()))
    font, measure = FontProperties(family=families, size=size), TextToPath()

    def fits(line: str) -> bool:
        return bool(measure.get_text_width_height_descent(line, font, False)[0] <= width)

    lines = [""]
    for word in shown.split(" "):
        if fits(f"{lines[-1]} {word}".strip()):
            lines[-1] = f"{lines[-1]} {word}".strip()
            continue
        lines += [""] if lines[-1] else []
        for char in word:
            if lines[-1] and not fits(lines[-1] + char):
                lines.append("")
            lines[-1] += char
    if len(lines) > _MOST_LINES or len(text) > _LONGEST:
        lines = lines[:_MOST_LINES]
        lines[-1] = lines[-1][:-2] + "…"
    return _Text("\n".join(lines), families)
