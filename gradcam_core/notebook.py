"""An explanation as a notebook shows it."""

import base64
import html as escaping
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcam_core.explanation import Explanation


def html(explanation: "Explanation") -> str:
    """Return the figure as HTML: a picture, no script."""
    png = io.BytesIO()
    explanation.figure().savefig(png, format="png", dpi=110)
    data = base64.b64encode(png.getvalue()).decode("ascii")
    text = escaping.escape(str(explanation))
    return f'<img src="data:image/png;base64,{data}" alt="{text}" style="max-width:100%">'
