"""Train the embedded answerers, on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.vqa ../shared/data --work ../scratch
    python -m training.vqa ../shared/data --work ../scratch --backbone 2
    python -m training.vqa ../shared/data --work ../scratch --coattention

The CNN is frozen, so pictures are pooled features (training/features.py), and a step costs little
more than the LSTM over the batch's different questions. training/batches.py describes the batches.

The network on Lite2 is not trained: it is the one on Lite0, with another picture layer fitted to
give the same output.
"""

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from gradcam_core.models.embedded import WEIGHTS
from gradcam_core.models.embedded.answer_network import VqaNetwork
from gradcam_core.models.embedded.answerer import Vocabulary, read_weights
from gradcam_core.models.embedded.coattention_network import CoattentionNetwork
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import datasets, question_sets
from training.answers import TrainingVocabulary, shares, training_vocabulary, vocabulary
from training.batches import POOLED, SEED, VIEW, Batches, Source, room_teacher, source
from training.calibration import dev_questions, temperature, threshold
from training.cells import components
from training.colours import colours
from training.described_pictures import DescribedPictures
from training.features import features
from training.questions import Question

Network = VqaNetwork | CoattentionNetwork

LITE0 = 0  # the backbone for training
START = "lite0-vqa"  # the others start from its weights, so they read questions as it does

# Chosen on the dev pictures, like the network's dropout and sizes.
STEPS = 100  # per epoch
WARM_UP = 0.1  # share of the steps in which the learning rate rises; then it falls
WEIGHT_DECAY = 0.1
RIDGE = 0.1  # regularization, relative to the mean square of a feature
WORDINGS = 3  # per question made by rules
KIND_WEIGHT = 0.5  # of the loss of the kind of answer
CHUNK = 256  # questions per forward pass in calibration


def loss(
    network: Network, batch: tuple[Tensor, list[Tensor], Tensor, Tensor], kinds: Tensor
) -> Tensor:
    """Return the cross entropy of the answers, and of their kinds given the question alone."""
    pictures, asked, which, targets = batch
    logits, kind = network(pictures, asked, which)
    of_kind = targets.new_zeros(len(targets), kind.shape[1]).index_add(1, kinds, targets)
    return F.cross_entropy(logits, targets) - KIND_WEIGHT * (of_kind * kind).sum(1).mean()


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained, and at which learning rates."""

    epochs: int
    rate: float  # the highest learning rate
    average: float  # decay of the moving average of the weights

    def share(self, step: int) -> float:
        """Return the learning rate of a step, as a share of the highest."""
        done = step / (self.epochs * STEPS)
        falling = (done - WARM_UP) / (1 - WARM_UP)
        return done / WARM_UP if done < WARM_UP else (1 + math.cos(math.pi * falling)) / 2


FROM_SCRATCH = Schedule(30, 3e-3, 0.998)
FINE_TUNING = Schedule(8, 1e-3, 0.99)


def train(
    network: Network,
    batches: Batches,
    words: TrainingVocabulary,
    schedule: Schedule,
    checkpoint: Path,
) -> Network:
    """Train a network, resuming an interrupted run from `checkpoint`.

    Returns:
        The network with the moving average of its weights, in eval mode.
    """
    kinds = torch.tensor(words.kinds)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(schedule.average))
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.rate, weight_decay=WEIGHT_DECAY, fused=True)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.share)
    parts = {"network": network, "average": average, "optimizer": optimizer, "rate": rate}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, state in saved.items():
            parts[name].load_state_dict(state)
    for epoch in range(first, schedule.epochs):
        # Seeded by the epoch, so that a resumed run draws the same batches.
        torch.manual_seed(SEED + epoch)
        batches.rng.seed(SEED + epoch)
        network.train()
        losses = []
        with tqdm(range(STEPS), desc=f"epoch {epoch + 1}/{schedule.epochs}", unit="batch") as bar:
            for _ in bar:
                batch_loss = loss(network, batches.draw(), kinds)
                optimizer.zero_grad()
                batch_loss.backward()
                nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                rate.step()
                average.update_parameters(network)
                losses.append(batch_loss.item())
                bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}")
        state = {name: part.state_dict() for name, part in parts.items()}
        part = checkpoint.with_suffix(".part")
        torch.save({**state, "epoch": epoch + 1}, part)
        part.replace(checkpoint)
    return average.module.eval()


@torch.no_grad()
def attend_uniformly(network: CoattentionNetwork, picture: Tensor, basis: Tensor) -> None:
    """Initialize a network to attend to all cells equally, and so to see what a `VqaNetwork` does.

    Args:
        network: With random weights.
        picture: (width, 1280), weights of the `VqaNetwork`'s picture layer.
        basis: (1280, components), principal directions of the cells.
    """
    network.project.weight.copy_(basis.mT)
    for level, asked, seen in zip(network.levels, network.asked, network.seen, strict=True):
        level.cell.weight.zero_()
        asked.weight.zero_()
        asked.bias.zero_()
        seen.weight.copy_(picture @ basis / len(network.seen))


def fit_picture_layer(picture: Tensor, data: Path, cache: Path, backbone: int) -> Tensor:
    """Fit another backbone's picture layer to the output of Lite0's, on training photos.

    Args:
        picture: (width, 1280), weights of Lite0's layer.
        data: The folder of all sets.
        cache: The folder of the features.
        backbone: The other backbone's number.

    Returns:
        Weights (width, 1280), by ridge regression.
    """
    photos: dict[str, Iterable[str]] = {
        "flickr8k": datasets.flickr8k(data, "train"),
        "imagenet": datasets.imagenet(data, "train"),
        "pets": datasets.pets("train"),
    }
    lite0, other = (
        torch.from_numpy(
            np.concatenate(
                [
                    features(data / name / "images.tar", [*names], [VIEW], cache, number)[:, 0]
                    for name, names in photos.items()
                ]
            )
        ).float()
        for number in (LITE0, backbone)
    )
    # Normalised like in the network.
    lite0, other = (F.normalize(pooled, dim=1) * POOLED**0.5 for pooled in (lite0, other))
    gram = other.mT @ other
    gram.diagonal().add_(RIDGE * len(other))
    return torch.linalg.solve(gram, other.mT @ (lite0 @ picture.mT)).mT


@torch.no_grad()
def calibrate(
    network: Network, words: TrainingVocabulary, data: Path, cache: Path, backbone: int
) -> None:
    """Measure temperature and threshold on dev pictures, and set them in `words`."""
    sets = []
    for folder, asked in dev_questions(data).values():
        with_cells = isinstance(network, CoattentionNetwork)
        origin = source(data, cache, folder, asked, backbone, with_cells)
        logits = []
        for first in range(0, len(asked), CHUNK):
            questions = [words.encode(item.text) for item in asked[first : first + CHUNK]]
            pictures = origin.vectors[origin.rows[first : first + CHUNK]]
            logits.append(network(pictures, questions, torch.arange(len(questions)))[0])
        right = shares([item.answers for item in asked], words) > 0
        sets.append((torch.cat(logits), right))
    words.temperature = temperature(sets)
    best = [((logits / words.temperature).softmax(1).max(1), right) for logits, right in sets]
    words.unsure_below = threshold(
        [(found.values, right[range(len(right)), found.indices]) for found, right in best]
    )


def write(network: Network, words: TrainingVocabulary, target: Path) -> None:
    """Write a network's weights, and its vocabulary beside them."""
    save_file({key: tensor.half() for key, tensor in network.state_dict().items()}, target)
    written = {
        "temperature": round(words.temperature, 3),
        "unsure_below": round(words.unsure_below, 3),
        "words": list(words.words),
        "answers": words.groups,
    }
    vocabulary_file = target.with_suffix(".json")
    vocabulary_file.write_text(json.dumps(written, indent=0) + "\n", encoding="utf-8")
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) and {vocabulary_file.name}")


def prepare(
    data: Path, cache: Path, coattention: bool, known: Vocabulary | None
) -> tuple[Batches, TrainingVocabulary]:
    """Read all sets, make the questions and fit the teacher.

    Args:
        data: The folder of all sets.
        cache: The folder of the features.
        coattention: Whether to add the cells of each picture.
        known: The vocabulary to use; None to collect one.
    """
    rng = random.Random(SEED)
    made: Mapping[str, tuple[str, Callable[[], list[Question]]]] = {
        "captions": ("flickr8k", lambda: question_sets.caption_questions(data, "train", rng)),
        "pets": ("pets", lambda: question_sets.pet_questions("train", rng)),
        "coco": ("coco", lambda: question_sets.coco_questions(data, "train", rng)),
        "scenes": ("scenes", lambda: question_sets.scene_questions("train", rng)),
    }
    asked = {
        name: (folder, [item for _ in range(WORDINGS) for item in make()])
        for name, (folder, make) in made.items()
    }
    rooms = question_sets.daquar_questions(data, "train")
    rooms += question_sets.room_questions(data, "train", rng)
    asked["daquar"] = ("daquar", rooms)
    fur = colours(data / "pets" / "images.tar", cache)
    asked["pets"][1].extend(
        question_sets.colour_question(picture, animal, fur[picture], rng)
        for picture, animal in datasets.pets("train").items()
        for _ in range(WORDINGS)
        if picture in fur
    )

    def join(folder: str, items: list[Question]) -> Source:
        return source(data, cache, folder, items, LITE0, coattention)

    sources = {name: join(folder, items) for name, (folder, items) in asked.items()}
    labels = datasets.imagenet(data, "train")
    tints = colours(data / "imagenet" / "images.tar", cache)
    photos = join(
        "imagenet",
        # Their questions are made later; here the answer is the photo's colour, if it has one.
        [
            Question(name, "", "", (tints[name],) if name in tints else ())
            for name in sorted(labels)
        ],
    )
    people = question_sets.people_questions_without_pictures(data, "train")
    described = question_sets.described_questions(data, rng)
    every = [*(item for _, items in asked.values() for item in items), *described]
    words = vocabulary(every, people, list(everyday_words()), rng)
    if known:
        words = training_vocabulary(known, words.canonical_answers)
    teacher = room_teacher(data, sources["daquar"], words)
    classifier = lite_classifier_layer(LITE0)
    _, basis = components(data, cache, LITE0) if coattention else (None, np.empty((POOLED, 0)))
    batches = Batches(
        sources,
        photos,
        [labels[name] for name in sorted(labels)],
        described,
        people,
        DescribedPictures(data, cache, LITE0, classifier),
        words,
        teacher,
        classifier,
        torch.from_numpy(basis),
    )
    return batches, words


def train_on_lite0(
    data: Path, cache: Path, coattention: bool, checkpoint: Path
) -> tuple[Network, TrainingVocabulary]:
    """Train a network on Lite0: from scratch, or with co-attention from the weights of `START`."""
    weights, known = read_weights(START) if coattention else ({}, None)
    batches, words = prepare(data, cache, coattention, known)
    torch.manual_seed(SEED)
    make = CoattentionNetwork if coattention else VqaNetwork
    network = make(list(words.words), words.groups, batches.everyday, batches.classifier)
    if isinstance(network, CoattentionNetwork):
        attend_uniformly(network, weights.pop("picture.weight"), batches.basis)
        # The question reader stays as it is.
        for part in (network.embedding, network.lstm, network.question):
            part.requires_grad_(False)
        network.load_state_dict(weights, strict=False)
    schedule = FINE_TUNING if coattention else FROM_SCRATCH
    return train(network, batches, words, schedule, checkpoint), words


def transfer(data: Path, cache: Path, backbone: int) -> tuple[VqaNetwork, TrainingVocabulary]:
    """Return the network of `START` for another backbone, with a picture layer of its own."""
    weights, known = read_weights(START)
    classifier = lite_classifier_layer(backbone)
    network = VqaNetwork(known.words, known.answers, everyday_words(), classifier)
    weights["picture.weight"] = fit_picture_layer(weights["picture.weight"], data, cache, backbone)
    network.load_state_dict(weights)
    return network.eval(), training_vocabulary(known, {})


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")] = Path(
        "../scratch"
    ),
    backbone: Annotated[int, typer.Option(help="0 or 2, for EfficientNet-Lite0 or Lite2")] = 0,
    coattention: Annotated[
        bool, typer.Option(help="Train the network with co-attention (Lite0 only)")
    ] = False,
) -> None:
    """Train an answerer and write its weights and vocabulary.

    An interrupted run resumes after its last complete epoch; a finished one is only written again.
    """
    if backbone and coattention:
        raise typer.BadParameter("Co-attention is for --backbone 0 only.")
    name = f"lite{backbone}-vqa" + "-coattention" * coattention
    cache = work / "features"
    if backbone:
        trained, words = transfer(data, cache, backbone)
    else:
        checkpoint = work / f"{name}.pt"
        trained, words = train_on_lite0(data, cache, coattention, checkpoint)
    calibrate(trained, words, data, cache, backbone)
    write(trained, words, WEIGHTS / f"{name}.safetensors")


if __name__ == "__main__":
    typer.run(main)
