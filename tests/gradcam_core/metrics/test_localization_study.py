"""The paper's protocols of sections 4.1 and 4.3, counted by hand."""

import pytest

from gradcam_core.metrics.localization_study import PhotoResult, TopClass, summarise

HIT = TopClass(present=True, maximum=3.0, pointed=True, localized=True)
OFF = TopClass(present=True, maximum=2.5, pointed=False, localized=False)
FAINT = TopClass(present=False, maximum=0.5, pointed=False, localized=False)
LOUD = TopClass(present=False, maximum=4.0, pointed=False, localized=False)


def test_counted_by_hand() -> None:
    result = summarise(
        [
            PhotoResult((HIT, FAINT, FAINT), (True,)),  # right at once
            PhotoResult((FAINT, HIT, FAINT), (True, False)),  # right, but not at once
            PhotoResult((OFF, FAINT, FAINT), (False,)),  # the right class, the wrong place
            PhotoResult((LOUD, FAINT, FAINT), (True,)),  # not named at all
        ]
    )
    assert result.photos == 4
    assert result.classification_error == (0.5, 0.25)
    assert result.localization_error == (0.75, 0.5)
    assert result.pointing == pytest.approx(3 / 5)
    # Between 0.5 and 2.5 lies the threshold that either half finds best: "not there" is right of
    # each faint map, and of 12 offers only the one off its thing and the loud one are wrong.
    assert result.pointing_with_none == pytest.approx(10 / 12)


def test_without_photos() -> None:
    with pytest.raises(ValueError, match="No photo"):
        summarise([])
