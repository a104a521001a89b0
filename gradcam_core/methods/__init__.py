"""The methods by name. To add one: its function, and a row here."""

from collections.abc import Sequence
from dataclasses import dataclass

from gradcam_core.methods import (
    applicability,
    attention,
    cams,
    excitation,
    finer,
    full_gradient,
    input_gradients,
    perturbation,
    rollout,
)
from gradcam_core.methods.applicability import Requirement
from gradcam_core.methods.channels import ChannelContributions, Weights, channel_contributions
from gradcam_core.methods.finite import check_encoded, check_maps
from gradcam_core.methods.gradients import (
    Attribute,
    Cam,
    Maps,
    OfBatch,
    by_batch,
    by_gradient,
    per_target,
)
from gradcam_core.models.base import Head, Model, ResolvedTarget

DEFAULT_METHOD = "grad-cam"
"""The method of `explain` and `attribute`: `methods()[DEFAULT_METHOD].title`."""


@dataclass(frozen=True)
class Method:
    """A way from picture and target to a heat map.

    Attributes:
        title: As its paper writes it.
        paper: Authors, venue and year.
        about: One sentence on what it does differently.
        maps: (head, targets) -> maps of each target; see `attribute`.
        cam: For batches: a function of feature maps and gradients, where the method is one.
        of_batch: For batches: a function of inputs with a target each, where it is no `cam`.
        slow: Whether it runs the network dozens of times or more: seconds to minutes.
        needs: What it needs of a model; see `why_not`.
        weights: The weight of each channel, where the map is ReLU(sum_k w_k A^k) and the weights
            come from the gradient; see `channels`.

    Examples:
        >>> method = methods()["attention-rollout"]
        >>> method.title, method.slow
        ('Attention rollout', False)
        >>> method.why_not(load("lite0"))  # a sentence, or None
        'This method is for vision transformers, and lite0 is not one.'
    """

    title: str
    paper: str
    about: str
    maps: Attribute
    cam: Cam | None = None
    of_batch: OfBatch | None = None
    slow: bool = False
    needs: Requirement | None = None
    weights: Weights | None = None

    def attribute(self, head: Head, targets: Sequence[ResolvedTarget]) -> list[Maps]:
        """Return the maps of each target.

        Args:
            head: The model looking at one picture, from `Model.bind`.
            targets: From `Head.target`.

        Raises:
            ValueError: The method does not apply to the model (see `why_not`), layer or target; or
                the network has NaN or infinite values.
        """
        reason = self.why_not(head.model)
        if reason:
            raise ValueError(reason)
        check_encoded(head)
        found = self.maps(head, targets)
        for maps in found:
            check_maps(head, maps)
        return found

    def why_not(self, model: Model) -> str | None:
        """Return in one sentence why the method does not apply to a model; None if it does."""
        return self.needs(model) if self.needs else None

    def channels(
        self, head: Head, target: ResolvedTarget, word: int | None = None
    ) -> ChannelContributions:
        """Return what each channel adds to the map of a target.

        Args:
            head: As for `attribute`.
            target: From `Head.target`.
            word: Which word of a caption; None for the whole target.

        Raises:
            ValueError: The map is not such a sum, or there is no such word; or see `attribute`.
        """
        if self.weights is None:
            raise ValueError(
                f"{self.title} does not weigh each channel once, by the gradient of the score. "
                f"It works otherwise: {self.about}"
            )
        self.attribute(head, [target])  # it checks model, layer, target and numbers
        return channel_contributions(head, target, self.weights, word)


METHODS: dict[str, Method] = {
    "cam": Method(
        "CAM",
        "Zhou et al., CVPR 2016",
        "The weights of the last linear layer; for networks that end in global average pooling "
        "and that layer.",
        by_batch(cams.class_activation),
        of_batch=cams.class_activation,
        needs=applicability.pooled_linear_classifier,
        weights=lambda _, gradients: gradients.flatten(2).sum(2),
    ),
    "grad-cam": Method(
        "Grad-CAM",
        "Selvaraju et al., IJCV 2019",
        "Channels weighted by their averaged gradient.",
        by_gradient(cams.grad_cam),
        cams.grad_cam,
        weights=lambda _, gradients: cams.channel_weights(gradients),
    ),
    "grad-cam++": Method(
        "Grad-CAM++",
        "Chattopadhay et al., WACV 2018",
        "Averages positive gradients, weighted so that every instance of an object counts alike.",
        by_gradient(cams.grad_cam_plus_plus),
        cams.grad_cam_plus_plus,
        weights=cams.grad_cam_plus_plus_weights,
    ),
    "xgrad-cam": Method(
        "XGrad-CAM",
        "Fu et al., BMVC 2020",
        "Averages the gradient where the channel is active.",
        by_gradient(cams.xgrad_cam),
        cams.xgrad_cam,
        weights=cams.xgrad_cam_weights,
    ),
    "hirescam": Method(
        "HiResCAM",
        "Draelos and Carin, 2020",
        "Multiplies gradient and map cell by cell, without averaging.",
        by_gradient(cams.hires_cam),
        cams.hires_cam,
    ),
    "layercam": Method(
        "LayerCAM",
        "Jiang et al., TIP 2021",
        "Weights every cell by its own positive gradient; suited to early layers too.",
        by_gradient(cams.layer_cam),
        cams.layer_cam,
    ),
    "eigen-cam": Method(
        "EigenCAM",
        "Muhammad and Yeasin, IJCNN 2020",
        "The first principal component of the feature map: what stands out, for any class.",
        per_target(cams.eigen),
        cams.eigen_cam,
    ),
    "ablation-cam": Method(
        "AblationCAM",
        "Desai and Ramaswamy, WACV 2020",
        "Channels weighted by how much the score drops without them: one pass per channel.",
        by_batch(cams.ablation_cam),
        of_batch=cams.ablation_cam,
        slow=True,
    ),
    "full-grad": Method(
        "FullGrad",
        "Srinivas and Fleuret, NeurIPS 2019",
        "What the pixels and every bias of the network add to the score; no counterfactual.",
        by_batch(full_gradient.full_grad),
        of_batch=full_gradient.full_grad,
        needs=applicability.relu_convolutions,
    ),
    "finer-cam": Method(
        "FinerCAM",
        "Zhang et al., CVPR 2025",
        "Grad-CAM of the score minus those of the three most similar labels: why this one?",
        per_target(finer.finer_cam),
        needs=applicability.labels,
    ),
    "c-mwp": Method(
        "c-MWP",
        "Zhang et al., ECCV 2016",
        "Excitation backprop: the probability that a cell wins for the class, minus that it wins "
        "for the others; needs non-negative activations.",
        per_target(excitation.c_mwp),
        needs=applicability.relu_classifier,
    ),
    "occlusion": Method(
        "Occlusion",
        "Zeiler and Fergus, ECCV 2014",
        "How much the score drops when each part of the picture is hidden; no gradient involved.",
        per_target(perturbation.occlusion),
        slow=True,
    ),
    "score-cam": Method(
        "Score-CAM",
        "Wang et al., CVPR Workshops 2020",
        "Channels weighted by the score of the picture masked with them: one pass per channel.",
        per_target(perturbation.score_cam),
        slow=True,
    ),
    "rise": Method(
        "RISE",
        "Petsiuk et al., BMVC 2018",
        "The mean score when random parts of the picture are visible: 600 passes.",
        per_target(perturbation.rise),
        slow=True,
    ),
    "gradient": Method(
        "Gradient",
        "Simonyan et al., ICLR Workshops 2014",
        "How much the score depends on each pixel, in either direction; no counterfactual.",
        per_target(input_gradients.gradient),
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        "Smilkov et al., 2017",
        "The gradient at the pixels, averaged over 25 noisy copies of the picture.",
        per_target(input_gradients.smooth_grad),
        slow=True,
    ),
    "integrated-gradients": Method(
        "Integrated gradients",
        "Sundararajan et al., ICML 2017",
        "The gradient at the pixels along the path from grey to the picture: what each pixel adds "
        "to the score.",
        per_target(input_gradients.integrated_gradients),
        slow=True,
    ),
    "guided-backprop": Method(
        "Guided Backprop",
        "Springenberg et al., ICLR Workshops 2015",
        "The gradient at the pixels along positive, active paths: sharp, barely class-specific.",
        per_target(input_gradients.by_rule("guided")),
        needs=applicability.relu("guided"),
    ),
    "guided-grad-cam": Method(
        "Guided Grad-CAM",
        "Selvaraju et al., IJCV 2019",
        "Guided Backprop times Grad-CAM: sharp and class-specific.",
        per_target(input_gradients.times_grad_cam("guided")),
        needs=applicability.relu("guided"),
    ),
    "deconvnet": Method(
        "Deconvnet",
        "Zeiler and Fergus, ECCV 2014",
        "As Guided Backprop, but inactive paths pass too.",
        per_target(input_gradients.by_rule("deconvnet")),
        needs=applicability.relu("deconvnet"),
    ),
    "deconv-grad-cam": Method(
        "Deconv Grad-CAM",
        "Selvaraju et al., IJCV 2019",
        "Deconvnet times Grad-CAM.",
        per_target(input_gradients.times_grad_cam("deconvnet")),
        needs=applicability.relu("deconvnet"),
    ),
    "attention-gradient": Method(
        "Attention times gradient",
        "Chefer et al., ICCV 2021",
        "Which patches attention mixed into the output, where it speaks for the class; for vision "
        "transformers.",
        per_target(rollout.attention_gradient),
        needs=applicability.transformer,
    ),
    "attention-rollout": Method(
        "Attention rollout",
        "Abnar and Zuidema, ACL 2020",
        "Which patches attention mixed into the output, for any class; for vision transformers.",
        per_target(rollout.attention_rollout),
        needs=applicability.transformer,
    ),
    "attention": Method(
        "Own attention",
        "Lu et al., NeurIPS 2016",
        "Where the model attends for a question, for any answer; for co-attention models.",
        per_target(attention.own_attention),
        needs=applicability.own_attention,
    ),
}


def methods() -> dict[str, Method]:
    """Return the methods by the names that `explain` takes.

    Examples:
        >>> [name for name, method in methods().items() if method.slow]
        ['ablation-cam', 'occlusion', 'score-cam', 'rise', 'smoothgrad', 'integrated-gradients']
    """
    return dict(METHODS)


def method_named(name: str) -> Method:
    """Return the method with a name.

    Raises:
        ValueError: There is no such method.
    """
    if name not in METHODS:
        raise ValueError(f"There is no method '{name}'. Known: {', '.join(METHODS)}.")
    return METHODS[name]
