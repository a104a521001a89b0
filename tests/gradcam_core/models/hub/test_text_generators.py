"""Text generators from `transformers`: small networks, saved and loaded again."""

from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor

from gradcam_core.explain import Explainer
from gradcam_core.image.open import open_image
from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.base import Head
from gradcam_core.models.hub.checkpoints import CHECKPOINTS, load_text_generator_from
from gradcam_core.models.hub.text_generator import TextGenerator
from gradcam_core.query import Query
from tests.support import small_text_generators
from tests.support.model_contract import check, hooked

_QUESTION = "What animal is this ?"
_TEXT = "a dog runs"


@pytest.fixture(scope="module", params=list(CHECKPOINTS))
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TextGenerator:
    folder = tmp_path_factory.mktemp(request.param)
    small_text_generators.save(request.param, folder)
    return load_text_generator_from(request.param, folder)


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> Image.Image:
    return open_image(cat_file)


@pytest.fixture
def head(model: TextGenerator, picture: Image.Image) -> Head:
    return model.bind(model.encode(picture), _question(model))


def _load(name: str, folder: Path) -> TextGenerator:
    small_text_generators.save(name, folder)
    return load_text_generator_from(name, folder)


def _question(model: TextGenerator) -> str | None:
    return _QUESTION if model.task == "vqa" else None


def _query(model: TextGenerator, guided: bool = False) -> Query:
    return Query(model.task, _TEXT, _question(model), guided=guided)


def _whole(model: TextGenerator, pixels: Tensor, ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Score by the network's own `forward`, from inputs made by its own processor."""
    network, processor = model.network, model.processor
    before = torch.tensor([ids[:-1]], dtype=torch.long)
    blank = Image.new("RGB", (90, 60))

    def score(logits: Tensor) -> Tensor:
        return logits.log_softmax(-1).gather(1, torch.tensor([ids]).t()).sum()

    if isinstance(network, transformers.BlipForConditionalGeneration):
        start = torch.tensor([[network.config.text_config.bos_token_id]])
        output = network(pixels, torch.cat([start, before], 1))
        return output.image_embeds, score(output.logits[0])
    if isinstance(network, transformers.BlipForQuestionAnswering):
        # Its `forward` returns no logits: call its parts in the same way.
        tokens = network.vision_model(pixels).last_hidden_state
        question = processor(blank, _QUESTION, return_tensors="pt")
        encoded = network.text_encoder(
            question.input_ids, attention_mask=question.attention_mask, encoder_hidden_states=tokens
        )[0]
        start = torch.tensor([[network.config.text_config.bos_token_id]])
        logits = network.text_decoder(
            torch.cat([start, before], 1), encoder_hidden_states=encoded
        ).logits
        return tokens, score(logits[0])
    if isinstance(network, transformers.Florence2ForConditionalGeneration):
        prompt = processor(images=blank, text="<CAPTION>", return_tensors="pt").input_ids
        start = torch.tensor([[2, 0]])
        feature_map, logits = hooked(
            network.model.vision_tower.blocks[-1][-1],
            lambda: network(prompt, pixels, decoder_input_ids=torch.cat([start, before], 1)).logits,
        )
        return feature_map, score(logits[0, 1:])
    instruction = (
        "Describe the image in one short sentence."
        if model.task == "captioning"
        else f"{_QUESTION}\nAnswer the question using a single word or phrase."
    )
    content = [{"type": "image"}, {"type": "text", "text": instruction}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    start = processor(images=blank, text=prompt, return_tensors="pt").input_ids
    feature_map, logits = hooked(
        network.model.vision_tower.timm_model.final_conv,
        lambda: network(torch.cat([start, before], 1), pixels).logits,
    )
    return feature_map, score(logits[0, start.shape[1] - 1 :])


def _as_map(output: Tensor) -> Tensor:
    if output.ndim == 4:
        return output
    return output[:, 1:].transpose(1, 2).unflatten(2, (4, 4))  # without the first token


def test_score_and_gradient_equal_those_of_the_whole_network(
    model: TextGenerator, picture: Image.Image, head: Head
) -> None:
    ids = head.target(_TEXT).ids
    check(
        model,
        picture,
        _TEXT,
        lambda pixels: _whole(model, pixels, ids),
        _as_map,
        question=_question(model),
    )


def test_a_caption_has_a_map_for_each_word_even_if_words_have_several_tokens(
    model: TextGenerator, picture: Image.Image, head: Head
) -> None:
    explanation = Explainer().explain(picture, _query(model), model)
    if model.task == "vqa":
        assert explanation.words == []
        return
    assert [word.text for word in explanation.words] == _TEXT.split()
    assert sum(word.log_prob for word in explanation.words) == pytest.approx(explanation.score)
    target = head.target(_TEXT)
    if not model.name.startswith("blip"):
        assert len(target.ids) > len(explanation.words)
    # The last word's map, computed alone.
    context = model.context(model.head_input(head.encoded), model.prompt(None))
    last_word = model.log_probabilities(context, target.ids)[-target.lengths[-1] :].sum()
    gradient = gradients(last_word[None], head.encoded.activations)
    expected = grad_cam(head.encoded.activations, gradient)[0].numpy()
    assert explanation.words[-1].raw == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_it_writes_what_it_scores_highest(model: TextGenerator, head: Head) -> None:
    with torch.no_grad():
        context = model.context(head.encoded.head_input, model.prompt(head.question))
        (written,) = model.generate(context, num_beams=1, do_sample=False, max_new_tokens=4)
        assert len(written) > 1
        for position, token in enumerate(written[:-1].tolist()):  # the last may be a forced end
            logits = model.logits(context, written[None, : position + 1])[-1]
            assert logits[token] == pytest.approx(logits.max().item(), rel=1e-4)


def test_predictions_are_distinct_and_have_the_probability_of_their_score(head: Head) -> None:
    predictions = head.predictions(3)
    assert 1 <= len({best.text for best in predictions}) == len(predictions) <= 3
    assert all(0 <= best.probability <= 1 for best in predictions)
    assert head.predictions(2) == predictions[:2]
    assert head.target() == head.target(head.predictions()[0].text)


def test_the_question_counts(tmp_path: Path, picture: Image.Image) -> None:
    model = _load("blip-vqa-base", tmp_path)
    encoded = model.encode(picture)
    first, second = (model.bind(encoded, text) for text in (_QUESTION, "what dog runs ?"))
    scores = [head.scores([head.target("dog")])[0].terms.item() for head in (first, second, first)]
    assert scores[0] != scores[1]
    assert scores[0] == scores[2]


def test_guided_backpropagation_is_refused(model: TextGenerator, picture: Image.Image) -> None:
    assert model.backbone.other_activation
    with pytest.raises(ValueError, match=model.backbone.other_activation):
        Explainer().explain(picture, _query(model, guided=True), model)


@pytest.mark.parametrize(("text", "message"), [("  ", "empty"), ("a " * 41, "41 words")])
def test_texts_that_cannot_be_scored_are_refused(head: Head, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        head.target(text)


def test_blip_names_words_it_cannot_write(tmp_path: Path, picture: Image.Image) -> None:
    model = _load("blip-base", tmp_path)
    with pytest.raises(ValueError, match="zebra"):
        model.bind(model.encode(picture)).target("a zebra runs")


@pytest.mark.parametrize("question", [None, " ", "why " * 60])
def test_a_question_is_required(tmp_path: Path, picture: Image.Image, question: str | None) -> None:
    model = _load("blip-vqa-base", tmp_path)
    with pytest.raises(ValueError, match="ask"):
        model.bind(model.encode(picture), question)


def test_a_captioner_takes_no_question(tmp_path: Path, picture: Image.Image) -> None:
    model = _load("blip-base", tmp_path)
    with pytest.raises(ValueError, match="question"):
        model.bind(model.encode(picture), _QUESTION)


def test_both_tasks_of_fastvlm_share_one_network(tmp_path: Path) -> None:
    captioner = _load("fastvlm-0.5b", tmp_path)
    answerer = load_text_generator_from("fastvlm-0.5b-vqa", tmp_path)
    assert captioner.network is answerer.network


@pytest.mark.parametrize(("text", "token"), [("a [SEP] dog", "SEP"), ("[PAD]", "PAD")])
def test_control_tokens_are_refused(
    tmp_path: Path, picture: Image.Image, text: str, token: str
) -> None:
    model = _load("blip-vqa-base", tmp_path)
    encoded = model.encode(picture)
    with pytest.raises(ValueError, match=token):
        model.bind(encoded, text)
    with pytest.raises(ValueError, match=token):
        model.bind(encoded, _QUESTION).target(text)


def test_the_end_token_of_an_answer_is_scored(model: TextGenerator, head: Head) -> None:
    target = head.target(_TEXT)
    assert (target.ids[-1] == model.end_token) == (model.task == "vqa")
    assert sum(target.lengths) == (0 if model.task == "vqa" else len(target.ids))


def test_the_files_of_another_model_are_refused(tmp_path: Path) -> None:
    small_text_generators.save("blip-base", tmp_path)
    with pytest.raises(ValueError, match="blip-vqa-base"):
        load_text_generator_from("blip-vqa-base", tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    small_text_generators.save("blip-base", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="blip-base"):
        load_text_generator_from("blip-base", tmp_path)
