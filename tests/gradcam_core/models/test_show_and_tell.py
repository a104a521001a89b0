"""The embedded captioner keeps the contract of a model, and its captions make sense."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import skimage
import torch
from PIL import Image

from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.show_and_tell import MAX_WORDS, ShowAndTell, load_lite_caption


@pytest.fixture(scope="module")
def model() -> ShowAndTell:
    return load_lite_caption(0)


def picture(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


@pytest.fixture(scope="module")
def cat(model: ShowAndTell) -> Encoded:
    return model.encode(picture("chelsea"))


def test_score_is_the_sum_of_the_words_shown(model: ShowAndTell, cat: Encoded) -> None:
    best = model.predict(cat)[0]
    target = model.target(best.text)
    evaluation = model.score_terms(cat, target)
    assert evaluation.terms.shape == (len(target.words),)
    assert torch.equal(model.score(cat, target), evaluation.terms.sum())
    assert evaluation.probability == pytest.approx(evaluation.terms.sum().exp().item(), rel=1e-5)
    assert best.probability == pytest.approx(evaluation.probability, rel=1e-3)


def test_a_word_depends_only_on_the_words_before_it(model: ShowAndTell, cat: Encoded) -> None:
    short = model.score_terms(cat, model.target("a dog")).terms
    long = model.score_terms(cat, model.target("a dog runs")).terms
    torch.testing.assert_close(long[:2], short)


@pytest.mark.parametrize("layer", ["conv_head", "blocks.6"])
def test_gradients_of_all_words_at_once_equal_single_ones(model: ShowAndTell, layer: str) -> None:
    encoded = model.encode(picture("astronaut"), layer)
    target = model.target("a man in a red shirt")
    batched = gradients(model.score_terms(encoded, target).terms, encoded.activations)
    for i, gradient in enumerate(batched):
        term = model.score_terms(encoded, target).terms[i : i + 1]
        single = gradients(term, encoded.activations)[0]
        assert single.any()
        torch.testing.assert_close(gradient, single, rtol=1e-4, atol=1e-7)


def test_typing_the_models_own_caption_finds_the_same_words(
    model: ShowAndTell, cat: Encoded
) -> None:
    text = model.predict(cat)[0].text
    typed, own = model.target(f"  {text.capitalize()}. "), model.target(text)
    assert typed == own
    assert typed.text == text
    assert " ".join(model.words[i] for i in typed.ids) == text
    assert torch.equal(model.score_terms(cat, typed).terms, model.score_terms(cat, own).terms)


def test_captions_are_distinct_and_repeatable(model: ShowAndTell, cat: Encoded) -> None:
    captions = model.predict(cat, k=7)
    assert captions == model.predict(cat, k=7)
    assert len({caption.text for caption in captions}) == 7
    assert all(0 < caption.probability <= 1 for caption in captions)


def test_unknown_words_are_all_named_with_near_ones(model: ShowAndTell) -> None:
    with pytest.raises(ValueError, match=r"'dogg' \(perhaps .*dog.*'xylophonist'"):
        model.target("a dogg and a xylophonist")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "type a caption"),
        (" ?!", "type a caption"),
        ("dog " * (MAX_WORDS + 1), f"at most {MAX_WORDS}"),
        ("собака на траве", "does not know the words 'собака', 'на', 'траве'"),
    ],
)
def test_unusable_captions_are_refused(model: ShowAndTell, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.target(text)


def test_threads_agree(model: ShowAndTell, cat: Encoded) -> None:
    target = model.target("a cat is looking at the camera")

    def work(_: int) -> tuple:
        terms = model.score_terms(cat, target).terms
        return gradients(terms, cat.activations), model.predict(cat)

    with ThreadPoolExecutor(2) as pool:
        (first, captions), *others = pool.map(work, range(4))
    for gradient, other_captions in others:
        assert torch.equal(gradient, first)
        assert other_captions == captions


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chelsea", {"cat", "kitten"}),
        ("astronaut", {"man", "woman", "person", "boy", "girl", "lady"}),
    ],
)
def test_captions_name_what_is_there(model: ShowAndTell, name: str, words: set[str]) -> None:
    caption = model.predict(model.encode(picture(name)))[0].text
    assert words & set(caption.split()), caption
