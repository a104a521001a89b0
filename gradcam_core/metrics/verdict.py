"""Whether measurements support a map: yes, no, or the picture cannot tell."""

from collections.abc import Mapping

from gradcam_core.metrics.faithfulness_correlation import exceeds
from gradcam_core.metrics.metric import Measurement

DECIDING = "faithfulness-correlation"
"""The metric without which there is no verdict."""

# What does at least as well as the map, by the names of references, for a sentence.
_RIVALS = {
    "centre": "the picture's centre",
    "shuffled": "the map with its parts in random order",
    "random order": "the map with its parts in random order",
    "moved": "the map in another place",
    "likeliest others": "the map of another likely answer",
    "random others": "the maps of other answers",
}


def rivals(measurements: Mapping[str, Measurement]) -> list[str]:
    """Return the references that do as well as the map, or better, in any measurement.

    Of deletion and insertion, those that are drawn beside the map's curve: no verdict contradicts
    what is drawn.

    Examples:
        >>> rivals(metrics.measure(explanation))
        ['centre']
    """
    found = [
        name
        for name, reference in measurements[DECIDING].references.items()
        if not exceeds(measurements[DECIDING].value, reference)
    ]
    found += [name for lead in _leads(measurements) for name, each in lead.items() if each <= 0]
    return list(dict.fromkeys(found))


def _leads(measurements: Mapping[str, Measurement]) -> list[dict[str, float]]:
    """Return by how much the map is better than each reference, for each curve measured."""
    curves = [(sign, measurements.get(name)) for name, sign in (("deletion", -1), ("insertion", 1))]
    return [
        {name: sign * (found.value - reference) for name, reference in found.references.items()}
        for sign, found in curves
        if found
    ]


def supports(measurements: Mapping[str, Measurement]) -> bool | None:
    """Return whether measurements support a map as an explanation of its target.

    Args:
        measurements: From `measure`, with "faithfulness-correlation".

    Returns:
        True if the map does better than all maps that cannot know what the network uses; False if
        it does no better than nothing, though others do, and leads in no curve; None if the picture
        cannot tell, or if "faithfulness-correlation" was not measured. docs/metrics.md has how
        often each is right.

    Examples:
        >>> metrics.supports(metrics.measure(explanation)) is None  # this picture cannot tell
        True
    """
    if DECIDING not in measurements:
        return None
    if not rivals(measurements):
        return True
    found = measurements[DECIDING]
    best = max(
        (found.references[name] for name in found.references if name not in ("shuffled", "moved")),
        default=0.0,
    )
    others_do = exceeds(best, max(found.references.get("shuffled", 0.0), 0.0))
    leads = any(min(lead.values()) > 0 for lead in _leads(measurements))
    return False if found.value <= 0 and others_do and not leads else None


def verdict(measurements: Mapping[str, Measurement]) -> str:
    """Return one sentence on whether measurements support a map; see `supports`.

    Raises:
        ValueError: "faithfulness-correlation" was not measured.

    Examples:
        >>> metrics.verdict(metrics.measure(explanation)).split(":")[0]
        'This picture cannot tell whether the map shows what the network uses'
    """
    if DECIDING not in measurements:
        raise ValueError(f"A verdict needs the metric {DECIDING}.")
    outcome = supports(measurements)
    if outcome:
        others = (
            ", of other answers" if "random others" in measurements[DECIDING].references else ""
        )
        return (
            "The map shows what the network uses: the answer depends on the parts that it marks, "
            f"more than on those that maps of the picture's centre{others} and copies of the map "
            "in other places mark."
        )
    if outcome is False:
        return (
            "The map does not show what the network uses: the answer depends no more on the parts "
            "that it marks than on others."
        )
    names = dict.fromkeys(_RIVALS[name] for name in rivals(measurements))
    *first, last = names
    listed = f"{', '.join(first)} and {last}" if first else last
    does = "do" if first or last.startswith("the maps") else "does"
    return (
        f"This picture cannot tell whether the map shows what the network uses: {listed} {does} "
        "as well."
    )
