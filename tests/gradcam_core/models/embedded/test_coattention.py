"""Co-attention: what it computes, term by term, and that its embedded model keeps the contract."""

from pathlib import Path

import pytest
import skimage
import torch
from PIL import Image
from torch import nn

import gradcam_core
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.embedded.answer_network import VqaNetwork
from gradcam_core.models.embedded.answerer import VqaCoattention, load_lite_coattention
from gradcam_core.models.embedded.coattention_network import Coattention, CoattentionNetwork
from training.vqa import attend_uniformly

WORDS = ["<unknown>", "is", "it", "a", "cat", "what"]
ANSWERS = {"yes/no": ["yes", "no"], "other": ["cat", "cup"]}
QUESTION = "What animal is this?"


@pytest.fixture(scope="module")
def network() -> CoattentionNetwork:
    torch.manual_seed(0)
    everyday = {"cat": [0, 1], "cup": [2]}
    classifier = nn.Linear(8, 3)
    return CoattentionNetwork(WORDS, ANSWERS, everyday, classifier, 6, 3, 5, 4, 7).eval()


@torch.no_grad()
def test_a_level_attends_as_the_paper_says() -> None:
    torch.manual_seed(0)
    level = Coattention(5, 7, 4)
    words, cells = torch.randn(1, 3, 5), torch.randn(1, 6, 7)
    present = torch.tensor([[True, True, False]])
    on_words, on_cells = level(words, present, cells)
    # Equations 3 to 5, a word and a cell at a time, without the word that is padding.
    q, v = words[0, :2], cells[0]
    affinity = torch.tensor([[torch.tanh((level.affinity.weight @ a) @ b) for b in v] for a in q])
    w_q, w_v = q @ level.of_word.weight.T, v @ level.of_cell.weight.T
    heights = [
        level.cell.weight[0] @ torch.tanh(w_v[n] + sum(affinity[t, n] * w_q[t] for t in range(2)))
        for n in range(6)
    ]
    torch.testing.assert_close(on_cells[0], torch.tensor(heights).softmax(0))
    heights = [
        level.word.weight[0] @ torch.tanh(w_q[t] + sum(affinity[t, n] * w_v[n] for n in range(6)))
        for t in range(2)
    ]
    expected = torch.tensor([*torch.tensor(heights).softmax(0), 0])
    torch.testing.assert_close(on_words[0], expected)


@torch.no_grad()
def test_questions_of_a_batch_do_not_touch_each_other(network: CoattentionNetwork) -> None:
    pictures = network.picture_vectors(torch.rand(2, 8, 3, 3))
    questions = [torch.tensor([5]), torch.tensor([1, 2, 3, 4, 0])]
    together, _ = network(pictures, questions, torch.tensor([0, 1]))
    for i, question in enumerate(questions):
        alone, _ = network(pictures[i : i + 1], [question], torch.tensor([0]))
        torch.testing.assert_close(alone[0], together[i])


@torch.no_grad()
def test_attention_follows_the_cells(network: CoattentionNetwork) -> None:
    features = torch.rand(1, 8, 3, 3)
    question = torch.tensor([5, 1, 2])
    found = network.attention(network.picture_vectors(features), question)
    assert found.shape == (3, 9)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    turned = network.attention(network.picture_vectors(features.flip(3)), question)
    torch.testing.assert_close(turned.view(3, 3, 3).flip(2), found.view(3, 3, 3))


@torch.no_grad()
def test_without_a_picture_only_the_question_speaks(network: CoattentionNetwork) -> None:
    nothing = torch.zeros(1, network.project.in_features + 9 * network.project.out_features)
    question = [torch.tensor([5, 1, 2])]
    logits, kinds = network(nothing, question, torch.tensor([0]))
    read, layer = network.read(question).whole, network.answers
    expected = layer.answer.bias + layer.prior(read) + kinds[:, layer.answer_kinds]
    expected += layer.repeating(read) * layer.repeated(question)
    torch.testing.assert_close(logits, expected)


@torch.no_grad()
def test_a_new_network_starts_from_what_the_other_sees() -> None:
    torch.manual_seed(0)
    everyday = {"cat": [0, 1], "cup": [2]}
    classifier = nn.Linear(8, 3)
    pooling = VqaNetwork(WORDS, ANSWERS, everyday, classifier, 6, 3, 5).eval()
    attending = CoattentionNetwork(WORDS, ANSWERS, everyday, classifier, 6, 3, 5, 4, 8).eval()
    basis, _ = torch.linalg.qr(torch.randn(8, 8))
    attend_uniformly(attending, pooling.picture.weight, basis)
    attending.load_state_dict(pooling.state_dict(), strict=False)
    features, question = torch.rand(1, 8, 3, 3), [torch.tensor([1, 2, 3, 4])]
    which = torch.tensor([0])
    expected, _ = pooling(pooling.picture_vectors(features), question, which)
    found, _ = attending(attending.picture_vectors(features), question, which)
    torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def model() -> VqaCoattention:
    return load_lite_coattention(0)


def test_the_embedded_model_answers_and_points(model: VqaCoattention) -> None:
    encoded = model.encode(Image.fromarray(skimage.data.chelsea()))
    head = model.bind(encoded, QUESTION)
    (best,) = head.predictions(1)
    assert best.text == "cat"
    target = head.target("cat")
    (score,) = head.scores([target])
    gradient = gradients(score.terms, encoded.activations)[0]
    assert gradient.any()
    with torch.no_grad():
        step = encoded.activations + 1e-3 * gradient / gradient.norm()
        rise = head.score(step, target).terms[0] - score.terms[0]
    assert rise.item() == pytest.approx(1e-3 * gradient.norm().item(), rel=0.05)


def test_its_own_attention_is_a_map(model: VqaCoattention) -> None:
    encoded = model.encode(Image.fromarray(skimage.data.chelsea()), "blocks.4")
    found = model.bind(encoded, QUESTION).attention()
    assert model.attends
    assert found.shape == (7, 7)
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    assert found.std() > 0
    with pytest.raises(ValueError, match="question"):
        model.bind(encoded, "?")


def test_its_own_attention_is_a_method(cat_file: Path) -> None:
    found = gradcam_core.explain(
        cat_file, "vqa", question=QUESTION, model="lite0-vqa-coattention", method="attention"
    )
    assert found.raw.shape == (7, 7)
    assert found.raw.std() > 0
    assert not found.raw_counterfactual.any()
    with pytest.raises(ValueError, match="no attention map of its own"):
        gradcam_core.explain(cat_file, "vqa", question=QUESTION, method="attention")
