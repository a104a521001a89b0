"""The documents name what exists, and all that should be named."""

import re
from pathlib import Path

import pytest

from gradcam_core.methods import METHODS
from gradcam_core.metrics import METRICS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {"node_modules", ".venv", ".pytest_cache"} & set(path.relative_to(ROOT).parts)
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    for link in links:
        if link and "://" not in link and link != "quiz":
            assert (document.parent / link).exists(), link
    for path in re.findall(r"`((?:gradcam_core|demo|deploy|tests|benchmarks)/[\w/.-]+)`", text):
        assert (ROOT / path).exists() or "your_family" in path, path
    for module in re.findall(r"python -m ((?:benchmarks|deploy|training)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_headings_that_links_name_exist() -> None:
    for document in DOCUMENTS:
        for link, anchor in re.findall(r"\]\(([\w/.-]*)#([\w-]+)\)", document.read_text("utf-8")):
            target = document.parent / link if link else document
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{document.name}: #{anchor}"


def test_every_method_and_metric_is_described() -> None:
    for name in METHODS:
        assert f"`{name}`" in text_of("docs/methods.md")
    for name in METRICS:
        assert f"`{name}`" in text_of("docs/metrics.md")


def test_every_setting_is_described() -> None:
    table = text_of("docs/settings.md")
    described = set(re.findall(r"^\| `(GRADCAM_\w+)` \|", table, re.MULTILINE))
    for folder in ("gradcam_core", "demo"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"\bGRADCAM_\w+", path.read_text("utf-8")):
                assert name in described, f"{name} of {path}"
    named = {
        name
        for each in DOCUMENTS
        for name in re.findall(r"`(GRADCAM_\w+)", each.read_text("utf-8"))
    }
    assert named - described == set()


def test_troubleshooting_quotes_messages_of_the_code() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "gradcam_core").rglob("*.py")]
    # Messages are split over lines: join them.
    code = "\n".join(re.sub(r'"\s*\n\s*f?"', "", source) for source in sources)
    for line in re.findall(r"^\| (.+?) \|", text_of("docs/troubleshooting.md"), re.MULTILINE):
        for message in line.split("; "):  # "..." stands for what the code fills in
            if re.match(r"[A-Z]|\.\.\.", message) and " " in message:
                parts = re.split(r"'?\.\.\.'?", message)
                longest = max(parts, key=len).strip(" .:'")
                assert longest in code, longest
