"""Update the table in docs/models.md from the registry.

python docs/model_table.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from gradcam_core import ModelInfo, models  # noqa: E402

START, END = "<!-- models -->\n", "<!-- end of models -->\n"


def table() -> str:
    """Return the table, in Markdown."""
    head = (
        "| name | what it is | task | backbone | map at the last layer | licence | download "
        "| guided |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(map(_row, models()))


def _row(info: ModelInfo) -> str:
    size = f"{info.download_mb:,} MB" if info.download_mb else "none"
    feature_map = info.feature_map.replace("x", "×") + ("" if info.convolutional else " tokens")
    guided = "yes" if info.guided else "no"
    return (
        f"| `{info.name}` | {info.title}, {info.year} | {info.task} | {info.backbone} "
        f"| {feature_map} | {info.licence} | {size} | {guided} |\n"
    )


if __name__ == "__main__":
    page = ROOT / "docs" / "models.md"
    before, _, rest = page.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    page.write_text(before + START + table() + END + after, "utf-8")
