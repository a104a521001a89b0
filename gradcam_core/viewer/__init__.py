"""What draws explanations in a browser: for the page of the demo, and for pages of one file."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
"""Of the JavaScript modules and style sheets."""
DATA = "{data}"
"""Where the data go in `template`, as JSON without "<"."""

# The modules are formatted by Biome. They import and export by name, and rename nothing.
_IMPORT = re.compile(r"^import \{[^}]*\} from '\./(\w+\.js)';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function|function|const|class)", re.MULTILINE)


@cache
def template() -> str:
    """Return a page of one file without its data.

    Its policy lets nothing run but its own script, and lets nothing be fetched.
    """
    style = (FOLDER / "shared.css").read_text("utf-8") + (FOLDER / "page.css").read_text("utf-8")
    script = _joined("main.js", set())
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    page = (FOLDER / "page.html").read_text("utf-8")
    for name, content in {"policy": policy, "style": style, "script": script}.items():
        page = page.replace(f"{{{name}}}", content)
    return page


def _joined(name: str, done: set[str]) -> str:
    """Return a module with what it imports before it, as one module; but for those in `done`.

    Where two names are the same, the browser refuses the result as a syntax error.
    """
    done.add(name)
    module = (FOLDER / name).read_text("utf-8")
    imported = [_joined(each, done) for each in _IMPORT.findall(module) if each not in done]
    return "".join([*imported, _EXPORT.sub("", _IMPORT.sub("", module))])


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
