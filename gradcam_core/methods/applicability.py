"""What methods need of a model; each function returns why a model lacks it, or None."""

from collections.abc import Callable
from functools import partial

from torch import nn

from gradcam_core.methods.guided import Rule, why_not_rule
from gradcam_core.models.base import LabelModel, Model
from gradcam_core.models.classifiers import Classifier

Requirement = Callable[[Model], str | None]

_POOLED_LINEAR = (nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout, nn.Identity, nn.Linear)


def labels(model: Model) -> str | None:
    """A fixed list of at least two labels to compare."""
    if not isinstance(model, LabelModel):
        return f"This method compares a label with others, and {model.name} writes freely."
    if len(model.labels) < 2:
        return f"This method compares a label with others, and {model.name} has only one."
    return None


def pooled_linear_classifier(model: Model) -> str | None:
    """A classifier that ends in global average pooling and one linear layer.

    The head of a network from `wrap` is unknown: the method itself checks the scores.
    """
    if not isinstance(model, Classifier):
        return f"This method is defined for classifiers, and {model.name} is not one."
    modules = [module for module in model.head.modules() if not list(module.children())]
    linear = sum(isinstance(module, nn.Linear) for module in modules)
    if linear > 1 or (linear and not all(isinstance(m, _POOLED_LINEAR) for m in modules)):
        return (
            "This method needs a network that ends in global average pooling and one linear layer; "
            f"{model.name} does not."
        )
    return None


def relu_classifier(model: Model) -> str | None:
    """A classifier whose activations are not negative."""
    if not isinstance(model, Classifier):
        return f"This method compares a class with others, and {model.name} is not a classifier."
    other = model.backbone.other_activation
    return f"This method is defined for ReLU, and {model.name} uses {other}." if other else None


def relu_convolutions(model: Model) -> str | None:
    """A convolutional classifier with ReLUs only: its score is linear in its input and biases."""
    if not isinstance(model, Classifier):
        return f"This method is defined for classifiers, and {model.name} is not one."
    other = model.backbone.other_activation
    return f"This method is defined for ReLU, and {model.name} uses {other}." if other else None


def relu(rule: Rule) -> Requirement:
    """ReLUs only, since the rule is undefined for others."""
    return partial(why_not_rule, rule=rule)


def transformer(model: Model) -> str | None:
    """Attention between patches."""
    return (
        f"This method is for vision transformers, and {model.name} is not one."
        if model.convolutional
        else None
    )


def own_attention(model: Model) -> str | None:
    """An attention map of the model's own."""
    if model.attends:
        return None
    return f"{model.name} has no attention map of its own; lite0-vqa-coattention has."
