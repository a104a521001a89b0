"""Whatever somebody types, there is a target or one sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradcam_core
from gradcam_core.models.base import LabelModel
from gradcam_core.models.embedded.show_and_tell import ShowAndTell
from gradcam_core.models.embedded.vqa_lstm import read_question
from gradcam_core.models.labels import MAX_TYPED, imagenet_classes, normalise

_WORDS = sorted({word for names in imagenet_classes() for name in names for word in name.split()})

# Any characters; and words of the classes, whole, cut short and run together.
typed = st.text(max_size=MAX_TYPED + 20) | st.lists(
    st.sampled_from(_WORDS) | st.sampled_from(_WORDS).map(lambda word: word[1:]), max_size=4
).map(" ".join)

few = settings(max_examples=150, deadline=None, derandomize=True)


def sentence(error: ValueError) -> bool:
    text = str(error)
    return text.endswith(".") and len(text) < 1500


@few
@given(typed)
def test_a_class(text: str) -> None:
    model = gradcam_core.load("lite0")
    assert isinstance(model, LabelModel)
    try:
        target = model.target(text)
    except ValueError as error:
        assert sentence(error)
        return
    if text.strip().lstrip("+-").isdecimal():
        assert target.ids == (int(text),)
        return
    # All that was typed, but an article and the ending of a plural, is in a name of it, or it is
    # a word that a table lists: no part of a word was taken for the whole.
    names = [normalise(name).replace(" ", "") for name in imagenet_classes()[target.ids[0]]]
    whole = [f" {normalise(name)} " for name in imagenet_classes()[target.ids[0]]]
    tables = model._names._hypernyms["words"]
    forms = [normalise(text)]
    for article in ("a ", "an ", "the ", "some "):
        forms += [form.removeprefix(article) for form in forms]
    for ending, other in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        forms += [form.removesuffix(ending) + other for form in forms if form.endswith(ending)]
    assert any(
        form.replace(" ", "") in names
        or form in tables
        or any(f" {form} " in name for name in whole)
        for form in forms
    )


@few
@given(typed, st.integers(1, 30))
def test_suggestions(text: str, k: int) -> None:
    model = gradcam_core.load("lite0")
    assert isinstance(model, LabelModel)
    if len(text) > MAX_TYPED:
        with pytest.raises(ValueError, match="too long"):
            model.suggestions(text, k=k)
        return
    offered = model.suggestions(text, k=k)
    assert len(offered) == len(set(offered)) <= k
    assert set(offered) <= set(model.labels)


@few
@given(typed | st.text("abcdeghiknorst ", max_size=1200))
def test_a_caption(text: str) -> None:
    model = gradcam_core.load("lite0-caption")
    assert isinstance(model, ShowAndTell)
    try:
        target = model.target(text)
    except ValueError as error:
        assert sentence(error)
    else:
        assert len(target.ids) == len(target.words) > 0
        assert " ".join(target.words) == target.text


@few
@given(typed, typed | st.text("abcdeghiknorst ", max_size=1200))
def test_an_answer_and_its_question(answer: str, question: str) -> None:
    model = gradcam_core.load("lite0-vqa")
    assert isinstance(model, LabelModel)
    try:
        target = model.target(answer, question)
    except ValueError as error:
        assert sentence(error)
    else:
        assert model.labels[target.ids[0]] == target.text
        assert set(model.unknown_words(question)) <= set(read_question(question))


@pytest.mark.parametrize("name", ["lite0", "lite0-caption", "lite0-vqa"])
def test_a_long_text_is_refused_before_it_is_read(name: str) -> None:
    model = gradcam_core.load(name)
    for text in ("x" * 2_000_000, "cats" * 500_000):
        question = text if name.endswith("vqa") else None
        with pytest.raises(ValueError, match=r"too long: 2,000,000 characters, at most [\d,]+\.$"):
            model.target(text, question)
