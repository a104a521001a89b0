"""An explanation in words, and as a file to keep."""

import math
import re
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from demo.compute.service import Shown
from demo.hosting.disk_quota import quota
from demo.hosting.gradio_internals import upload_folder


def written(
    rows: Sequence[Shown],
    file_format: str,
    colour_map: str,
    opacity: float,
    highest: float | None = None,
    evidence: Sequence[str | None] = (None, None),
) -> Path:
    """Write what is shown into a file to download.

    Args:
        rows: One explanation, or two of a picture beside each other.
        file_format: "zip" for everything at the picture's own size; "pdf", "svg" or "png" for
            the paper's Figure 1 of it.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps' colours, in [0, 1].
        highest: Where the colours of a figure end, see `Explanation.figure`.
        evidence: What was measured of each, as JSON; a file of the ZIP.
    """
    names = [_file_name(shown.explanation.target) for shown in rows]
    folder = Path(tempfile.mkdtemp(dir=upload_folder()))
    path = folder / f"grad-cam-{'-'.join(dict.fromkeys(names))}.{file_format}"
    if file_format == "zip":
        with zipfile.ZipFile(path, "w") as packed:  # uncompressed: PNGs are already
            for number, (name, shown, figures) in enumerate(
                zip(names, rows, evidence, strict=False), 1
            ):
                inside = "" if len(rows) == 1 else f"{number}-{name}/"
                with tempfile.TemporaryDirectory(dir=upload_folder()) as temporary:
                    for file in shown.full_size().save(temporary, colour_map, opacity):
                        packed.write(file, inside + file.name)
                if figures is not None:
                    packed.writestr(f"{inside}metrics.json", figures)
    else:
        first, *beside = (shown.explanation for shown in rows)
        first.figure(colour_map, opacity, beside, highest).savefig(path, dpi=200)
    quota.add(path.stat().st_size)
    return path


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def summary(shown: Shown) -> str:
    """Say in words what was explained; for the API."""
    explanation = shown.explanation
    why = f"Why “{explanation.target}”?"
    if explanation.question is not None:
        why = f"“{explanation.question}” {why}"
    if explanation.no_evidence:
        why = f"Nothing in this picture speaks for “{explanation.target}”: the heat map is empty."
    elif explanation.hardly_any_evidence:
        why = f"Hardly any evidence for “{explanation.target}”."
    h, w = explanation.raw.shape
    lines = [
        why,
        _score(explanation.task, explanation.score, explanation.probability) + f"; {_own(shown)}.",
        f"Layer {explanation.layer} ({w} × {h}) of {explanation.model}, "
        f"{shown.seconds * 1000:.0f} ms.",
        *explanation.remarks,
        *(["The model is guessing."] if explanation.unsure else []),
    ]
    if explanation.unknown_words:
        lines.append(f"Not understood: {', '.join(explanation.unknown_words)}.")
    return "\n".join(lines)


def _score(task: str, score: float, probability: float | None) -> str:
    if task == "captioning" or probability is None:
        return f"Log-probability {score:.2f}"
    return f"Logit {score:.2f}, probability {probability:.1%}"


def _own(shown: Shown) -> str:
    explanation = shown.explanation
    best = explanation.predictions[0]
    if best.text == explanation.target:
        return "the model's first choice"
    of_best = (
        # Too small for a float it may be, but its logarithm is not asked to be exact then.
        f"log-probability {math.log(max(best.probability, sys.float_info.min)):.2f}"
        if explanation.task == "captioning"
        else f"{best.probability:.1%}"
    )
    return f"the model's first choice is “{best.text}” ({of_best})"
