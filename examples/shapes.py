"""Generated pictures of coloured shapes on noise, which other examples train on."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

NAMES = ["circle", "square", "triangle"]
SIDE = 64


def draw(kind: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Return a picture (64 x 64) with one shape of any colour anywhere, and the shape's mask."""
    picture = Image.fromarray(random.integers(0, 120, (SIDE, SIDE, 3), np.uint8))
    mask = Image.new("L", picture.size)
    half = int(random.integers(9, 14))
    x, y = (int(c) for c in random.integers(half, SIDE - half, 2))
    box = (x - half, y - half, x + half, y + half)
    for canvas, colour in ((picture, tuple(random.integers(130, 256, 3).tolist())), (mask, 255)):
        pen = ImageDraw.Draw(canvas)
        if kind == 0:
            pen.ellipse(box, colour)
        elif kind == 1:
            pen.rectangle(box, colour)
        else:
            pen.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], colour)
    return picture, mask


def as_input(image: Image.Image) -> Tensor:
    """Return a picture of any size as a network's input, (3, 64, 64) float32 in [-1, 1]."""
    values = np.array(image.resize((SIDE, SIDE)), np.float32) / 127.5 - 1
    return torch.from_numpy(values).permute(2, 0, 1)


def batch(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs (n, 3, 64, 64), classes (n,), and masks (n, 64, 64): 0, or 1 + the class."""
    kinds = random.integers(0, len(NAMES), count)
    drawn = [draw(kind, random) for kind in kinds]
    pixels = torch.stack([as_input(picture) for picture, _ in drawn])
    masks = torch.stack([torch.from_numpy(np.array(mask)) > 0 for _, mask in drawn])
    classes = torch.from_numpy(kinds)
    return pixels, classes, masks * (classes + 1)[:, None, None]


def train(network: nn.Module, steps: int, learn_masks: bool = False, rate: float = 1e-3) -> None:
    """Train a network on the classes of pictures, or of their pixels."""
    random = np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    network.train()
    for _ in range(steps):
        pixels, classes, masks = batch(32, random)
        loss = nn.functional.cross_entropy(network(pixels), masks if learn_masks else classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
