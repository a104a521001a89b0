"""Explain the score of a detector's box.

    python examples/detector.py [folder]

Nothing is downloaded: the network's weights are random, and so are its boxes. For trained weights
(160 MB), set weights="DEFAULT".
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw
from skimage import data
from torch import Tensor, manual_seed
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms.functional import to_tensor

from gradcam_core import explain, wrap

Boxes = list[dict[str, Tensor]]


def main(folder: Path) -> None:
    manual_seed(0)
    detector = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=256, box_score_thresh=0.0
    )
    picture = Image.fromarray(data.astronaut()).resize((256, 256))
    # The feature pyramid reads several layers, so the target layer has to be chosen.
    model = wrap(detector, to_tensor, layer="backbone.body.layer4", name="Faster R-CNN")

    def score_of_first_box(output: Boxes) -> Tensor:
        return output[0]["scores"][0]

    explanation = explain(picture, model=model, target=score_of_first_box)
    print(explanation)
    explanation.save(folder)

    (found,) = model.encode(picture).head_input.value  # the network's output
    drawn = explanation.panels()["grad_cam"]
    ImageDraw.Draw(drawn).rectangle(found["boxes"][0].tolist(), outline="white", width=2)
    drawn.save(folder / "box.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples/out") / "detector")
