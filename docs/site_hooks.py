"""Hooks of mkdocs: the documents at the top of the repository become pages, and links follow.

The code of the gallery is run.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(_ROOT))  # for gradcam_core; mkdocs itself has added this file's folder

from gallery import gallery  # noqa: E402

_TOP = {
    "README.md": "index.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_LINK = re.compile(r"(!?)\[([^]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the documents at the top of the repository."""
    for name, page in _TOP.items():
        text = _FRONT_MATTER.sub("", (_ROOT / name).read_text("utf-8"))
        files.append(File.generated(config, page, content=text))
    _add_gallery(files, config)
    return files


def _add_gallery(files: Files, config: Any) -> None:
    source = files.get_file_from_path("gallery.md")
    made = gallery(source.content_string)
    files.remove(source)
    files.append(File.generated(config, "gallery.md", content=made.markdown))
    for name, page in made.pages.items():
        files.append(File.generated(config, f"gallery/{name}", content=page))


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Let links between documents lead to pages; what is in the repository only is no link."""
    here = page.file.src_uri
    sources = {page: name for name, page in _TOP.items()}
    folder = (_ROOT / sources.get(here, f"docs/{here}")).parent

    def replaced(link: re.Match[str]) -> str:
        image, text, address, anchor = link.groups()
        if "://" in address:
            return link[0]
        path = os.path.relpath((folder / address).resolve(), _ROOT)
        wanted = _TOP.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(wanted) is None:
            return text
        relative = os.path.relpath(wanted, Path(here).parent)
        return f"{image}[{text}]({relative}{anchor or ''})"

    return _LINK.sub(replaced, markdown)
