"""Synthetic features resemble real ones."""

import pytest
import torch

from gradcam_core.models.embedded.lite import lite_classifier_layer
from training.synthetic import FeatureSynthesizer, class_directions, shares


def test_shares_of_captions_with_a_word() -> None:
    written = [[["a", "dog", "dog"], ["a", "cat"]], [["fog"]]]
    assert shares(written, {"dog": 0, "a": 1}).tolist() == [[0.5, 1.0], [0.0, 0.0]]


@pytest.fixture
def synthesizer() -> tuple[FeatureSynthesizer, torch.Tensor]:
    """Pictures that are a mean, plus a direction where a caption has "dog", plus noise."""
    torch.manual_seed(0)
    direction = torch.randn(1280) * 0.2
    dogs = torch.rand(600) < 0.3
    pooled = 3 + 0.1 * torch.randn(600, 1280) + dogs[:, None] * direction
    captions = [[["a", "dog"]] if dog else [["a", "cat"]] for dog in dogs]
    made = FeatureSynthesizer(
        pooled, captions, [[["toucan"]]], {"toucan": -direction}, pooled[:1] * 0
    )
    return made, direction


def test_directions_are_fitted_to_pictures(
    synthesizer: tuple[FeatureSynthesizer, torch.Tensor],
) -> None:
    made, direction = synthesizer
    dogs, cats = (made([[["a", word]]] * 300) for word in ("dog", "cat"))
    found = dogs.mean(0) - cats.mean(0)
    assert torch.cosine_similarity(found, direction, dim=0) > 0.9
    # A word that no picture has keeps the direction that it was given.
    toucans = made([[["toucan"]]] * 300)
    assert torch.cosine_similarity(toucans.mean(0) - cats.mean(0), -direction, dim=0) > 0.7


def test_synthetic_pictures_of_a_class_are_classified_so() -> None:
    torch.manual_seed(0)
    classifier = lite_classifier_layer(0)
    directions = class_directions(classifier.weight.detach())
    pooled = torch.rand(200, 1280) * 0.8
    made = FeatureSynthesizer(pooled, [[["a"]]] * 200, [], {}, pooled[:1] * 0)
    found = classifier(made.push(directions, [["a"]] * 1000)).argmax(1)
    assert (found == torch.arange(1000)).float().mean() > 0.8
