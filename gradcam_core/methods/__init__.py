"""The methods by name. To add one: its function, and a row here."""

from dataclasses import dataclass

from gradcam_core.methods import cams, finer, perturbation
from gradcam_core.methods.gradients import MapMethod, by_gradient

DEFAULT_METHOD = "grad-cam"


@dataclass(frozen=True)
class Method:
    """A way from picture and target to a heat map.

    Attributes:
        title: As its paper writes it.
        paper: Authors, where and when.
        about: One sentence on what it does differently.
        maps: (model, encoded picture, target) -> heat maps.
        slow: Whether it asks the network hundreds of times: that takes seconds to minutes.
    """

    title: str
    paper: str
    about: str
    maps: MapMethod
    slow: bool = False


METHODS: dict[str, Method] = {
    "cam": Method(
        "CAM",
        "Zhou et al., CVPR 2016",
        "The weights of the last linear layer; only for networks that end in global average "
        "pooling and that layer.",
        cams.class_activation,
    ),
    "grad-cam": Method(
        "Grad-CAM",
        "Selvaraju et al., IJCV 2019",
        "Channels weighted by their averaged gradient.",
        by_gradient(cams.grad_cam),
    ),
    "grad-cam++": Method(
        "Grad-CAM++",
        "Chattopadhay et al., WACV 2018",
        "Averages positive gradients only, and so that every instance of a thing counts alike.",
        by_gradient(cams.grad_cam_plus_plus),
    ),
    "xgrad-cam": Method(
        "XGrad-CAM",
        "Fu et al., BMVC 2020",
        "Averages the gradient where the channel is active.",
        by_gradient(cams.xgrad_cam),
    ),
    "hirescam": Method(
        "HiResCAM",
        "Draelos and Carin, 2020",
        "Multiplies gradient and map cell by cell, without averaging.",
        by_gradient(cams.hires_cam),
    ),
    "layercam": Method(
        "LayerCAM",
        "Jiang et al., TIP 2021",
        "Weighs every cell by its own positive gradient; made for early layers too.",
        by_gradient(cams.layer_cam),
    ),
    "finer-cam": Method(
        "FinerCAM",
        "Zhang et al., CVPR 2025",
        "Grad-CAM of the score less those of the three most similar labels: why this, not those.",
        finer.finer_cam,
    ),
    "occlusion": Method(
        "Occlusion",
        "Zeiler and Fergus, ECCV 2014",
        "Covers each part of the picture and asks again: slow, and no gradient involved.",
        perturbation.occlusion,
        slow=True,
    ),
    "score-cam": Method(
        "Score-CAM",
        "Wang et al., CVPR Workshops 2020",
        "Channels weighted by the score of the picture seen through them: a pass a channel.",
        perturbation.score_cam,
        slow=True,
    ),
    "rise": Method(
        "RISE",
        "Petsiuk et al., BMVC 2018",
        "Shows random parts of the picture and averages the score: 600 passes.",
        perturbation.rise,
        slow=True,
    ),
}


def methods() -> dict[str, Method]:
    """Return the methods by the names that `explain` takes."""
    return dict(METHODS)


def method_named(name: str) -> Method:
    """Return the method of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in METHODS:
        raise ValueError(f"There is no method '{name}'. Known: {', '.join(METHODS)}.")
    return METHODS[name]
