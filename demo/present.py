"""An explanation as text, and as a file to download."""

import math
import re
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import gradcam_core
from demo.hosting.disk_quota import quota
from demo.hosting.files import new_folder
from demo.hosting.gradio_internals import current_address, upload_folder
from demo.service import TimedExplanation, full_size
from gradcam_core import Explanation

PanelName = Literal[
    "picture", "guided_backprop", "grad_cam", "guided_grad_cam", "counterfactual", "words"
]
Size = Literal["column", "page", "slide"]


def write_file(
    explanations: Sequence[Explanation],
    file_format: str,
    colour_map: str,
    opacity: float,
    vmax: float | None = None,
    measurements: Sequence[str | None] = (None, None),
    panels: Sequence[PanelName] | None = None,
    size: Size = "page",
) -> Path:
    """Write explanations into a file to download.

    Args:
        explanations: One, or several of the same picture.
        file_format: "zip" for everything at the picture's own size; "pdf", "svg" or "png" for
            the paper's Figure 1.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps' colours, in [0, 1].
        vmax: Where the colours of all maps end; None for each map's own maximum.
        measurements: JSON for each explanation; becomes metrics.json in the ZIP.
        panels: Of a figure, see `gradcam_core.figure`.
        size: Likewise.

    Raises:
        ValueError: The upload was deleted, or matplotlib has no such colour map.
    """
    names = [_file_name(explanation.target) for explanation in explanations]
    folder = new_folder(current_address())
    joined = "-".join(dict.fromkeys(names))[:120]
    path = folder / f"grad-cam-{joined}.{file_format}"
    if file_format == "zip":
        with zipfile.ZipFile(path, "w") as archive:  # uncompressed: PNGs are compressed already
            for number, (name, explanation, measured) in enumerate(
                zip(names, explanations, measurements, strict=False), 1
            ):
                inside = "" if len(explanations) == 1 else f"{number}-{name}/"
                with tempfile.TemporaryDirectory(dir=upload_folder()) as temporary:
                    for file in full_size(explanation).save(temporary, colour_map, opacity, vmax):
                        archive.write(file, inside + file.name)
                if measured is not None:
                    archive.writestr(f"{inside}metrics.json", measured)
    else:
        drawn = gradcam_core.figure(
            explanations, colour_map, opacity, vmax, panels=panels, size=size
        )
        drawn.savefig(path)
    quota.add(path.stat().st_size)
    return path


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def summary(result: TimedExplanation) -> str:
    """Return what was explained, in a few lines; for the API."""
    explanation = result.explanation
    why = f"Why “{explanation.target}”?"
    if explanation.question is not None:
        why = f"“{explanation.question}” {why}"
    if explanation.no_evidence:
        why = f"Nothing in this picture speaks for “{explanation.target}”: the heat map is empty."
    elif explanation.faint:
        why = f"Hardly any evidence for “{explanation.target}”."
    h, w = explanation.raw.shape
    lines = [
        why,
        f"{_score(explanation)}; {_first_choice(explanation)}.",
        f"Layer {explanation.layer} ({w} × {h}) of {explanation.model}, "
        f"{result.seconds * 1000:.0f} ms.",
        *explanation.remarks,
        *(["The model is guessing."] if explanation.unsure else []),
    ]
    if explanation.unknown_words:
        lines.append(f"Unknown words: {', '.join(explanation.unknown_words)}.")
    return "\n".join(lines)


def _score(explanation: Explanation) -> str:
    if explanation.task == "captioning" or explanation.probability is None:
        return f"Log-probability {explanation.score:.2f}"
    return f"Logit {explanation.score:.2f}, probability {explanation.probability:.1%}"


def _first_choice(explanation: Explanation) -> str:
    best = explanation.predictions[0]
    if best.text == explanation.target:
        return "the model's first choice"
    # The probability of a caption may be too small for a float.
    likelihood = (
        f"log-probability {math.log(max(best.probability, sys.float_info.min)):.2f}"
        if explanation.task == "captioning"
        else f"{best.probability:.1%}"
    )
    return f"the model's first choice is “{best.text}” ({likelihood})"
