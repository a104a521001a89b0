"""Any typed text gives a target or an error with a short message."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelHead
from gradcam_core.models.embedded.question import split_question
from gradcam_core.models.labels import MAX_TYPED, hypernyms, imagenet_classes, normalise

_WORDS = sorted({word for names in imagenet_classes() for name in names for word in name.split()})

# Any characters; or words from class names, whole or without their first letter.
typed = st.text(max_size=MAX_TYPED + 20) | st.lists(
    st.sampled_from(_WORDS) | st.sampled_from(_WORDS).map(lambda word: word[1:]), max_size=4
).map(" ".join)

few = settings(max_examples=150, deadline=None, derandomize=True)


@cache
def encoded(name: str) -> Encoded:
    return gradcam_core.load(name).encode(Image.new("RGB", (64, 64), "gray"))


def is_short(error: ValueError) -> bool:
    return len(str(error)) < 1500


@few
@given(typed)
def test_a_class(text: str) -> None:
    head = gradcam_core.load("lite0").bind(encoded("lite0"))
    try:
        target = head.target(text)
    except ValueError as error:
        assert is_short(error)
        return
    if text.strip().lstrip("+-").isdecimal():
        assert target.ids == (int(text),)
        return
    # But for an article and a plural ending, the text is in a name of the class or is
    # a listed word: parts of words do not match.
    names = [normalise(name).replace(" ", "") for name in imagenet_classes()[target.ids[0]]]
    whole = [f" {normalise(name)} " for name in imagenet_classes()[target.ids[0]]]
    listed = hypernyms()["words"]
    forms = [normalise(text)]
    for article in ("a ", "an ", "the ", "some "):
        forms += [form.removeprefix(article) for form in forms]
    for ending, other in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        forms += [form.removesuffix(ending) + other for form in forms if form.endswith(ending)]
    assert any(
        form.replace(" ", "") in names
        or form in listed
        or any(f" {form} " in name for name in whole)
        for form in forms
    )


@few
@given(typed, st.integers(1, 30))
def test_suggestions(text: str, k: int) -> None:
    head = gradcam_core.load("lite0").bind(encoded("lite0"))
    assert isinstance(head, LabelHead)
    if len(text) > MAX_TYPED:
        with pytest.raises(ValueError, match=str(MAX_TYPED)):
            head.suggestions(text, k=k)
        return
    offered = head.suggestions(text, k=k)
    assert len(offered) == len(set(offered)) <= k
    assert set(offered) <= set(head.model.labels)


@few
@given(typed | st.text("abcdeghiknorst ", max_size=1200))
def test_a_caption(text: str) -> None:
    try:
        target = gradcam_core.load("lite0-caption").bind(encoded("lite0-caption")).target(text)
    except ValueError as error:
        assert is_short(error)
    else:
        assert len(target.ids) == len(target.words) > 0
        assert " ".join(target.words) == target.text


@few
@given(typed, typed | st.text("abcdeghiknorst ", max_size=1200))
def test_an_answer_and_its_question(answer: str, question: str) -> None:
    try:
        head = gradcam_core.load("lite0-vqa").bind(encoded("lite0-vqa"), question)
        assert set(head.unknown_words) <= set(split_question(question))
        target = head.target(answer)
    except ValueError as error:
        assert is_short(error)
    else:
        assert head.model.labels[target.ids[0]] == target.text


@pytest.mark.parametrize("text", ["x" * 2_000_000, "cats" * 500_000], ids=["word", "words"])
@pytest.mark.parametrize("name", ["lite0", "lite0-caption", "lite0-vqa"])
def test_a_long_text_is_refused_before_it_is_read(name: str, text: str) -> None:
    model = gradcam_core.load(name)
    question = "What is this?" if model.task == "vqa" else None
    with pytest.raises(ValueError, match="2,000,000"):
        model.bind(encoded(name), question).target(text)
    if question is not None:
        with pytest.raises(ValueError, match="2,000,000"):
            model.bind(encoded(name), text)
