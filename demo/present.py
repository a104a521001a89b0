"""An explanation as the result panel shows it: words, pictures, a ZIP file."""

import math
import re
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

import gradcam_core
from demo.service import Shown

_STRIP_SIDE = 240  # pixels

# As a default value it tells Gradio to show a bar, here also of every download.
PROGRESS = gr.Progress(track_tqdm=True)


def present(shown: Shown, colour_map: str, opacity: float) -> list[Any]:
    """Return the values of `Panel.results`, in their order."""
    drawn = shown.explanation.panels(colour_map)
    return [
        summary(shown),
        blended(shown, colour_map, opacity),
        drawn.get("guided_backprop"),
        drawn["grad_cam"],
        drawn.get("guided_grad_cam"),
        drawn["counterfactual"],
        shown.explanation.numbers(),
        shown,
    ]


def blended(
    shown: Shown | None, colour_map: str, opacity: float
) -> tuple[Image.Image, Image.Image]:
    """Return the picture and its overlay, for the slider; of one word, if one was clicked."""
    if shown is None:
        raise ValueError("Explain a picture first.")
    explanation = shown.explanation
    heatmap = explanation.heatmap if shown.word is None else explanation.word_heatmap(shown.word)
    return explanation.picture, gradcam_core.overlay(
        explanation.picture, heatmap, colour_map, opacity
    )


def probabilities(shown: Shown) -> dict[str, float]:
    """Return the model's first choices, for a `gr.Label`."""
    return {best.text: best.probability for best in shown.explanation.predictions}


def own_captions(shown: Shown) -> list[list[str]]:
    """Return the model's own captions and their log-probabilities, best first."""
    return [[best.text, f"{_log(best.probability):.2f}"] for best in shown.explanation.predictions]


def compared(
    shown: Shown, other: Shown | None, failed: str, colour_map: str, opacity: float
) -> list[Any]:
    """Return the same target explained by two models: a picture and a text for each.

    Args:
        shown: By the first.
        other: By the second; None if it could not.
        failed: Why it could not.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps, in [0, 1].
    """
    values: list[Any] = []
    for side in (shown, other):
        if side is None:
            values += [gr.update(visible=False), gr.update(value=plain(failed), visible=True)]
            continue
        _, overlay = blended(replace(side, word=None), colour_map, opacity)
        text = "\n".join([*_lines(side), "", *_choices(side)])
        name = side.explanation.model
        values += [
            gr.update(value=overlay, label=f"{name}: Grad-CAM", visible=True),
            gr.update(value=text, visible=True),
        ]
    return values


def words(shown: Shown) -> list[tuple[str, float]]:
    """Return the words of a caption, each with how much of it the picture explains.

    The sum of a word's map is, to first order, what its log-probability owes to the regions that
    speak for it. Scaled to a maximum of 1.
    """
    evidence = [word.raw.sum().item() for word in shown.explanation.words]
    most = max(evidence) or 1.0
    return [
        (word.text, value / most)
        for word, value in zip(shown.explanation.words, evidence, strict=True)
    ]


def word_strip(shown: Shown, colour_map: str) -> list[tuple[Image.Image, str]]:
    """Return the overlay of the whole caption and of each of its words, small, with captions."""
    explanation = replace(shown.explanation, picture=shown.explanation.picture.copy())
    explanation.picture.thumbnail((_STRIP_SIDE, _STRIP_SIDE))
    heatmaps = [explanation.heatmap, *map(explanation.word_heatmap, range(len(explanation.words)))]
    captions = ["all", *(f"{word.text} {word.log_prob:.1f}" for word in explanation.words)]
    return [
        (gradcam_core.overlay(explanation.picture, heatmap, colour_map), caption)
        for heatmap, caption in zip(heatmaps, captions, strict=True)
    ]


def summary(shown: Shown) -> str:
    """Say in words what is shown."""
    explanation = shown.explanation
    target = plain(explanation.target)
    why = f"Why **{target}**?"
    if explanation.question is not None:
        why = f"“{plain(explanation.question)}” {why}"
    if explanation.no_evidence:
        why = f"Nothing in this picture speaks for **{target}**, so the heat map is empty"
    if shown.word is not None:
        word = explanation.words[shown.word]
        why = "Why" if word.raw.any() else "Nothing in this picture speaks for"
        why = f"{why} **{plain(word.text)}** in “{target}”? Log-probability {word.log_prob:.2f}"
    return f"### {why}\n{' '.join(_lines(shown))}"


def archive(shown: Shown | None, colour_map: str, progress: gr.Progress = PROGRESS) -> str:
    """Write everything about an explanation, at the picture's own size, into a ZIP file."""
    if shown is None:
        raise ValueError("Explain a picture first, then download the result.")
    explanation = shown.full_size()
    name = re.sub(r"[^a-z0-9]+", "-", explanation.target.lower()).strip("-")[:40]
    path = Path(tempfile.mkdtemp(dir=get_upload_folder())) / f"grad-cam-{name}.zip"
    with tempfile.TemporaryDirectory() as temporary:
        progress(0.1, desc="Drawing at full size")
        files = explanation.save(temporary, colour_map)
        with zipfile.ZipFile(path, "w") as packed:  # uncompressed: PNGs are already
            for file in progress.tqdm(files, desc="Packing"):
                packed.write(file, file.name)
    return str(path)


def _lines(shown: Shown) -> list[str]:
    """Say in figures what is shown, and what must be known to read it."""
    explanation = shown.explanation
    h, w = explanation.raw.shape
    lines = [
        _score(explanation.task, explanation.score, explanation.probability) + f"; {_own(shown)}.",
        f"Layer `{explanation.layer}` ({w} × {h}) of {plain(explanation.model)}, "
        f"{shown.seconds * 1000:.0f} ms.",
    ]
    left, top, right, bottom = explanation.box
    if left > 0 or top > 0 or right < 1 or bottom < 1:
        lines.append("This network is shown the middle of the picture only.")
    lines += map(plain, explanation.remarks)
    if explanation.unknown_words:
        words = ", ".join(plain(word) for word in explanation.unknown_words)
        lines.append(f"**Not understood:** {words}.")
    return lines


def _choices(shown: Shown) -> list[str]:
    """List what the model itself would say, best first."""
    explanation = shown.explanation
    return [
        f"- {plain(best.text)} "
        + (
            f"({_log(best.probability):.2f})"
            if explanation.task == "captioning"
            else f"{best.probability:.1%}"
        )
        for best in explanation.predictions
    ]


def _score(task: str, score: float, probability: float) -> str:
    if task == "captioning":
        return f"Log-probability {score:.2f}"
    return f"Logit {score:.2f}, probability {probability:.1%}"


def _own(shown: Shown) -> str:
    explanation = shown.explanation
    best = explanation.predictions[0]
    if best.text == explanation.target:
        return "the model's first choice"
    of_best = (
        f"log-probability {_log(best.probability):.2f}"
        if explanation.task == "captioning"
        else f"{best.probability:.1%}"
    )
    return f"the model's first choice is *{plain(best.text)}* ({of_best})"


def _log(probability: float) -> float:
    """Take the logarithm, also of what is too small for a float."""
    return math.log(max(probability, sys.float_info.min))


def plain(text: str) -> str:
    """Return what a user typed as Markdown that shows it and does nothing else."""
    return re.sub(r"([\\`*_{}\[\]()#!|~$<>&:.@])", r"\\\1", " ".join(text.split()))
