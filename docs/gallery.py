"""Runs the code of docs/gallery.md, and puts the interactive pages that it makes below it."""

import ast
import re
from functools import cache
from typing import Any, NamedTuple

from gradcam_core import Explanation

_BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_FRAME = (
    '\n<iframe src="{}" sandbox="allow-scripts" loading="lazy" title="Interactive page of the code '
    'above" style="width: 100%; height: 640px; border: 0"></iframe>\n'
)


class Gallery(NamedTuple):
    """The gallery's Markdown, with frames, and the pages in them by file name."""

    markdown: str
    pages: dict[str, str]


@cache
def gallery(text: str) -> Gallery:
    """Run the blocks of a text one after the other, as a notebook does.

    A block that ends in an expression makes a page: it is an explanation, or its HTML.
    """
    pages: dict[str, str] = {}
    names: dict[str, Any] = {}

    def with_page(block: re.Match[str]) -> str:
        shown = _run(block[1], names)
        if shown is None:
            return block[0]
        name = f"{len(pages) + 1}.html"
        pages[name] = shown.to_html() if isinstance(shown, Explanation) else shown
        return block[0] + _FRAME.format(name)

    return Gallery(_BLOCK.sub(with_page, text), pages)


def _run(code: str, names: dict[str, Any]) -> Any:
    """Run code; return the value of its last line if that is an expression."""
    *statements, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        exec(code, names)
        return None
    exec(compile(ast.Module(statements, []), "gallery.md", "exec"), names)
    return eval(compile(ast.Expression(last.value), "gallery.md", "eval"), names)
