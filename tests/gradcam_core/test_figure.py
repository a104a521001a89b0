"""Figures: honest scales, what was ordered, readable at their size, bounded, any text."""

import dataclasses
import io
import warnings
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import matplotlib
import nbformat
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from nbclient import NotebookClient
from PIL import Image

import gradcam_core
from gradcam_core import Explanation, figure
from gradcam_core.figure import PanelName, Size
from gradcam_core.image.fonts import drawable

SIZES = get_args(Size)
MOST_PIXELS = 50_000_000


@pytest.fixture(scope="module")
def explanation(cat_file: Path) -> Explanation:
    return gradcam_core.explain(cat_file, target="tabby", guided=True)


@pytest.fixture(scope="module")
def bus(cat_file: Path) -> Explanation:
    """Both its map and its counterfactual are weak."""
    return gradcam_core.explain(cat_file, target="school bus")


@pytest.fixture(scope="module")
def caption(cat_file: Path) -> Explanation:
    return gradcam_core.explain(cat_file, "captioning", target="a cat sleeps")


def bars(drawn: Figure) -> list[Axes]:
    return [axis for axis in drawn.axes if axis.get_label() == "<colorbar>"]


def ends(drawn: Figure) -> list[tuple[float, float]]:
    return [axis.get_xlim() for axis in bars(drawn)]


def titles(drawn: Figure) -> list[str]:
    return [axis.get_title() for axis in drawn.axes if axis.get_title()]


def panel(drawn: Figure, title: str) -> np.ndarray:
    (axis,) = [each for each in drawn.axes if each.get_title().endswith(title)]
    return np.asarray(axis.get_images()[0].get_array())


def texts(drawn: Figure) -> list[Text]:
    """Return what is written, where it is seen."""
    under = [text for axis in bars(drawn) for text in (*axis.get_xticklabels(), axis.xaxis.label)]
    found = [*drawn.texts, *(axis.title for axis in drawn.axes), *under]
    return [text for text in found if text.get_text()]


def of_size(explanation: Explanation, width: int, height: int) -> Explanation:
    return dataclasses.replace(explanation, picture=Image.new("RGB", (width, height), "teal"))


@pytest.mark.parametrize("share", [0.02, 1.0, 40.0])
def test_each_map_has_its_own_scale_with_its_numbers(
    explanation: Explanation, share: float
) -> None:
    """However weak the counterfactual is."""
    highest = float(explanation.raw.max())
    weak = dataclasses.replace(
        explanation, raw_counterfactual=explanation.raw * share, gradient=None
    )
    drawn = weak.figure("gray", 1.0)
    assert titles(drawn) == ["(a) Picture", "(b) Grad-CAM", "(c) Counterfactual"]
    assert ends(drawn) == [(0, pytest.approx(highest)), (0, pytest.approx(share * highest))]
    for title in ("Grad-CAM", "Counterfactual"):
        assert panel(drawn, title).max() > 250
    # On one scale there is one colour bar, and the weaker map is paler.
    end = highest * max(1, share)
    drawn = weak.figure("gray", 1.0, vmax=end)
    assert ends(drawn) == [(0, pytest.approx(end))]
    for title, values in (("Grad-CAM", weak.raw), ("Counterfactual", weak.raw_counterfactual)):
        assert panel(drawn, title).max() / 255 == pytest.approx(values.max() / end, abs=0.01)


def test_a_signed_panel_has_a_scale_around_zero(explanation: Explanation) -> None:
    assert explanation.gradient is not None
    drawn = explanation.figure(panels=["guided_backprop", "guided_grad_cam"])
    assert titles(drawn) == ["(a) Guided Backprop", "(b) Guided Grad-CAM"]
    end = np.percentile(np.abs(explanation.gradient), 99.5)
    assert ends(drawn)[0] == pytest.approx((-end, end))
    assert ends(drawn)[1][0] == -ends(drawn)[1][1]
    # The scale of the maps is not theirs.
    drawn = explanation.figure(vmax=1.0)
    assert len(bars(drawn)) == 3
    still = dataclasses.replace(explanation, gradient=explanation.gradient * 0)
    drawn = still.figure(panels=["guided_backprop"])
    assert bars(drawn)[0].get_xticks().tolist() == [0]
    assert np.all(np.abs(panel(drawn, "Guided Backprop").astype(int) - 128) <= 1)


def test_a_map_of_zeros_has_no_other_number(explanation: Explanation) -> None:
    nothing = dataclasses.replace(explanation, raw=explanation.raw * 0, gradient=None)
    for vmax in (None, 1.0):
        drawn = nothing.figure("gray", 1.0, panels=["grad_cam"], vmax=vmax)
        assert panel(drawn, "Grad-CAM").max() == 0
        assert bars(drawn)[0].get_xticks().tolist() == ([0] if vmax is None else [0, 1])


def test_rows_of_what_cannot_be_compared_keep_their_scales(
    explanation: Explanation, bus: Explanation, cat_file: Path
) -> None:
    one = dataclasses.replace(explanation, gradient=None)
    vmax = float(one.raw.max())
    assert len(bars(figure([one, bus], vmax=vmax))) == 1
    assert len(bars(figure([one, bus]))) == 4
    for other in ({"model": "lite2"}, {"layer": "blocks.6"}, {"method": "layercam"}):
        rows = [one, gradcam_core.explain(cat_file, target="tabby", **other)]
        assert len(bars(figure(rows, vmax=vmax))) == 4
        drawn = figure(rows)
        maps = [each for row in rows for each in (row.raw, row.raw_counterfactual)]
        assert [end for _, end in ends(drawn)] == pytest.approx(
            [float(each.max()) or 1 for each in maps]
        )


def test_the_words_of_a_caption(caption: Explanation) -> None:
    drawn = caption.figure("gray", 1.0, panels=["picture", "grad_cam", "words"])
    assert titles(drawn) == [
        *("(a) Picture", "(b) Grad-CAM"),
        *("(c) “a”", "(d) “cat”", "(e) “sleeps”"),
    ]
    assert [end for _, end in ends(drawn)] == pytest.approx(
        [caption.raw.max(), *(word.raw.max() for word in caption.words)]
    )
    vmax = float(caption.raw.max())
    drawn = caption.figure("gray", 1.0, panels=["words"], vmax=vmax)
    highest = float(caption.words[1].raw.max())
    assert panel(drawn, "“cat”").max() / 255 == pytest.approx(min(1, highest / vmax), abs=0.01)


def test_panels_are_those_that_all_rows_have_or_those_that_are_named(
    explanation: Explanation, bus: Explanation, cat_file: Path
) -> None:
    assert titles(explanation.figure()) == [
        "(a) Picture",
        "(b) Guided Backprop",
        "(c) Grad-CAM",
        "(d) Guided Grad-CAM",
        "(e) Counterfactual",
    ]
    assert len(titles(figure([explanation, bus]))) == 6
    named: list[PanelName] = ["counterfactual", "guided_backprop"]
    assert titles(figure([explanation, bus], panels=named)) == [
        *("(a) Counterfactual", "(b) Guided Backprop"),
        "(c) Counterfactual",
    ]
    layercam = gradcam_core.explain(cat_file, method="layercam").figure()
    assert titles(layercam)[1] == "(b) LayerCAM"
    guided = gradcam_core.explain(cat_file, method="guided-grad-cam", guided=True).figure()
    assert [title.replace("\n", " ") for title in titles(guided)][2:4] == [
        "(c) Guided Grad-CAM",
        "(d) Guided Backprop × Guided Grad-CAM",
    ]


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (0, {}),
        (13, {}),
        (1, {"panels": ["app.py"]}),
        (1, {"panels": []}),
        (1, {"panels": ["words"]}),
        (1, {"size": "poster"}),
        (1, {"colour_map": "rainbow brite"}),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    bus: Explanation, rows: int, options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        figure([bus] * rows, **options)  # type: ignore[arg-type]


def test_too_many_panels_are_refused(caption: Explanation) -> None:
    long = dataclasses.replace(caption, words=caption.words * 21)
    assert len(titles(long.figure())) == 3
    with pytest.raises(ValueError, match="60"):
        long.figure(panels=["words"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(451, 300), (300, 650), (1500, 200), (32, 32)])
def test_type_is_readable_and_nothing_overlaps(
    explanation: Explanation, bus: Explanation, size: Size, shape: tuple[int, int]
) -> None:
    """At the size of a column, a page or a slide; also several rows and long names."""
    one, other = of_size(explanation, *shape), of_size(bus, *shape)
    long = dataclasses.replace(one, target="Donaudampfschifffahrtsgesellschaftskapitän " * 4)
    width = {"column": 3.4, "page": 7.2, "slide": 13.33}[size]
    least = {"column": 7, "page": 8, "slide": 18}[size]
    for drawn in (one.figure(size=size), figure([long, other], size=size, vmax=1.0)):
        assert drawn.get_figwidth() == pytest.approx(width)
        assert {text.get_fontsize() for text in texts(drawn)} == {least}
        drawn.savefig(io.BytesIO(), format="png")
        shown = [text.get_window_extent() for text in texts(drawn)]
        shown += [axis.get_window_extent() for axis in drawn.axes]
        for at, box in enumerate(shown):
            assert box.x0 >= 0
            assert box.x1 <= drawn.bbox.width + 1
            assert box.y0 >= 0
            assert box.y1 <= drawn.bbox.height + 1
            inner = box.padded(-1.5)
            assert not any(inner.overlaps(another.padded(-1.5)) for another in shown[:at])


def test_a_usual_figure_fits_on_a_slide(explanation: Explanation, bus: Explanation) -> None:
    for drawn in (explanation.figure(size="slide"), figure([explanation, bus], size="slide")):
        assert drawn.get_figheight() <= 7.5


def test_models_are_named_by_their_titles(bus: Explanation) -> None:
    assert any("EfficientNet-Lite0" in text.get_text() for text in texts(bus.figure()))


def test_every_panel_has_a_letter_of_its_own(bus: Explanation) -> None:
    drawn = figure([of_size(bus, 20, 10)] * 12)
    letters = [title.partition(")")[0] for title in titles(drawn)]
    assert len(set(letters)) == len(letters) == 36


@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 900), height=st.integers(1, 900), size=st.sampled_from(SIZES))
@example(width=768, height=1, size="page")
@example(width=1, height=768, size="slide")
@example(width=4000, height=4000, size="slide")
def test_pixels_are_bounded_whatever_the_picture(
    bus: Explanation, width: int, height: int, size: Size
) -> None:
    drawn = figure([of_size(bus, width, height)], size=size)
    assert np.prod(drawn.get_size_inches() * drawn.dpi) <= MOST_PIXELS
    for axis in drawn.axes:
        for image in axis.get_images():
            assert max(np.shape(image.get_array())[:2]) <= 2000


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_bounded_however_many_rows(bus: Explanation, size: Size) -> None:
    row = dataclasses.replace(of_size(bus, 768, 1), target="long " * 300)
    drawn = figure([row] * 12, size=size)
    assert np.prod(drawn.get_size_inches() * drawn.dpi) <= MOST_PIXELS


# All of Unicode: controls, marks of direction, unpaired surrogates and noncharacters, too.
characters = st.characters(codec=None, exclude_categories=())
hostile = st.text(
    st.one_of(characters, st.sampled_from("$\\{}_^%&<>\0\x0b\x1b\ufeff\u200d\u202e\ud800\uffff\n")),
    max_size=40,
)


def saved(drawn: Figure, kind: str, **context: object) -> bytes:
    """Save a figure; warnings are errors."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context(context):  # type: ignore[arg-type]
        warnings.simplefilter("error")
        drawn.savefig(buffer, format=kind)
    return buffer.getvalue()


@settings(max_examples=40, deadline=None)
@given(text=hostile)
@example(text="$\\frac{1}{0}$ $")
@example(text="a\ufeffb\u200b")
@example(text="\x0b\x0c\x1c\x1f\x85\u2028\ufdd0\ufffe\U0010ffff")
def test_any_text_makes_svg_that_is_xml_and_a_pdf(text: str) -> None:
    shown, families = drawable(text)
    drawn = Figure(figsize=(2, 1))
    drawn.text(0.1, 0.5, shown, fontfamily=families)
    for kind in ("path", "none"):
        ElementTree.fromstring(saved(drawn, "svg", **{"svg.fonttype": kind}))
    assert saved(drawn, "pdf").startswith(b"%PDF")


@settings(max_examples=8, deadline=None)
@given(target=hostile, question=hostile, word=hostile)
@example(target="$x_1^2$ \\$ 100% {} &lt;", question="\\input{x} $ $$", word="\ud800$\x0b")
def test_any_name_makes_a_figure(
    caption: Explanation, target: str, question: str, word: str
) -> None:
    words = [dataclasses.replace(caption.words[0], text=word)]
    query = dataclasses.replace(caption.query, task="vqa", question=f"{question}?")
    asked = dataclasses.replace(caption, target=target, query=query, words=words)
    # Whoever has LaTeX typeset the rest does not have names of classes typeset.
    with matplotlib.rc_context({"text.usetex": True}):
        drawn = of_size(asked, 30, 20).figure(panels=["grad_cam", "words"], size="column")
    ElementTree.fromstring(saved(drawn, "svg"))
    assert saved(drawn, "pdf").startswith(b"%PDF")


def test_a_dollar_sign_is_shown_as_it_is(bus: Explanation) -> None:
    named = dataclasses.replace(bus, target="a $x^2$ for $5")
    root = ElementTree.fromstring(saved(named.figure(), "svg", **{"svg.fonttype": "none"}))
    assert any("a $x^2$ for $5" in (each.text or "") for each in root.iter())


def test_a_figure_shows_itself_at_the_end_of_a_cell(bus: Explanation) -> None:
    """Without pyplot, and without a magic command."""
    data, _ = DisplayFormatter().format(bus.figure(beside=[bus]))
    assert [kind for kind in data if kind != "text/plain"] == ["image/png"]
    assert Image.open(io.BytesIO(data["image/png"])).width == pytest.approx(7.2 * 200, abs=2)


@pytest.mark.slow
def test_a_notebook_shows_a_figure_exactly_once(
    cat_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new kernel, then with what notebooks of matplotlib begin with."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    before = [
        f"from gradcam_core import explain\none = explain({str(cat_file)!r})",
        "%matplotlib inline",
        "import matplotlib.pyplot as plt",
        "%config InlineBackend.figure_formats = ['svg']",
    ]
    sources = [source for each in before for source in (each, "one.figure(beside=[one])")]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, sources)])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    for cell in notebook.cells[1::2]:
        (shown,) = [out for out in cell.outputs if "data" in out]
        assert {"image/png", "image/svg+xml"} & set(shown["data"])
