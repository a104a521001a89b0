"""The embedded captioner keeps the contract of a model, and its captions make sense."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import skimage
import torch
from PIL import Image

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Prediction
from gradcam_core.models.embedded.caption_search import END, LENGTH_POWER, MAX_WORDS, Candidate
from gradcam_core.models.embedded.lite import lite_classifier_layer
from gradcam_core.models.embedded.show_and_tell import (
    UNKNOWN,
    UNSEEN,
    ShowAndTell,
    join_names,
    load_lite_caption,
    sample,
)
from gradcam_core.models.embedded.vqa_lstm import everyday_words


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
        ("astronaut", {"man", "woman", "person", "boy", "girl", "lady", "helmet"}),
        ("coffee", {"cup", "coffee", "espresso"}),
    ],
)
def test_captions_name_what_is_there(model: ShowAndTell, name: str, words: set[str]) -> None:
    caption = model.predict(model.encode(picture(name)))[0].text.split()
    assert words & set(caption), caption
    assert "dog" not in caption


def test_a_name_of_two_words_is_one_word(model: ShowAndTell) -> None:
    target = model.target("A hot dog, and an ice cream")
    assert target.words == ("a", "hot dog", "and", "an", "ice cream")
    assert target.text == "a hot dog and an ice cream"


def test_names_are_joined_from_the_left() -> None:
    assert join_names(["a", "sea", "lion"], {"sea lion", "lion"}) == ["a", "sea lion"]
    assert join_names(["sea"], {"sea lion"}) == ["sea"]
    assert join_names(["x", "y", "z"], {"x y", "y z"}) == ["x y", "z"]


def test_every_thing_that_the_classifier_knows_can_be_said(model: ShowAndTell) -> None:
    for word in everyday_words():
        assert model.target(f"a {word}").ids


def test_seen_is_the_log_odds_of_a_thing_and_does_not_fade(model: ShowAndTell) -> None:
    head = model._head
    pooled = torch.rand(2, 1280, generator=torch.Generator().manual_seed(0)) * 1.5
    chances = lite_classifier_layer(0)(pooled).softmax(1).double()
    place = model.words.index("dog")
    dogs = chances[:, head.class_words == place].sum(1)
    expected = torch.nn.functional.softplus((dogs / (1 - dogs)).log() - UNSEEN) / 4
    found = head.seen(pooled)[:, head.things == place][:, 0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    # Where a class is all but certain its probability has no gradient left; this has.
    sure = (20 * lite_classifier_layer(0).weight[:1]).relu().requires_grad_()
    fish = head.seen(sure)[0, head.things == model.words.index("fish")]
    (gradient,) = torch.autograd.grad(fish.sum(), sure)
    assert fish.item() > 2
    assert gradient.abs().sum() > 1


def test_the_maps_of_two_things_lie_on_their_own(model: ShowAndTell) -> None:
    cat, coffee = (picture(name).resize((224, 224)) for name in ("chelsea", "coffee"))
    both = Image.new("RGB", (448, 224))
    both.paste(cat, (0, 0))
    both.paste(coffee, (224, 0))
    encoded = model.encode(both)
    target = model.target("a cat and a cup")
    of_words = gradients(model.score_terms(encoded, target).terms, encoded.activations)
    maps = grad_cam(encoded.activations, of_words)
    half = maps.shape[2] // 2
    left, right = maps[:, :, :half].sum((1, 2)), maps[:, :, -half:].sum((1, 2))
    assert left[target.words.index("cat")] > 2 * right[target.words.index("cat")]
    assert right[target.words.index("cup")] > 2 * left[target.words.index("cup")]


def test_a_caption_of_what_is_hardly_seen_is_a_guess(model: ShowAndTell, cat: Encoded) -> None:
    assert not model.is_guess(cat, Prediction("a cat is sitting", 0.1))
    assert model.is_guess(cat, Prediction("a toucan is sitting", 0.1))
    # The classifier knows no people, and what names nothing is not said to be wrong.
    assert not model.is_guess(cat, Prediction("a man with a toucan", 0.1))
    assert not model.is_guess(cat, Prediction("it is sitting", 0.1))


def test_captions_are_whole_and_say_nothing_twice(model: ShowAndTell, cat: Encoded) -> None:
    ids = [model.words.index(word) for word in ["a", "bowl", "of", "bowl"]]
    likely = Candidate(-0.1 / 5**LENGTH_POWER, 0.0, ids)
    assert model._flawed(likely)
    assert not model._flawed(likely._replace(ids=[*ids[:3], model.words.index("soup")]))
    broken_off = Candidate(-5 / 3**LENGTH_POWER, 0.0, ids[:2])
    assert model._flawed(broken_off)
    another = [model.words.index(w) for w in ["a", "car", "next", "to", "another", "car"]]
    assert not model._flawed(Candidate(-0.1 / 7**LENGTH_POWER, 0.0, another))
    for caption in model.predict(cat, k=3):
        assert caption.text.split()[-1] not in {"a", "an", "the", "of", "in"}


def test_what_is_said_of_a_caption_is_its_own_score(model: ShowAndTell, cat: Encoded) -> None:
    # Searches share what they read, and `_usual` reads each beginning once: none may get another's.
    for caption in model.predict(cat):
        score = model.score_terms(cat, model.target(caption.text))
        assert caption.probability == pytest.approx(score.probability, rel=1e-3)
    head = model._head
    texts = ["a cat is sitting on the grass", "a cat is sitting", "two dogs", "a dog"]
    found = [Candidate(0.0, 0.0, [*model.target(text).ids]) for text in texts]
    for said, usual in zip(found, model._usual(found), strict=True):
        ids = torch.tensor([[*said.ids, END]])
        with torch.no_grad():
            terms = head(torch.zeros(1, head.plan.in_features), ids)[0].log_softmax(-1)
        total = sum(terms[i, word].item() for i, word in enumerate(ids[0]))
        assert usual == pytest.approx(total / ids.shape[1] ** LENGTH_POWER, rel=1e-4)


def test_sentences_drawn_of_one_picture_are_those_drawn_one_by_one(
    model: ShowAndTell, cat: Encoded
) -> None:
    attributes = model._attributes(cat.features.detach())
    together = sample(model._head, attributes, model._chances, [UNKNOWN])
    apart = sample(model._head, attributes.expand(len(together), -1), model._chances, [UNKNOWN])
    assert torch.equal(together, apart)
    assert len({tuple(ids) for ids in together.tolist()}) > 32
