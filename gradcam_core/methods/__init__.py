"""The methods by name. To add one: its function, and a row here."""

from dataclasses import dataclass

from gradcam_core.methods import attention, cams, excitation, finer, perturbation, rollout
from gradcam_core.methods import input_gradients as at_input
from gradcam_core.methods.gradients import Maps, MapsOfEach, by_gradient, one_by_one
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target

DEFAULT_METHOD = "grad-cam"


@dataclass(frozen=True)
class Method:
    """A way from picture and target to a heat map.

    Attributes:
        title: As its paper writes it.
        paper: Authors, where and when.
        about: One sentence on what it does differently.
        maps_of_each: (model, encoded picture, targets) -> heat maps of each target.
        slow: Whether it asks the network dozens of times or more, which takes seconds to minutes.
        transformers: Whether it is for vision transformers alone.
        only: The one model that it is for, by name; "" for all others.
        reads: What it makes its map of: the gradient of the score at the target layer
            ("gradient"), at the picture ("pixels") or at the two ("both"), the scores of changed
            pictures ("scores"), or what the network has of its own ("weights").
    """

    title: str
    paper: str
    about: str
    maps_of_each: MapsOfEach
    slow: bool = False
    transformers: bool = False
    only: str = ""
    reads: str = "gradient"

    def maps(self, model: Model, encoded: Encoded, target: Target) -> Maps:
        """Return the heat maps of one target."""
        return self.maps_of_each(model, encoded, [target])[0]


METHODS: dict[str, Method] = {
    "cam": Method(
        "CAM",
        "Zhou et al., CVPR 2016",
        "The weights of the last linear layer; only for networks that end in global average "
        "pooling and that layer.",
        one_by_one(cams.class_activation),
        reads="weights",
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
        one_by_one(finer.finer_cam),
    ),
    "c-mwp": Method(
        "c-MWP",
        "Zhang et al., ECCV 2016",
        "The probability that a cell wins for the class, less that it wins for all else; needs "
        "activations that are not negative.",
        one_by_one(excitation.c_mwp),
    ),
    "occlusion": Method(
        "Occlusion",
        "Zeiler and Fergus, ECCV 2014",
        "Covers each part of the picture and asks again: slow, and no gradient involved.",
        one_by_one(perturbation.occlusion),
        slow=True,
        reads="scores",
    ),
    "score-cam": Method(
        "Score-CAM",
        "Wang et al., CVPR Workshops 2020",
        "Channels weighted by the score of the picture seen through them: a pass a channel.",
        one_by_one(perturbation.score_cam),
        slow=True,
        reads="scores",
    ),
    "rise": Method(
        "RISE",
        "Petsiuk et al., BMVC 2018",
        "Shows random parts of the picture and averages the score: 600 passes.",
        one_by_one(perturbation.rise),
        slow=True,
        reads="scores",
    ),
    "gradient": Method(
        "Gradient",
        "Simonyan et al., ICLR Workshops 2014",
        "How much the score hangs on each pixel, whichever way; it has no counterfactual.",
        one_by_one(at_input.gradient),
        reads="pixels",
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        "Smilkov et al., 2017",
        "The gradient at the pixels, averaged over 25 noisy copies of the picture.",
        one_by_one(at_input.smooth_grad),
        slow=True,
        reads="pixels",
    ),
    "integrated-gradients": Method(
        "Integrated gradients",
        "Sundararajan et al., ICML 2017",
        "The gradient at the pixels all the way from grey to the picture: what each pixel adds "
        "to the score.",
        one_by_one(at_input.integrated_gradients),
        slow=True,
        reads="pixels",
    ),
    "guided-backprop": Method(
        "Guided Backprop",
        "Springenberg et al., ICLR Workshops 2015",
        "The gradient at the pixels, positive and active paths only: sharp, hardly of the class.",
        one_by_one(at_input.by_rule("guided")),
        reads="pixels",
    ),
    "guided-grad-cam": Method(
        "Guided Grad-CAM",
        "Selvaraju et al., IJCV 2019",
        "Guided Backprop times Grad-CAM: sharp, and of the class.",
        one_by_one(at_input.times_grad_cam(at_input.by_rule("guided"))),
        reads="both",
    ),
    "deconvnet": Method(
        "Deconvnet",
        "Zeiler and Fergus, ECCV 2014",
        "As Guided Backprop, but what was not active passes too.",
        one_by_one(at_input.by_rule("deconvnet")),
        reads="pixels",
    ),
    "deconv-grad-cam": Method(
        "Deconv Grad-CAM",
        "Selvaraju et al., IJCV 2019",
        "Deconvnet times Grad-CAM.",
        one_by_one(at_input.times_grad_cam(at_input.by_rule("deconvnet"))),
        reads="both",
    ),
    "attention-gradient": Method(
        "Attention times gradient",
        "Chefer et al., ICCV 2021",
        "What the tokens that are read were mixed of, where attention speaks for the class; "
        "for vision transformers.",
        one_by_one(rollout.attention_gradient),
        transformers=True,
    ),
    "attention-rollout": Method(
        "Attention rollout",
        "Abnar and Zuidema, ACL 2020",
        "What the tokens that are read were mixed of, whatever the class; for vision transformers.",
        one_by_one(rollout.attention_rollout),
        transformers=True,
        reads="weights",
    ),
    "attention": Method(
        "Own attention",
        "Lu et al., NeurIPS 2016",
        "Where lite0-vqa-coattention attends for a question, whatever the answer; only for it.",
        one_by_one(attention.own_attention),
        only="lite0-vqa-coattention",
        reads="weights",
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
