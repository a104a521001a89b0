"""Explain the moves of a policy that plays a small game; it is trained for about two minutes.

    python examples/policy.py [folder]

strip.png shows a game from left to right, with Grad-CAM and HiResCAM of each move below. Grad-CAM
averages the gradient of a channel over all cells, so it also marks the cloud, which looks like an
apple. HiResCAM does not average: without global pooling, it marks what contributes to the score.
"""

import sys
from pathlib import Path

import torch
from game import ACTIONS, SIDE, frames, play, train
from PIL import Image
from torchvision.transforms.functional import to_pil_image, to_tensor

from gradcam_core import explain, wrap

CELL = 16  # side of a game pixel in strip.png
STEP = SIDE * CELL + 8


def main(folder: Path) -> None:
    torch.manual_seed(0)
    policy = train(rounds=260)
    with torch.no_grad():
        states, _ = play(policy, 300, noise=0.01)
    caught = (states[-1][:, 0] == states[-1][:, 2]).float().mean()
    print(f"{caught:.0%} of 300 apples are caught.")

    nearest = Image.Resampling.NEAREST
    model = wrap(policy, lambda image: to_tensor(image.resize((SIDE, SIDE), nearest)), ACTIONS)
    farthest = (states[0][:, 2] - states[0][:, 0]).argmax()  # the apple farthest to the left
    strip = Image.new("RGB", ((SIDE - 1) * STEP, 3 * STEP), "white")
    for i, state in enumerate(states[:-1]):
        small = to_pil_image(frames(state[farthest, None])[0])
        picture = small.resize((SIDE * CELL, SIDE * CELL), nearest)
        strip.paste(picture, (i * STEP, 0))
        for row, method in enumerate(("grad-cam", "hirescam"), 1):
            explanation = explain(picture, model=model, method=method)
            strip.paste(explanation.panels(opacity=0.6)["grad_cam"], (i * STEP, row * STEP))
        print(f"frame {i}: {explanation}")
    folder.mkdir(parents=True, exist_ok=True)
    strip.save(folder / "strip.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples/out") / "policy")
