"""An explanation as a notebook shows it."""

import html as escaping
from typing import TYPE_CHECKING

from gradcam_core.image.render import DEFAULT_COLOUR_MAP, DEFAULT_OPACITY
from gradcam_core.interactive import html as interactive_page

if TYPE_CHECKING:
    from gradcam_core.explanation import Explanation


def html(explanation: "Explanation") -> str:
    """Return the interactive page in a frame, which keeps it apart from the notebook."""
    page = interactive_page([explanation], DEFAULT_COLOUR_MAP, DEFAULT_OPACITY)
    source = page.replace("&", "&amp;").replace('"', "&quot;")
    title = escaping.escape(str(explanation)).encode("ascii", "xmlcharrefreplace").decode("ascii")
    return (
        f'<iframe srcdoc="{source}" title="{title}" sandbox="allow-scripts" loading="lazy" '
        'style="width: 100%; height: 640px; border: 0"></iframe>'
    )
