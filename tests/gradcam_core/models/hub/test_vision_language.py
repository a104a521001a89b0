"""Captioners and question answerers of `transformers`: reduced networks, saved and loaded back."""

from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor

from gradcam_core.explain import explain_encoded
from gradcam_core.image.open import open_image
from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.hub.vision_language import (
    CHECKPOINTS,
    TextGenerator,
    load_text_generator_from,
)
from tests.support import small_text_generators
from tests.support.model_contract import check, hooked

_QUESTION = "What animal is this ?"
_TEXT = "a dog runs"


@pytest.fixture(scope="module", params=list(CHECKPOINTS))
def writer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TextGenerator:
    folder = tmp_path_factory.mktemp(request.param)
    small_text_generators.save(request.param, folder)
    return load_text_generator_from(request.param, folder)


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> Image.Image:
    return open_image(cat_file)


def _question(model: TextGenerator) -> str | None:
    return _QUESTION if model.task == "vqa" else None


def _whole(model: TextGenerator, pixels: Tensor, ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Score by the network's own `forward`, from inputs made by its own processor."""
    network, processor = model._network, model._processor
    before = torch.tensor([ids[:-1]], dtype=torch.long)
    blank = Image.new("RGB", (90, 60))

    def score(logits: Tensor) -> Tensor:
        return logits.log_softmax(-1).gather(1, torch.tensor([ids]).t()).sum()

    if isinstance(network, transformers.BlipForConditionalGeneration):
        start = torch.tensor([[network.config.text_config.bos_token_id]])
        output = network(pixels, torch.cat([start, before], 1))
        return output.image_embeds, score(output.logits[0])
    if isinstance(network, transformers.BlipForQuestionAnswering):
        # Its `forward` gives no logits, so its parts are called as there.
        tokens = network.vision_model(pixels).last_hidden_state
        asked = processor(blank, _QUESTION, return_tensors="pt")
        read = network.text_encoder(
            asked.input_ids, attention_mask=asked.attention_mask, encoder_hidden_states=tokens
        )[0]
        start = torch.tensor([[network.config.text_config.bos_token_id]])
        logits = network.text_decoder(
            torch.cat([start, before], 1), encoder_hidden_states=read
        ).logits
        return tokens, score(logits[0])
    if isinstance(network, transformers.Florence2ForConditionalGeneration):
        asked = processor(images=blank, text="<CAPTION>", return_tensors="pt").input_ids
        start = torch.tensor([[2, 0]])
        feature_map, logits = hooked(
            network.model.vision_tower.blocks[-1][-1],
            lambda: network(asked, pixels, decoder_input_ids=torch.cat([start, before], 1)).logits,
        )
        return feature_map, score(logits[0, 1:])
    asked = (
        "Describe the image in one short sentence."
        if model.task == "captioning"
        else f"{_QUESTION}\nAnswer the question using a single word or phrase."
    )
    said = [{"type": "text", "text": asked}, {"type": "image"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": said[::-1]}], add_generation_prompt=True
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


def test_score_and_gradient_are_those_of_the_whole_network(
    writer: TextGenerator, picture: Image.Image
) -> None:
    target = writer.target(_TEXT, _question(writer))
    check(writer, picture, target, lambda pixels: _whole(writer, pixels, target.ids), _as_map)


def test_a_caption_has_a_map_for_each_word_though_a_word_takes_several_tokens(
    writer: TextGenerator, picture: Image.Image
) -> None:
    encoded = writer.encode(picture)
    (explanation,) = explain_encoded(writer, encoded, picture, [_TEXT], question=_question(writer))
    ids = writer.target(_TEXT, _question(writer)).ids
    if writer.task == "vqa":
        assert explanation.words == []
        return
    assert [word.text for word in explanation.words] == _TEXT.split()
    assert sum(word.log_prob for word in explanation.words) == pytest.approx(explanation.score)
    if not writer.name.startswith("blip"):
        assert len(ids) > len(explanation.words)
    # The last word's map, computed alone.
    tokens = writer.target(_TEXT).lengths[-1]
    context = writer.context(writer.features(encoded), None)
    alone = writer._terms(context, ids)[-tokens:].sum()
    gradient = gradients(alone[None], encoded.activations)
    expected = grad_cam(encoded.activations, gradient)[0].numpy()
    assert explanation.words[-1].raw == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_it_writes_what_it_scores_highest(writer: TextGenerator, picture: Image.Image) -> None:
    with torch.no_grad():
        context = writer.context(writer.encode(picture).features, _question(writer))
        (written,) = writer.generate(context, num_beams=1, do_sample=False, max_new_tokens=4)
        assert len(written) > 1
        for position, token in enumerate(written[:-1].tolist()):  # the last may be a forced end
            logits = writer.logits(context, written[None, : position + 1])[-1]
            assert logits[token] == pytest.approx(logits.max().item(), rel=1e-4)


def test_it_gives_alternatives(writer: TextGenerator, picture: Image.Image) -> None:
    predictions = writer.predict(writer.encode(picture), _question(writer), k=3)
    assert 1 <= len({best.text for best in predictions}) == len(predictions) <= 3
    assert all(0 <= best.probability <= 1 for best in predictions)


def test_guided_backpropagation_is_refused(writer: TextGenerator, picture: Image.Image) -> None:
    with pytest.raises(ValueError, match="uses GELU and attention"):
        explain_encoded(
            writer,
            writer.encode(picture),
            picture,
            [_TEXT],
            question=_question(writer),
            with_guided=True,
        )


@pytest.mark.parametrize(("text", "message"), [("  ", "is empty"), ("a " * 41, "41 words")])
def test_what_cannot_be_scored_is_refused(writer: TextGenerator, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        writer.target(text, _question(writer))


def test_blip_names_what_it_cannot_write(tmp_path: Path) -> None:
    small_text_generators.save("blip-base", tmp_path)
    with pytest.raises(ValueError, match="cannot write zebra"):
        load_text_generator_from("blip-base", tmp_path).target("a zebra runs")


@pytest.mark.parametrize("question", [None, " ", "why " * 60])
def test_a_question_is_asked_for(tmp_path: Path, question: str | None) -> None:
    small_text_generators.save("blip-vqa-base", tmp_path)
    with pytest.raises(ValueError, match="ask"):
        load_text_generator_from("blip-vqa-base", tmp_path).target("dog", question)


def test_both_tasks_of_fastvlm_share_one_network(tmp_path: Path) -> None:
    small_text_generators.save("fastvlm-0.5b", tmp_path)
    captioner = load_text_generator_from("fastvlm-0.5b", tmp_path)
    answerer = load_text_generator_from("fastvlm-0.5b-vqa", tmp_path)
    assert captioner._network is answerer._network


@pytest.mark.parametrize("text", ["a [SEP] dog", "[PAD]"])
def test_what_would_be_read_as_more_than_words_is_refused(tmp_path: Path, text: str) -> None:
    small_text_generators.save("blip-vqa-base", tmp_path)
    model = load_text_generator_from("blip-vqa-base", tmp_path)
    for answer, question in ((text, _QUESTION), ("dog", text)):
        with pytest.raises(ValueError, match="means something else"):
            model.target(answer, question)


def test_the_end_of_an_answer_counts(writer: TextGenerator) -> None:
    target = writer.target(_TEXT, _question(writer))
    assert (target.ids[-1] == writer.end) == (writer.task == "vqa")
    assert sum(target.lengths) == (0 if writer.task == "vqa" else len(target.ids))


def test_the_files_of_another_model_are_refused(tmp_path: Path) -> None:
    small_text_generators.save("blip-base", tmp_path)
    with pytest.raises(ValueError, match="weights are missing"):
        load_text_generator_from("blip-vqa-base", tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    small_text_generators.save("blip-base", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read"):
        load_text_generator_from("blip-base", tmp_path)
