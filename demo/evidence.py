"""Evidence for one explanation, as the page gets it: figures, and what they say in one sentence."""

from typing import Any

import gradcam_core
from demo.answers import packed
from gradcam_core.evidence import METRICS, Finding, in_words, measure, sanity_check

# What can be asked in one go, and by which metrics it is answered.
TESTS = {
    "occlusion": ("occlusion-correlation",),
    "curves": ("deletion", "insertion", "average-drop"),
    "figures": ("occlusion-correlation", "deletion", "insertion"),
    "all": tuple(METRICS),
}


def tested(explanation: gradcam_core.Explanation, test: str) -> dict[str, Any]:
    """Ask an explanation for evidence.

    Args:
        explanation: With its picture at full size.
        test: One of `TESTS`, or "sanity".

    Raises:
        ValueError: It cannot be tested so; the message says why.
    """
    if test == "sanity":
        return {
            "steps": [
                {"layer": step.layer, "correlation": step.correlation, "map": packed(step.raw)}
                for step in sanity_check(explanation)
            ]
        }
    findings = measure(explanation, TESTS[test])
    return {
        "findings": {name: _numbers(name, finding) for name, finding in findings.items()},
        "sentence": in_words(findings),
    }


def _numbers(name: str, finding: Finding) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "title": metric.title,
        "paper": metric.paper,
        "better": metric.better,
        "value": finding.value,
        "beside": finding.beside,
        "curve": finding.curve,
        "curves_beside": finding.curves_beside,
        "map": None if finding.map is None else finding.map.tolist(),
    }
