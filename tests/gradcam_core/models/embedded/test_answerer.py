"""The embedded question answering model keeps the contract of a model and makes sense."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import skimage
import torch
from PIL import Image
from torch import Tensor

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelHead, Prediction
from gradcam_core.models.embedded.answerer import VqaLstm, load_lite_vqa
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.question import MAX_WORDS, parse_question

QUESTION = "What animal is this?"


@pytest.fixture(scope="module")
def model() -> VqaLstm:
    return load_lite_vqa(0)


def picture(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


@pytest.fixture(scope="module")
def cat(model: VqaLstm) -> Encoded:
    return model.encode(picture("chelsea"))


@pytest.fixture
def head(model: VqaLstm, cat: Encoded) -> LabelHead:
    return model.bind(cat, QUESTION)


def first_answer(model: VqaLstm, encoded: Encoded, question: str) -> str:
    return model.bind(encoded, question).predictions(1)[0].text


def test_score_is_the_answers_logit(model: VqaLstm, head: LabelHead) -> None:
    best = head.predictions()[0]
    target = head.target(best.text)
    (score,) = head.scores([target])
    torch.testing.assert_close(score.terms.sum(), head.logits[target.ids[0]])
    assert model.labels[head.logits.argmax()] == best.text
    assert score.probability == pytest.approx(best.probability, rel=1e-4)
    other = model.encode(picture("coffee"))
    (expected,) = model.bind(other, QUESTION).scores([target])
    torch.testing.assert_close(head.score(other.head_input, target).terms, expected.terms)


def test_probabilities_are_those_of_the_cooled_logits(model: VqaLstm, head: LabelHead) -> None:
    assert model.temperature != 1
    assert 0 < model.unsure_below < 1
    cooled = (head.logits / model.temperature).softmax(0)
    for found in head.predictions():
        target = head.target(found.text)
        assert found.probability == pytest.approx(cooled[target.ids[0]].item(), rel=1e-4)
        assert head.is_guess(found) == (found.probability < model.unsure_below)


@pytest.mark.parametrize("layer", ["conv_head", "blocks.6"])
def test_gradients_of_five_answers_at_once_equal_single_ones(model: VqaLstm, layer: str) -> None:
    encoded = model.encode(picture("astronaut"), layer)
    head = model.bind(encoded, "Who is in the picture?")
    targets = [head.target(answer.text) for answer in head.predictions(5)]
    terms = torch.cat([score.terms for score in head.scores(targets)])
    batched = gradients(terms, encoded.activations)
    for target, gradient in zip(targets, batched, strict=True):
        single = gradients(head.scores([target])[0].terms, encoded.activations)[0]
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
def test_answers_are_found_as_people_type_them(
    model: VqaLstm, head: LabelHead, typed: str, shown: str
) -> None:
    target = head.target(typed)
    assert target.text == shown
    assert model.labels[target.ids[0]] == shown


def test_every_answer_shown_is_found_again(model: VqaLstm, head: LabelHead) -> None:
    assert [head.target(answer).ids for answer in model.labels] == [
        (i,) for i in range(len(model.labels))
    ]


def test_unknown_answer_is_refused_with_close_matches(head: LabelHead) -> None:
    with pytest.raises(ValueError, match=r"'elefant'.*elephant"):
        head.target("elefant")


@pytest.mark.parametrize("question", [None, "", " ?! "])
def test_missing_question_is_refused(model: VqaLstm, cat: Encoded, question: str | None) -> None:
    with pytest.raises(ValueError, match="question"):
        model.bind(cat, question)


def test_long_question_is_refused_with_the_limit(model: VqaLstm, cat: Encoded) -> None:
    assert model.bind(cat, "what " * MAX_WORDS).predictions()
    with pytest.raises(ValueError, match=f"{MAX_WORDS + 1}.*{MAX_WORDS}"):
        model.bind(cat, "what " * (MAX_WORDS + 1))


def test_unknown_words_are_named_once(model: VqaLstm, cat: Encoded) -> None:
    question = "Is the Xylophagous dog xylophagous, or собака?"
    head = model.bind(cat, question)
    assert head.question == question
    assert head.unknown_words == ["xylophagous", "собака"]
    assert not model.bind(cat, "What's the dog doing?").unknown_words


def test_a_question_is_parsed_into_indices() -> None:
    found = parse_question("What’s THIS, a dog?", {"what": 3, "is": 4, "dog": 5})
    assert found.ids.tolist() == [3, 4, 0, 0, 5]
    assert found.ids.dtype == torch.int64
    assert found.unknown_words == ["this", "a"]


def test_case_and_punctuation_do_not_matter(model: VqaLstm, cat: Encoded, head: LabelHead) -> None:
    assert model.bind(cat, "WHAT animal is this").predictions() == head.predictions()


def test_threads_agree(model: VqaLstm, cat: Encoded) -> None:
    def work(_: int) -> tuple[Tensor, list[Prediction]]:
        head = model.bind(cat, QUESTION)
        (score,) = head.scores([head.target("cat")])
        return gradients(score.terms, cat.activations), head.predictions()

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
    assert first_answer(model, model.encode(picture(name)), question) in answers


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
    assert first_answer(model, model.encode(picture(name)), question) in answers


@pytest.mark.parametrize(
    ("question", "guess"),
    [
        ("How many cats are there?", True),
        ("Where is the cat?", True),
        ("What is on the left?", True),
        ("What animal is it?", False),
    ],
)
def test_what_it_has_not_learned_is_a_guess_however_likely(
    model: VqaLstm, cat: Encoded, question: str, guess: bool
) -> None:
    assert model.bind(cat, question).is_guess(Prediction("yes", 0.99)) == guess


@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
def test_one_of_the_two_that_are_asked_about(model: VqaLstm, name: str) -> None:
    encoded = model.encode(picture(name))
    assert first_answer(model, encoded, "Is this a cat or a dog?") in {"cat", "dog"}


def test_lite2_reads_and_answers_like_lite0_and_sees_with_its_own_network(model: VqaLstm) -> None:
    lite2 = load_lite_vqa(2)
    assert lite2.labels == model.labels
    assert 0 < lite2.unsure_below < 1
    question, nothing = model.parse(QUESTION), torch.zeros(1, 1280)
    with torch.no_grad():
        logits, _ = model.network(nothing, [question.ids], torch.tensor([0]))
        others, _ = lite2.network(nothing, [question.ids], torch.tensor([0]))
    torch.testing.assert_close(others, logits, atol=1e-2, rtol=1e-3)
    for name, answer in (("chelsea", "cat"), ("coffee", "cup")):
        encoded = lite2.encode(picture(name))
        assert first_answer(lite2, encoded, "What is this?") == answer
        assert first_answer(lite2, encoded, "Is it raining?") in YES_NO


def test_maps_of_two_right_answers_differ(model: VqaLstm) -> None:
    # A cat on the left, a cup of coffee on the right.
    both = Image.new("RGB", (600, 300))
    for x, name in ((0, "chelsea"), (300, "coffee")):
        both.paste(picture(name).resize((300, 300)), (x, 0))
    encoded = model.encode(both)
    head = model.bind(encoded, "What is this?")
    for answer, columns in (("cat", range(3)), ("cup", range(4, 7))):
        (score,) = head.scores([head.target(answer)])
        heat = grad_cam(encoded.activations, gradients(score.terms, encoded.activations))[0]
        assert heat.sum(0).argmax().item() in columns


def test_every_class_has_one_everyday_word() -> None:
    classes = [label for labels in everyday_words().values() for label in labels]
    assert sorted(classes) == list(range(1000))
