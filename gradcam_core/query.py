"""Everything that is asked of a picture, validated once."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self

from gradcam_core.methods import DEFAULT_METHOD, method_named
from gradcam_core.models.backbone import check_detail
from gradcam_core.models.info import check_task

if TYPE_CHECKING:
    from gradcam_core.models.base import Model

Task = Literal["classification", "captioning", "vqa"]

FUSED = "+"  # between the names of layers whose maps are fused

# A class (name or index), a caption or an answer; or a function of the network's output.
Target = str | int | Callable[[Any], Any]


@dataclass(frozen=True)
class Query:
    """What is asked of a picture: which explanation, by which model and method.

    The same object serves Python, command line, page, HTTP, Parquet metadata and Ray. It can be
    pickled, and, unless the target is a function, written as JSON. Blank texts count as None.

    Examples:
        >>> Query(target="tabby", method="layercam").to_dict()["method"]
        'layercam'

    Attributes:
        task: "classification", "captioning" or "vqa".
        target: A class (name or index), a caption or an answer; for a model from `wrap` also a
            function of the network's output that returns a scalar. None: the model's prediction.
        question: The question about the picture; for "vqa" only.
        model: A name from `models(task)`, or for classification a folder or an id on the Hugging
            Face Hub; None for the task's default.
        layer: A target layer from the model's `layers`; None for the model's default. The maps
            of several, joined by "+", are fused; see `explain`.
        method: A name from `methods()`.
        guided: Whether to add guided backpropagation and Guided Grad-CAM; ReLU networks only.
        detail: Side length of the network's input, in multiples of its own, from 1 to 2; at 2,
            the map has twice the cells per side. For the embedded models only.

    Raises:
        ValueError: A value is unusable on its own or with the others; the message says why.
    """

    task: Task = "classification"
    target: Target | None = None
    question: str | None = None
    model: str | None = None
    layer: str | None = None
    method: str = DEFAULT_METHOD
    guided: bool = False
    detail: float = 1.0

    def __post_init__(self) -> None:
        for name in ("target", "question", "model", "layer"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, value.strip() or None)
        if isinstance(self.target, Integral):
            object.__setattr__(self, "target", int(self.target))
        check_task(self.task)
        method_named(self.method)
        check_detail(self.detail)
        if self.question is not None and self.task != "vqa":
            raise ValueError(f"A question belongs to task 'vqa', not to '{self.task}'.")

    @property
    def model_name(self) -> str:
        """The model's name, the task's default if none is given."""
        from gradcam_core.models.registry import default_model

        return self.model or default_model(self.task).name

    def resolved(self, model: "Model") -> Self:
        """Return the query with the model's name and target layer filled in.

        Raises:
            ValueError: The model is for another task, or has no such layer.
        """
        if model.task != self.task:
            raise ValueError(f"{model.name} is a model for {model.task}, not for {self.task}.")
        layers = [None] if self.layer is None else self.layer.split(FUSED)
        names = [model.backbone.layer_named(layer and layer.strip()) for layer in layers]
        return replace(self, model=model.name, layer=FUSED.join(names))

    def to_dict(self) -> dict[str, Any]:
        """Return the query as JSON can hold it; see `from_dict`.

        Raises:
            ValueError: The target is a function.
        """
        if callable(self.target):
            raise ValueError("A query whose target is a function cannot be written as JSON.")
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the query that `to_dict` wrote.

        Raises:
            ValueError: There are unknown names in it, or see the class.
        """
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"A query has no {', '.join(sorted(unknown))}.")
        return cls(**values)
