"""Update the table in docs/settings.md from `demo/hosting/settings.py`.

python docs/settings_table.py
"""

import sys
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from demo.hosting.settings import Settings  # noqa: E402

START, END = "<!-- settings -->\n", "<!-- end of settings -->\n"
_TYPES = {
    str: "text",
    bool: "0 or 1",
    int: "integer",
    float: "number",
    tuple: "list",
    SecretStr: "secret",
}


def table() -> str:
    """Return the table, in Markdown."""
    head = "| variable | type | default | meaning |\n|---|---|---|---|\n"
    return head + "".join(map(_row, Settings.model_fields.values()))


def _row(field: FieldInfo) -> str:
    default = "" if field.default in (None, (), "") else f"`{field.default}`"
    return f"| `{field.alias}` | {_type(field.annotation)} | {default} | {field.description} |\n"


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (UnionType, Union):
        return _type(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        secret = get_args(annotation)[0] is SecretStr
        return "list, secret" if secret else "list"
    if annotation in _TYPES:
        return _TYPES[annotation]
    if hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0])
    return " or ".join(f"`{each}`" for each in get_args(annotation))


if __name__ == "__main__":
    page = ROOT / "docs" / "settings.md"
    before, _, rest = page.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    page.write_text(before + START + table() + END + after, "utf-8")
