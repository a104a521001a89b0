"""The embedded captioner keeps the contract of a model, and its captions make sense."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import skimage
import torch
from PIL import Image
from torch import Tensor

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Head, Prediction
from gradcam_core.models.embedded.caption_network import UNKNOWN, UNSEEN, sample
from gradcam_core.models.embedded.caption_search import END, LENGTH_POWER, MAX_WORDS, Candidate
from gradcam_core.models.embedded.caption_text import join_names, with_articles
from gradcam_core.models.embedded.captioner import ShowAndTell, load_lite_caption
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.lite import lite_classifier_layer


@pytest.fixture(scope="module")
def model() -> ShowAndTell:
    return load_lite_caption(0)


def picture(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


@pytest.fixture(scope="module")
def cat(model: ShowAndTell) -> Encoded:
    return model.encode(picture("chelsea"))


def word_scores(head: Head, text: str) -> Tensor:
    """The log-probability of each word of a caption."""
    (score,) = head.scores([head.target(text)])
    return score.terms


def test_score_is_the_sum_of_the_words_shown(model: ShowAndTell, cat: Encoded) -> None:
    head = model.bind(cat)
    best = head.predictions()[0]
    target = head.target()
    assert target.text == best.text
    (score,) = head.scores([target])
    assert score.terms.shape == (len(target.words),)
    assert score.probability == pytest.approx(score.terms.sum().exp().item(), rel=1e-5)
    assert best.probability == pytest.approx(score.probability, rel=1e-3)
    other = model.encode(picture("coffee"))
    (expected,) = model.bind(other).scores([target])
    torch.testing.assert_close(head.score(other.head_input, target).terms, expected.terms)


def test_a_word_depends_only_on_the_words_before_it(model: ShowAndTell, cat: Encoded) -> None:
    head = model.bind(cat)
    torch.testing.assert_close(word_scores(head, "a dog runs")[:2], word_scores(head, "a dog"))


@pytest.mark.parametrize("layer", ["conv_head", "blocks.6"])
def test_gradients_of_all_words_at_once_equal_single_ones(model: ShowAndTell, layer: str) -> None:
    encoded = model.encode(picture("astronaut"), layer)
    head, text = model.bind(encoded), "a man in a red shirt"
    batched = gradients(word_scores(head, text), encoded.activations)
    for i, gradient in enumerate(batched):
        single = gradients(word_scores(head, text)[i : i + 1], encoded.activations)[0]
        assert single.any()
        torch.testing.assert_close(gradient, single, rtol=1e-4, atol=1e-7)


def test_typing_the_models_own_caption_finds_the_same_words(
    model: ShowAndTell, cat: Encoded
) -> None:
    head = model.bind(cat)
    text = head.predictions()[0].text
    typed = head.target(f"  {text.capitalize()}. ")
    assert typed == head.target(text)
    assert typed.text == text
    assert " ".join(model.words[i] for i in typed.ids) == text


def test_captions_are_distinct_and_repeatable(model: ShowAndTell, cat: Encoded) -> None:
    captions = model.bind(cat).predictions(7)
    assert captions == model.bind(cat).predictions(7)
    assert len({caption.text for caption in captions}) == 7
    assert all(0 < caption.probability <= 1 for caption in captions)


def test_unknown_words_are_all_named_with_close_matches(model: ShowAndTell, cat: Encoded) -> None:
    with pytest.raises(ValueError, match=r"'dogg' .*dog.*'xylophonist'"):
        model.bind(cat).target("a dogg and a xylophonist")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "caption"),
        (" ?!", "caption"),
        ("dog " * (MAX_WORDS + 1), f"{MAX_WORDS + 1}.*{MAX_WORDS}"),
        ("собака на траве", "'собака', 'на', 'траве'"),
        (7, "number"),
    ],
)
def test_unusable_captions_are_refused(
    model: ShowAndTell, cat: Encoded, text: str | int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.bind(cat).find_target(text)


def test_a_captioner_takes_no_question(model: ShowAndTell, cat: Encoded) -> None:
    with pytest.raises(ValueError, match="lite0-caption"):
        model.bind(cat, "What is this?")


def test_threads_agree(model: ShowAndTell, cat: Encoded) -> None:
    def work(_: int) -> tuple[Tensor, list[Prediction]]:
        head = model.bind(cat)
        terms = word_scores(head, "a cat is looking at the camera")
        return gradients(terms, cat.activations), head.predictions()

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
    caption = model.bind(model.encode(picture(name))).predictions()[0].text.split()
    assert words & set(caption), caption
    assert "dog" not in caption


def test_a_name_of_two_words_is_one_word(model: ShowAndTell) -> None:
    target = model.resolve("A hot dog, and an ice cream")
    assert target.words == ("a", "hot dog", "and", "an", "ice cream")
    assert target.text == "a hot dog and an ice cream"


def test_names_are_joined_from_the_left() -> None:
    assert join_names(["a", "sea", "lion"], {"sea lion", "lion"}) == ["a", "sea lion"]
    assert join_names(["sea"], {"sea lion"}) == ["sea"]
    assert join_names(["x", "y", "z"], {"x y", "y z"}) == ["x y", "z"]


def test_articles_fit_the_next_word() -> None:
    words = ["a", "elephant", "and", "an", "man", "with", "an", "uniform", "in", "a", "hour"]
    assert " ".join(with_articles(words)) == "an elephant and a man with a uniform in an hour"


def test_every_thing_that_the_classifier_knows_can_be_said(model: ShowAndTell) -> None:
    for word in everyday_words():
        assert model.resolve(f"a {word}").ids


def test_seen_is_the_log_odds_of_a_thing_and_does_not_fade(model: ShowAndTell) -> None:
    network = model.network
    pooled = torch.rand(2, 1280, generator=torch.Generator().manual_seed(0)) * 1.5
    chances = lite_classifier_layer(0)(pooled).softmax(1).double()
    place = model.words.index("dog")
    dogs = chances[:, network.class_words == place].sum(1)
    expected = torch.nn.functional.softplus((dogs / (1 - dogs)).log() - UNSEEN) / 4
    found = network.seen(pooled)[:, network.things == place][:, 0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    # Where a class is nearly certain, its probability has no gradient left; the log odds have one.
    sure = (20 * lite_classifier_layer(0).weight[:1]).relu().requires_grad_()
    fish = network.seen(sure)[0, network.things == model.words.index("fish")]
    (gradient,) = torch.autograd.grad(fish.sum(), sure)
    assert fish.item() > 2
    assert gradient.abs().sum() > 1


def test_the_maps_of_two_things_lie_on_their_own(model: ShowAndTell) -> None:
    cat, coffee = (picture(name).resize((224, 224)) for name in ("chelsea", "coffee"))
    both = Image.new("RGB", (448, 224))
    both.paste(cat, (0, 0))
    both.paste(coffee, (224, 0))
    encoded = model.encode(both)
    head = model.bind(encoded)
    target = head.target("a cat and a cup")
    of_words = gradients(head.scores([target])[0].terms, encoded.activations)
    maps = grad_cam(encoded.activations, of_words)
    half = maps.shape[2] // 2
    left, right = maps[:, :, :half].sum((1, 2)), maps[:, :, -half:].sum((1, 2))
    assert left[target.words.index("cat")] > 2 * right[target.words.index("cat")]
    assert right[target.words.index("cup")] > 2 * left[target.words.index("cup")]


@pytest.mark.parametrize(
    ("caption", "guess"),
    [
        ("a cat is sitting", False),
        ("a toucan is sitting", True),
        ("a man with a toucan", False),  # the classifier knows no people
        ("it is sitting", False),  # names nothing
    ],
)
def test_a_caption_that_names_nothing_seen_is_a_guess(
    model: ShowAndTell, cat: Encoded, caption: str, guess: bool
) -> None:
    assert model.bind(cat).is_guess(Prediction(caption, 0.1)) == guess


def test_captions_are_complete_and_repeat_nothing(model: ShowAndTell, cat: Encoded) -> None:
    is_flawed = model.ranker.is_flawed
    ids = [model.words.index(word) for word in ["a", "bowl", "of", "bowl"]]
    likely = Candidate(-0.1 / 5**LENGTH_POWER, 0.0, ids)
    assert is_flawed(likely)
    assert not is_flawed(likely._replace(ids=[*ids[:3], model.words.index("soup")]))
    broken_off = Candidate(-5 / 3**LENGTH_POWER, 0.0, ids[:2])
    assert is_flawed(broken_off)
    another = [model.words.index(w) for w in ["a", "car", "next", "to", "another", "car"]]
    assert not is_flawed(Candidate(-0.1 / 7**LENGTH_POWER, 0.0, another))
    for caption in model.bind(cat).predictions(3):
        assert caption.text.split()[-1] not in {"a", "an", "the", "of", "in"}


def test_a_captions_probability_is_its_own(model: ShowAndTell, cat: Encoded) -> None:
    # Searches run side by side: none may get another one's logits.
    head = model.bind(cat)
    for caption in head.predictions():
        (score,) = head.scores([head.target(caption.text)])
        assert caption.probability == pytest.approx(score.probability, rel=1e-3)


def test_likelihoods_without_a_picture_are_those_of_each_caption(model: ShowAndTell) -> None:
    # Each beginning is read once, so captions share states.
    network = model.network
    texts = ["a cat is sitting on the grass", "a cat is sitting", "two dogs", "a dog"]
    captions = [Candidate(0.0, 0.0, [*model.resolve(text).ids]) for text in texts]
    for caption, found in zip(captions, model.ranker.unconditional(captions), strict=True):
        ids = torch.tensor([[*caption.ids, END]])
        with torch.no_grad():
            terms = network(torch.zeros(1, network.plan.in_features), ids)[0].log_softmax(-1)
        total = sum(terms[i, word].item() for i, word in enumerate(ids[0]))
        assert found == pytest.approx(total / ids.shape[1] ** LENGTH_POWER, rel=1e-4)


def test_sentences_drawn_together_are_those_drawn_one_by_one(
    model: ShowAndTell, cat: Encoded
) -> None:
    attributes = model.bind(cat).attributes
    together = sample(model.network, attributes, model.uniform, [UNKNOWN])
    each = attributes.expand(len(together), -1)
    assert torch.equal(together, sample(model.network, each, model.uniform, [UNKNOWN]))
    assert len({tuple(ids) for ids in together.tolist()}) > 32
