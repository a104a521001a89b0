"""The embedded question answering model keeps the contract of a model and makes sense."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import skimage
import torch
from PIL import Image

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.embedded.vqa_lstm import MAX_WORDS, VqaLstm, everyday_words, load_lite_vqa

QUESTION = "What animal is this?"


@pytest.fixture(scope="module")
def model() -> VqaLstm:
    return load_lite_vqa(0)


def picture(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


@pytest.fixture(scope="module")
def cat(model: VqaLstm) -> Encoded:
    return model.encode(picture("chelsea"))


def test_score_is_the_answers_logit(model: VqaLstm, cat: Encoded) -> None:
    logits = model.logits(cat.features, QUESTION)
    best = model.predict(cat, QUESTION)[0]
    target = model.target(best.text, QUESTION, cat)
    evaluation = model.score_terms(cat, target)
    torch.testing.assert_close(model.score(cat, target), logits[target.ids[0]])
    assert model.labels[logits.argmax()] == best.text
    assert evaluation.probability == pytest.approx(best.probability, rel=1e-4)


def test_probabilities_are_those_of_the_cooled_logits(model: VqaLstm, cat: Encoded) -> None:
    assert model.temperature != 1
    assert 0 < model.unsure_below < 1
    cooled = (model.logits(cat.features, QUESTION) / model.temperature).softmax(0)
    for found in model.predict(cat, QUESTION):
        target = model.target(found.text, QUESTION)
        assert found.probability == pytest.approx(cooled[target.ids[0]].item(), rel=1e-4)


@pytest.mark.parametrize("layer", ["conv_head", "blocks.6"])
def test_gradients_of_five_answers_at_once_equal_single_ones(model: VqaLstm, layer: str) -> None:
    encoded = model.encode(picture("astronaut"), layer)
    question = "Who is in the picture?"
    best = model.logits(encoded.features, question).topk(5).indices

    def scores() -> torch.Tensor:
        return model.logits(model.features(encoded), question)[best]

    batched = gradients(scores(), encoded.activations)
    for i, gradient in enumerate(batched):
        single = gradients(scores()[i : i + 1], encoded.activations)[0]
        assert single.any()
        torch.testing.assert_close(gradient, single, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("cat", "cat"),
        ("  CATS", "cat"),
        ("a dog", "dog"),
        ("Two", "2"),
        ("grey", "gray"),
        ("garbage_bin", "garbage bin"),
        ("Bike", "bicycle"),
        ("the people", "person"),
        ("Yes.", "yes"),
    ],
)
def test_answers_are_found_as_people_type_them(model: VqaLstm, typed: str, shown: str) -> None:
    target = model.target(typed, QUESTION)
    assert target.text == shown
    assert model.labels[target.ids[0]] == shown
    assert target.question == QUESTION


def test_every_answer_shown_is_found_again(model: VqaLstm) -> None:
    assert [model.target(answer, QUESTION).ids for answer in model.labels] == [
        (i,) for i in range(len(model.labels))
    ]


def test_unknown_answer_is_refused_with_near_ones(model: VqaLstm) -> None:
    with pytest.raises(ValueError, match=r"no answer 'elefant'.*elephant"):
        model.target("elefant", QUESTION)


@pytest.mark.parametrize("question", [None, "", " ?! "])
def test_missing_question_is_refused(model: VqaLstm, cat: Encoded, question: str | None) -> None:
    for use in (model.predict, lambda _, asked: model.target("cat", asked)):
        with pytest.raises(ValueError, match="Ask a question"):
            use(cat, question)
    with pytest.raises(ValueError, match="Ask a question"):
        model.unknown_words(question)


def test_long_question_is_refused_with_the_limit(model: VqaLstm, cat: Encoded) -> None:
    model.predict(cat, "what " * MAX_WORDS)
    with pytest.raises(ValueError, match=f"at most {MAX_WORDS}"):
        model.predict(cat, "what " * (MAX_WORDS + 1))


def test_unknown_words_are_named_once(model: VqaLstm) -> None:
    question = "Is the Xylophagous dog xylophagous, or собака?"
    assert model.unknown_words(question) == ["xylophagous", "собака"]
    assert not model.unknown_words("What's the dog doing?")


def test_case_and_punctuation_do_not_matter(model: VqaLstm, cat: Encoded) -> None:
    assert model.predict(cat, "WHAT animal is this") == model.predict(cat, QUESTION)


def test_threads_agree(model: VqaLstm, cat: Encoded) -> None:
    target = model.target("cat", QUESTION)

    def work(_: int) -> tuple:
        terms = model.score_terms(cat, target).terms
        return gradients(terms, cat.activations), model.predict(cat, QUESTION)

    with ThreadPoolExecutor(2) as pool:
        (first, answers), *others = pool.map(work, range(4))
    for gradient, other_answers in others:
        assert torch.equal(gradient, first)
        assert other_answers == answers


@pytest.mark.parametrize(
    ("name", "question", "answers"),
    [
        ("chelsea", QUESTION, {"cat"}),
        ("chelsea", "What type of animal is that?", {"cat"}),
        ("chelsea", "is there a dog", {"no"}),
        ("chelsea", "Do you see a cat?", {"yes"}),
        ("chelsea", "How many cats are there?", {"1"}),
        ("coffee", "What is this?", {"cup"}),
        ("coffee", "Is there a cat?", {"no"}),
        ("astronaut", "who is in the picture", {"woman", "man", "person", "girl", "boy"}),
    ],
)
def test_answers_are_sensible(model: VqaLstm, name: str, question: str, answers: set[str]) -> None:
    best = model.predict(model.encode(picture(name)), question)[0].text
    assert best in answers


YES_NO = {"yes", "no"}
COLOURS = {"black", "white", "brown", "red", "blue", "green", "yellow", "orange", "gray", "tan"}
NUMBERS = {str(number) for number in range(20)}


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ("Is the mother elephant kicking her baby?", YES_NO),
        ("Are there more dogs than cats on the couch?", YES_NO),
        ("Could this have been taken at night?", YES_NO),
        ("How many people are wearing a hat?", NUMBERS),
        ("What number of birds can be seen?", NUMBERS),
        ("What color are the curtains?", COLOURS),
        ("The wall is what colour?", COLOURS),
    ],
)
@pytest.mark.parametrize("name", ["chelsea", "astronaut", "rocket"])
def test_a_question_gets_an_answer_of_its_kind(
    model: VqaLstm, name: str, question: str, answers: set[str]
) -> None:
    assert model.predict(model.encode(picture(name)), question, k=1)[0].text in answers


@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
def test_one_of_the_two_that_are_asked_about(model: VqaLstm, name: str) -> None:
    best = model.predict(model.encode(picture(name)), "Is this a cat or a dog?", k=1)[0]
    assert best.text in {"cat", "dog"}


def test_the_sister_reads_and_answers_the_same_and_sees_with_its_own_network(
    model: VqaLstm,
) -> None:
    sister = load_lite_vqa(2)
    assert sister.labels == model.labels
    assert 0 < sister.unsure_below < 1
    nothing = torch.zeros(1, 1280, 7, 7)
    torch.testing.assert_close(
        sister.logits(nothing, QUESTION), model.logits(nothing, QUESTION), atol=1e-2, rtol=1e-3
    )
    for name, answer in (("chelsea", "cat"), ("coffee", "cup")):
        encoded = sister.encode(picture(name))
        assert sister.predict(encoded, "What is this?", k=1)[0].text == answer
        assert sister.predict(encoded, "Is it raining?", k=1)[0].text in YES_NO


def test_maps_of_two_right_answers_differ(model: VqaLstm) -> None:
    # A cat on the left, a cup of coffee on the right.
    both = Image.new("RGB", (600, 300))
    for x, name in ((0, "chelsea"), (300, "coffee")):
        both.paste(picture(name).resize((300, 300)), (x, 0))
    encoded = model.encode(both)
    for answer, columns in (("cat", range(3)), ("cup", range(4, 7))):
        score = model.score_terms(encoded, model.target(answer, "What is this?")).terms
        heat = grad_cam(encoded.activations, gradients(score, encoded.activations))[0]
        assert heat.sum(0).argmax().item() in columns


def test_every_class_has_one_everyday_word() -> None:
    classes = [label for labels in everyday_words().values() for label in labels]
    assert sorted(classes) == list(range(1000))
