"""The paper's protocols of sections 4.1 and 4.3, counted by hand."""

from pathlib import Path

import pytest

from gradcam_core.explain import Explainer
from gradcam_core.image import open_image
from gradcam_core.metrics.boxes import LabelledBox
from gradcam_core.metrics.localization_study import (
    PhotoResult,
    TopClass,
    evaluate_photo,
    summarise,
)
from gradcam_core.query import Query

SIZE = (451, 300)
FACE = LabelledBox("cat", (100, 20, 330, 280), SIZE)  # by eye
CORNER = LabelledBox("n02124075", (0, 200, 60, 300), SIZE)  # without the cat

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


def test_boxes_of_a_photo(cat_file: Path) -> None:
    """The first prediction is "Egyptian cat": one of the classes that "cat" may mean."""
    photo = open_image(cat_file)
    found = evaluate_photo(photo, [FACE], Query(), threshold=0.3)
    assert found is not None
    assert len(found.top) == 5
    assert found.top[0].present
    assert found.top[0].pointed
    assert found.top[0].localized
    assert found.pointed == (True,)
    missed = evaluate_photo(photo, [CORNER], Query())
    assert missed is not None
    assert [top.present for top in missed.top] == [True, False, False, False, False]
    assert not missed.top[0].pointed
    assert not missed.top[0].localized
    assert missed.pointed == (False,)


@pytest.mark.parametrize("query", [Query(detail=2), Query(layer="blocks.5", method="layercam")])
def test_the_maps_are_those_of_the_query(cat_file: Path, query: Query) -> None:
    found = evaluate_photo(open_image(cat_file), [FACE], query)
    assert found is not None
    explanation = Explainer().explain(cat_file, query)
    assert found.top[0].maximum == pytest.approx(explanation.raw.max())


def test_a_photo_of_objects_that_the_model_has_no_class_for(cat_file: Path) -> None:
    assert evaluate_photo(open_image(cat_file), [FACE._replace(label="qwerty")], Query()) is None


def test_the_study_is_for_classifiers(cat_file: Path) -> None:
    with pytest.raises(ValueError, match="is for classifiers"):
        evaluate_photo(open_image(cat_file), [FACE], Query("captioning"))
