"""The paper's protocols of sections 4.1 and 4.3, counted by hand."""

import pytest

from gradcam_core.metrics.localization_study import Judged, Offer, summarise

HIT = Offer(present=True, highest=3.0, points=True, boxed=True)
OFF = Offer(present=True, highest=2.5, points=False, boxed=False)
FAINT = Offer(present=False, highest=0.5, points=False, boxed=False)
LOUD = Offer(present=False, highest=4.0, points=False, boxed=False)


def test_counted_by_hand() -> None:
    result = summarise(
        [
            Judged((HIT, FAINT, FAINT), (True,)),  # right at once
            Judged((FAINT, HIT, FAINT), (True, False)),  # right, but not at once
            Judged((OFF, FAINT, FAINT), (False,)),  # the right class, the wrong place
            Judged((LOUD, FAINT, FAINT), (True,)),  # not named at all
        ]
    )
    assert result.photos == 4
    assert result.classified == (0.5, 0.25)
    assert result.localised == (0.75, 0.5)
    assert result.pointing == pytest.approx(3 / 5)
    # Between 0.5 and 2.5 lies the threshold that either half finds best: "not there" is right of
    # each faint map, and of 12 offers only the one off its thing and the loud one are wrong.
    assert result.pointing_or_none == pytest.approx(10 / 12)


def test_without_photos() -> None:
    with pytest.raises(ValueError, match="no photo with boxes"):
        summarise([])
