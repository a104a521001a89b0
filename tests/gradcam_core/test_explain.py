"""The public interface: `explain`, and the command line."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradcam_core
from gradcam_core.explain import Explainer
from gradcam_core.image.geometry import enlarge
from gradcam_core.image.open import open_image
from gradcam_core.methods.guided import guided_backprop
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model
from gradcam_core.models.classifiers import Classifier, ClassifierHead
from gradcam_core.query import Query, Target


def explained(
    model: Model,
    encoded: Encoded,
    picture: Image.Image,
    targets: list[Target | None],
    method: str = "grad-cam",
) -> list[gradcam_core.Explanation]:
    """Explain targets of a picture that has been through the CNN."""
    query = Query(model.task, method=method).resolved(model)
    return Explainer().explain_head(model.bind(encoded), picture, query, targets)


@pytest.fixture(scope="module")
def explanation(cat_file: Path) -> gradcam_core.Explanation:
    return gradcam_core.explain(cat_file, target="tabby", guided=True)


def test_explanation(explanation: gradcam_core.Explanation) -> None:
    assert (explanation.task, explanation.model, explanation.layer) == (
        "classification",
        "lite0",
        "conv_head",
    )
    assert explanation.target == "tabby"
    by_name = {p.text: p.probability for p in explanation.predictions}
    assert explanation.probability == pytest.approx(by_name["tabby"])
    assert explanation.raw.shape == (7, 7)
    assert explanation.raw.dtype == explanation.heatmap.dtype == np.float32
    assert explanation.heatmap.shape == explanation.counterfactual.shape == (300, 451)
    assert explanation.guided_backprop.shape == explanation.guided_grad_cam.shape == (300, 451, 3)
    assert not explanation.no_evidence
    assert explanation.words == []


def test_maps_follow_from_raw(explanation: gradcam_core.Explanation) -> None:
    expected = enlarge(explanation.raw / explanation.raw.max(), (300, 451))
    assert np.array_equal(explanation.heatmap, expected)
    assert 0 <= explanation.heatmap.min() < explanation.heatmap.max() <= 1
    large = enlarge(explanation.raw / explanation.raw.max(), explanation.gradient.shape[:2])
    product = explanation.gradient * large[:, :, None]
    assert np.allclose(explanation.guided_grad_cam, enlarge(product, (300, 451)), atol=1e-7)


def test_explanation_is_frozen(explanation: gradcam_core.Explanation) -> None:
    for name in ("target", "heatmap"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(explanation, name, None)


def test_own_prediction_and_every_kind_of_source(cat_file: Path) -> None:
    picture = Image.open(cat_file).convert("RGB")
    scores = {
        gradcam_core.explain(source).score
        for source in (cat_file, str(cat_file), picture, np.array(picture))
    }
    assert len(scores) == 1
    explanation = gradcam_core.explain(cat_file)
    assert explanation.target == explanation.predictions[0].text == "Egyptian cat"
    assert explanation.guided_backprop is None
    assert explanation.guided_grad_cam is None
    assert gradcam_core.explain(cat_file, target=281).target == "tabby"


def test_every_layer(cat_file: Path, lite0: Classifier) -> None:
    sizes = [
        gradcam_core.explain(cat_file, layer=layer).raw.shape[0] for layer in lite0.backbone.layers
    ]
    assert sizes == [112, 112, 56, 28, 14, 14, 7, 7, 7]
    scores = {
        round(gradcam_core.explain(cat_file, layer=layer).score, 3)
        for layer in ("stem", "conv_head")
    }
    assert len(scores) == 1


def test_two_classes_each_in_its_own_half(cat_file: Path) -> None:
    from demo.examples import example_pictures

    picture = open_image(example_pictures()["cat and motorcycle"])
    middle = picture.width // 2
    for name, half in (("Egyptian cat", slice(0, middle)), ("moped", slice(middle, None))):
        heatmap = gradcam_core.explain(picture, target=name).heatmap
        assert heatmap[:, half].sum() > 0.7 * heatmap.sum()


def test_no_evidence_is_explicit() -> None:
    """A head whose weights are all negative: nothing on a ReLU map can speak for the class."""
    lite0 = gradcam_core.load("lite0")
    linear = torch.nn.Linear(1280, 2)
    torch.nn.init.constant_(linear.weight, -0.01)
    head = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), linear)
    model = Classifier("against", lite0.backbone, head, [("one",), ("two",)])
    picture = Image.new("RGB", (30, 20), "green")
    explanation = Explainer().explain(picture, Query(guided=True), model)
    assert explanation.no_evidence
    for values in (explanation.raw, explanation.heatmap, explanation.guided_grad_cam):
        assert np.array_equal(values, np.zeros_like(values))
    assert explanation.counterfactual.any()


@pytest.mark.parametrize("colour", ["black", "white", "grey"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (224, 224)])
def test_blank_and_odd_pictures_give_numbers(colour: str, size: tuple[int, int]) -> None:
    explanation = gradcam_core.explain(Image.new("RGB", size, colour), guided=True)
    for values in (explanation.heatmap, explanation.counterfactual, explanation.guided_grad_cam):
        assert values.shape[:2] == (size[1], size[0])
        assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "detection"}, "no task 'detection'"),
        ({"model": "vgg"}, "no model 'vgg' for classification"),
        ({"layer": "layer4"}, "no layer 'layer4'"),
        ({"target": "boxr"}, "boxer"),
        ({"question": "What?"}, "question belongs to task 'vqa'"),
    ],
)
def test_unusable_arguments_are_reported(
    cat_file: Path, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gradcam_core.explain(cat_file, **arguments)


def test_one_pass_for_both_gives_what_two_give(cat_file: Path, lite0: Classifier) -> None:
    together = gradcam_core.explain(cat_file, target="tabby", guided=True)
    plain = gradcam_core.explain(cat_file, target="tabby")
    assert np.array_equal(together.raw, plain.raw)
    assert together.score == plain.score
    picture = open_image(cat_file)
    encoded = lite0.encode(picture)
    query = Query(guided=True).resolved(lite0)
    (apart,) = Explainer().explain_head(lite0.bind(encoded), picture, query, ["tabby"])
    assert np.allclose(together.gradient, apart.gradient, rtol=0, atol=1e-6)


def test_threads_get_the_same_results_as_alone(cat_file: Path) -> None:
    names = ["tabby", "tiger cat", "Egyptian cat", "lynx", "coffee mug", "moped"]

    def explained(name: str) -> gradcam_core.Explanation:
        return gradcam_core.explain(cat_file, target=name, guided=True)

    alone = {name: explained(name) for name in names}
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(explained, names * 4))
    for explanation in together:
        expected = alone[explanation.target]
        assert explanation.score == expected.score
        assert np.array_equal(explanation.raw, expected.raw)
        assert np.array_equal(explanation.gradient, expected.gradient)


def test_threads_can_share_one_encoded_picture(lite0: Classifier, cat: Encoded) -> None:
    picture = Image.new("RGB", (9, 9))
    names = ["tabby", "tiger cat", "lynx"]

    def raw(name: str) -> np.ndarray:
        return explained(lite0, cat, picture, [name])[0].raw

    alone = {name: raw(name) for name in names}
    with ThreadPoolExecutor(6) as pool:
        for name, found in zip(names * 20, pool.map(raw, names * 20), strict=True):
            assert np.array_equal(found, alone[name])


def leftovers(model: Classifier) -> list[object]:
    """Everything that an explanation might have changed on a model."""
    parts = [*model.backbone.stages.values(), model.head]
    modules = [module for part in parts for module in part.modules()]
    hooks = [
        (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        for module in modules
    ]
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    return [
        [[dict(h) for h in row] for row in hooks],
        [(p.requires_grad, p.grad) for p in parameters],
        [module.training for module in modules],
        torch.is_grad_enabled(),
        torch.overrides._get_current_function_mode_stack(),
    ]


def test_nothing_is_left_behind(
    cat_file: Path, lite0: Classifier, cat: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    tabby = lite0.bind(cat).target("tabby")
    before = leftovers(lite0)
    gradcam_core.explain(cat_file, guided=True)
    assert leftovers(lite0) == before

    healthy = ClassifierHead.compute_logits

    def fail(*args: object) -> None:
        raise RuntimeError("broken")

    def fail_backward(*args: Any) -> torch.Tensor:
        logits = healthy(*args)
        if logits.requires_grad:
            logits.register_hook(fail)
        return logits

    for replacement in (fail, fail_backward):
        monkeypatch.setattr(ClassifierHead, "compute_logits", replacement)
        with pytest.raises(RuntimeError, match="broken"):
            gradcam_core.explain(cat_file)
        assert leftovers(lite0) == before
        # With the ReLU rule in force; it refuses functions of its own gradient.
        with pytest.raises((RuntimeError, ValueError)):
            guided_backprop(lite0.bind(cat), tabby)
        assert leftovers(lite0) == before
    monkeypatch.undo()
    assert gradcam_core.explain(cat_file).target == "Egyptian cat"


def test_a_guess_is_marked(cat_file: Path) -> None:
    sure = gradcam_core.explain(cat_file, "vqa", question="What animal is this?")
    assert sure.predictions[0].probability > gradcam_core.load("lite0-vqa").unsure_below > 0
    assert not sure.unsure
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    guess = gradcam_core.explain(noise, "vqa", question="What is on the left of the fridge?")
    assert guess.predictions[0].probability < gradcam_core.load("lite0-vqa").unsure_below
    assert guess.unsure
    assert guess.to_dict()["unsure"]


def test_a_map_is_faint_compared_with_that_of_the_first_choice(cat_file: Path) -> None:
    own = gradcam_core.explain(cat_file)
    near = gradcam_core.explain(cat_file, target="tabby")
    far = gradcam_core.explain(cat_file, target="school bus")
    assert own.first_choice_max == own.raw.max()
    assert near.first_choice_max == pytest.approx(own.first_choice_max)
    assert far.first_choice_max == pytest.approx(own.first_choice_max)
    assert not own.faint
    assert not near.faint
    assert far.faint
    assert 0 < far.raw.max() < 0.3 * own.raw.max()
    assert far.to_dict()["faint"]
    # Log-probabilities are steeper where less is likely; a slow method would take twice as long.
    assert gradcam_core.explain(cat_file, "captioning", "a bus").first_choice_max is None
    assert (
        gradcam_core.explain(cat_file, target="tabby", method="occlusion").first_choice_max is None
    )


@pytest.mark.parametrize("method", ["grad-cam", "layercam", "c-mwp", "guided-grad-cam"])
def test_several_targets_are_explained_as_each_alone(
    lite0: Classifier, cat: Encoded, cat_file: Path, method: str
) -> None:
    picture = open_image(cat_file)
    names = ["school bus", None, "tabby", "school bus"]
    together = explained(lite0, cat, picture, names, method=method)
    assert [one.target for one in together] == ["school bus", "Egyptian cat", "tabby", "school bus"]
    for name, one in zip(names, together, strict=True):
        alone = gradcam_core.explain(picture, target=name, method=method)
        assert one.predictions == alone.predictions
        assert one.score == pytest.approx(alone.score)
        assert one.first_choice_max == pytest.approx(alone.first_choice_max, rel=1e-5)
        for found, expected in (
            (one.raw, alone.raw),
            (one.raw_counterfactual, alone.raw_counterfactual),
        ):
            assert (
                abs(found - expected)
                <= np.maximum(1e-4 * abs(expected), 1e-5 * one.first_choice_max)
            ).all()


def test_several_sentences_are_explained_as_each_alone(cat: Encoded, cat_file: Path) -> None:
    picture, model = open_image(cat_file), gradcam_core.load("lite0-caption")
    sentences = ["a cat", "a dog on the grass"]
    together = explained(model, cat, picture, sentences)
    for sentence, one in zip(sentences, together, strict=True):
        (alone,) = explained(model, cat, picture, [sentence])
        assert [word.text for word in one.words] == sentence.split()
        assert one.raw == pytest.approx(alone.raw, rel=1e-3, abs=1e-5 * float(alone.raw.max()))
        for word, expected in zip(one.words, alone.words, strict=True):
            assert word.raw == pytest.approx(
                expected.raw, rel=1e-3, abs=1e-5 * float(alone.raw.max())
            )


@pytest.mark.parametrize("wanted", [None, "tabby"])
def test_the_head_reads_a_picture_once(
    lite0: Classifier, cat: Encoded, cat_file: Path, wanted: str | None
) -> None:
    """It predicts, scores and measures the first choice's map by the same logits."""
    passes: list[nn.Module] = []
    counting = lite0.parts()["head"].register_forward_hook(
        lambda module, args, output: passes.append(module)
    )
    try:
        explained(lite0, cat, open_image(cat_file), [wanted])
    finally:
        counting.remove()
    assert len(passes) == 1


def test_an_unlikely_class_is_a_guess(cat_file: Path) -> None:
    assert not gradcam_core.explain(cat_file).unsure
    grey = gradcam_core.explain(Image.new("RGB", (64, 64), "gray"))
    assert grey.predictions[0].probability < gradcam_core.load("lite0").unsure_below
    assert grey.unsure


def test_a_finer_map_keeps_predictions_and_score(lite0: Classifier, cat_file: Path) -> None:
    plain = gradcam_core.explain(cat_file, target="Egyptian cat")
    finer = gradcam_core.explain(cat_file, target="Egyptian cat", detail=2)
    assert finer.raw.shape == (14, 14)
    assert finer.score == plain.score
    assert finer.predictions == plain.predictions
    assert finer.to_dict()["detail"] == 2

    # The head is linear in the mean: Grad-CAM is the class weights times the larger map.
    larger, _ = lite0.backbone.preprocess(gradcam_core.open_image(cat_file), 2)
    assert larger.shape == (1, 3, 448, 448)
    with torch.no_grad():
        cells = lite0.backbone.head_input(larger)[0]
    weights = lite0.head[2].weight[285]
    expected = torch.einsum("k,kij->ij", weights, cells).relu() / 196
    assert finer.raw == pytest.approx(expected.numpy(), abs=1e-5 * expected.max().item())

    words = gradcam_core.explain(cat_file, "captioning", target="a cat sleeps", detail=1.5).words
    assert words[1].raw.shape == (11, 11)


@pytest.mark.parametrize("detail", [0.5, 3, float("nan")])
def test_other_details_are_refused(detail: float, cat_file: Path) -> None:
    with pytest.raises(ValueError, match="The detail is from 1 to 2"):
        gradcam_core.explain(cat_file, detail=detail)


def test_networks_of_one_size_have_no_finer_maps(cat_file: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1))
    with pytest.raises(ValueError, match="takes one input size"):
        gradcam_core.explain(cat_file, model=gradcam_core.wrap(network), target="0", detail=2)


def test_lists_of_targets_and_of_images(cat_file: Path) -> None:
    both = gradcam_core.explain(cat_file, target=["tabby", "golden retriever"])
    assert [each.target for each in both] == ["tabby", "golden retriever"]
    for each in both:
        alone = gradcam_core.explain(cat_file, target=each.target)
        assert each.raw == pytest.approx(alone.raw, abs=1e-5)
        assert each.raw_counterfactual == pytest.approx(alone.raw_counterfactual, abs=1e-5)
    pictures = gradcam_core.explain([cat_file, cat_file], target="tabby")
    assert [each.raw.tolist() for each in pictures] == [pictures[0].raw.tolist()] * 2
    table = gradcam_core.explain([cat_file], target=["tabby"])
    assert table[0][0].target == "tabby"


def test_fused_layers(cat_file: Path) -> None:
    layers = list(gradcam_core.load("lite0").layers)[-3:]
    apart = [gradcam_core.explain(cat_file, target="tabby", layer=layer) for layer in layers]
    finest = max(each.raw.shape for each in apart)
    expected = sum(
        torch.nn.functional.interpolate(
            torch.from_numpy(each.raw / each.raw.max())[None, None], finest, mode="bilinear"
        )[0, 0]
        for each in apart
    )
    for layer in (layers, "+".join(layers)):
        fused = gradcam_core.explain(cat_file, target="tabby", layer=layer)
        assert fused.raw == pytest.approx((expected / 3).numpy(), abs=1e-6)
        assert fused.layer == "+".join(layers)
        assert fused.score == apart[0].score
    pixels, _ = gradcam_core.load("lite0").backbone.preprocess(gradcam_core.open_image(cat_file))
    maps = gradcam_core.attribute(
        gradcam_core.load("lite0"), pixels, gradcam_core.load("lite0").labels.index("tabby"), layers
    )
    assert maps[0].numpy() == pytest.approx(fused.raw, abs=1e-4)
    with pytest.raises(ValueError, match="nowhere"):
        gradcam_core.explain(cat_file, layer=["nowhere", layers[0]])


def test_layers_are_fused_in_a_bounded_number(cat_file: Path) -> None:
    with pytest.raises(ValueError, match="9"):
        gradcam_core.explain(cat_file, layer=["stem"] * 9)
