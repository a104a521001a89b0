"""Train the embedded question answerers: a head on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.vqa ../shared/data --work ../scratch
    python -m training.vqa ../shared/data --work ../scratch --backbone 2
    python -m training.vqa ../shared/data --work ../scratch --coattention

The CNN is frozen, so pictures are read as pooled features (training/features.py), and a step
costs little more than the LSTM over the batch's different questions. What is in a batch, and what
is made up for it, says training/batches.py.

The head on Lite2 is not trained: it is that on Lite0, with a layer that sees what Lite0's does.
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
from gradcam_core.models.embedded.answerer import Vocabulary as NetworkVocabulary
from gradcam_core.models.embedded.answerer import read_weights
from gradcam_core.models.embedded.coattention_network import CoattentionNetwork
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import datasets, lessons
from training.answers import Vocabulary, known_words, shares, vocabulary
from training.batches import POOLED, SEED, VIEW, Batches, Source, room_teacher, source
from training.calibration import dev_questions, temperature, threshold
from training.cells import components
from training.colours import colours
from training.features import features
from training.questions import Question
from training.unseen import Unseen

Head = VqaNetwork | CoattentionNetwork

LITE0 = 0  # the backbone that heads are trained on
START = "lite0-vqa"  # whose weights the others start from: they read questions as it does

# Chosen on the dev pictures, as are the model's dropout and sizes.
STEPS = 100  # in an epoch
RISE = 0.1  # share of the steps in which the learning rate rises; in the others it falls
WEIGHT_DECAY = 0.1
RIDGE = 0.1  # beside the mean square of a feature
WORDINGS = 3  # of each question made by rules
KIND_WEIGHT = 0.5  # of the loss of the kind of answer
CHUNK = 256  # questions at once, to calibrate


def loss(head: Head, batch: tuple[Tensor, list[Tensor], Tensor, Tensor], kinds: Tensor) -> Tensor:
    """Cross entropy of the answers, and of their kinds, which only the question tells."""
    looked, asked, which, targets = batch
    logits, kind = head(looked, asked, which)
    of_kind = targets.new_zeros(len(targets), kind.shape[1]).index_add(1, kinds, targets)
    return F.cross_entropy(logits, targets) - KIND_WEIGHT * (of_kind * kind).sum(1).mean()


@dataclass(frozen=True)
class Course:
    """How long a head learns, and how fast."""

    epochs: int
    rate: float  # the highest learning rate
    average: float  # decay of the running mean of the weights

    def share(self, step: int) -> float:
        """The learning rate of a step, as a share of the highest."""
        done = step / (self.epochs * STEPS)
        falling = (done - RISE) / (1 - RISE)
        return done / RISE if done < RISE else (1 + math.cos(math.pi * falling)) / 2


FROM_NOTHING = Course(30, 3e-3, 0.998)
FROM_ANOTHER = Course(8, 1e-3, 0.99)


def train(
    head: Head, batches: Batches, words: Vocabulary, course: Course, checkpoint: Path
) -> Head:
    """Train a head; a run that was broken off goes on from `checkpoint`.

    Returns:
        The head with the running mean of its weights, in eval mode.
    """
    kinds = torch.tensor(words.kinds)
    mean = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(course.average))
    learned = [weight for weight in head.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=course.rate, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, course.share)
    parts = {"head": head, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, state in saved.items():
            parts[name].load_state_dict(state)
    for epoch in range(first, course.epochs):
        # Seeded by the epoch, so that a resumed run draws what an unbroken one would have.
        torch.manual_seed(SEED + epoch)
        batches.rng.seed(SEED + epoch)
        head.train()
        losses = []
        with tqdm(range(STEPS), desc=f"epoch {epoch + 1}/{course.epochs}", unit="batch") as bar:
            for _ in bar:
                found = loss(head, batches.draw(), kinds)
                optimiser.zero_grad()
                found.backward()
                nn.utils.clip_grad_norm_(learned, 1.0)
                optimiser.step()
                schedule.step()
                mean.update_parameters(head)
                losses.append(found.item())
                bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}")
        state = {name: part.state_dict() for name, part in parts.items()}
        part = checkpoint.with_suffix(".part")
        torch.save({**state, "epoch": epoch + 1}, part)
        part.replace(checkpoint)
    return mean.module.eval()


@torch.no_grad()
def attend_to_all(head: CoattentionNetwork, picture: Tensor, basis: Tensor) -> None:
    """Let a new head see what a `VqaNetwork` does, attending to all cells alike.

    Args:
        head: With random weights.
        picture: (width, 1280), the weights of the other's layer.
        basis: (1280, components), what the cells are seen by.
    """
    head.project.weight.copy_(basis.mT)
    for level, asked, seen in zip(head.levels, head.asked, head.seen, strict=True):
        level.cell.weight.zero_()
        asked.weight.zero_()
        asked.bias.zero_()
        seen.weight.copy_(picture @ basis / len(head.seen))


def seen_alike(picture: Tensor, data: Path, cache: Path, backbone: int) -> Tensor:
    """Weights of the layer `picture` with which another backbone sees train photos as Lite0 does.

    Args:
        picture: (width, 1280), of Lite0's.
        data: The folder of all sets.
        cache: The folder of the features.
        backbone: The other's number.

    Returns:
        (width, 1280), by ridge regression.
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
    # As the head normalises them.
    lite0, other = (F.normalize(pooled, dim=1) * POOLED**0.5 for pooled in (lite0, other))
    gram = other.mT @ other
    gram.diagonal().add_(RIDGE * len(other))
    return torch.linalg.solve(gram, other.mT @ (lite0 @ picture.mT)).mT


@torch.no_grad()
def calibrate(head: Head, words: Vocabulary, data: Path, cache: Path, backbone: int) -> None:
    """Measure on dev pictures how far the head can be believed; note it in `words`."""
    sets = []
    for folder, asked in dev_questions(data).values():
        origin = source(data, cache, folder, asked, backbone, isinstance(head, CoattentionNetwork))
        logits = []
        for first in range(0, len(asked), CHUNK):
            questions = [words.encode(item.text) for item in asked[first : first + CHUNK]]
            looked = origin.vectors[origin.rows[first : first + CHUNK]]
            logits.append(head(looked, questions, torch.arange(len(questions)))[0])
        right = shares([item.answers for item in asked], words) > 0
        sets.append((torch.cat(logits), right))
    words.temperature = temperature(sets)
    best = [((logits / words.temperature).softmax(1).max(1), right) for logits, right in sets]
    words.unsure_below = threshold(
        [(found.values, right[range(len(right)), found.indices]) for found, right in best]
    )


def write(head: Head, words: Vocabulary, target: Path) -> None:
    """Write the head's weights, and beside them its words and answers."""
    save_file({key: tensor.half() for key, tensor in head.state_dict().items()}, target)
    shown = {
        "temperature": round(words.temperature, 3),
        "unsure_below": round(words.unsure_below, 3),
        "words": list(words.words),
        "answers": words.groups,
    }
    vocabulary_file = target.with_suffix(".json")
    vocabulary_file.write_text(json.dumps(shown, indent=0) + "\n", encoding="utf-8")
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) and {vocabulary_file.name}")


def prepare(
    data: Path, cache: Path, coattention: bool, known: NetworkVocabulary | None
) -> tuple[Batches, Vocabulary]:
    """Read all sets, make the questions and fit the teacher; words and answers may be known."""
    rng = random.Random(SEED)
    made: Mapping[str, tuple[str, Callable[[], list[Question]]]] = {
        "captions": ("flickr8k", lambda: lessons.caption_questions(data, "train", rng)),
        "pets": ("pets", lambda: lessons.pet_questions("train", rng)),
        "coco": ("coco", lambda: lessons.coco_questions(data, "train", rng)),
        "scenes": ("scenes", lambda: lessons.scene_questions("train", rng)),
    }
    asked = {
        name: (folder, [item for _ in range(WORDINGS) for item in make()])
        for name, (folder, make) in made.items()
    }
    rooms = lessons.daquar_questions(data, "train") + lessons.room_questions(data, "train", rng)
    asked["daquar"] = ("daquar", rooms)
    fur = colours(data / "pets" / "images.tar", cache)
    asked["pets"][1].extend(
        lessons.colour_question(picture, animal, fur[picture], rng)
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
        # Their questions are made up later; here each has its colour for an answer, if any.
        [
            Question(name, "", "", (tints[name],) if name in tints else ())
            for name in sorted(labels)
        ],
    )
    people = lessons.people_questions(data, "train")
    described = lessons.described_questions(data, rng)
    every = [*(item for _, items in asked.values() for item in items), *described]
    words = vocabulary(every, people, list(everyday_words()), rng)
    if known:
        words = known_words(known, words.same)
    teacher = room_teacher(data, sources["daquar"], words)
    classifier = lite_classifier_layer(LITE0)
    _, basis = components(data, cache, LITE0) if coattention else (None, np.empty((POOLED, 0)))
    batches = Batches(
        sources,
        photos,
        [labels[name] for name in sorted(labels)],
        described,
        people,
        Unseen(data, cache, LITE0, classifier),
        words,
        teacher,
        classifier,
        torch.from_numpy(basis),
    )
    return batches, words


def learned(
    data: Path, cache: Path, coattention: bool, checkpoint: Path
) -> tuple[Head, Vocabulary]:
    """A head for Lite0: one trained from nothing, or that with co-attention, from its weights."""
    weights, known = read_weights(START) if coattention else ({}, None)
    batches, words = prepare(data, cache, coattention, known)
    torch.manual_seed(SEED)
    make = CoattentionNetwork if coattention else VqaNetwork
    head = make(list(words.words), words.groups, batches.everyday, batches.classifier)
    if isinstance(head, CoattentionNetwork):
        attend_to_all(head, weights.pop("picture.weight"), batches.basis)
        # Questions are read as there; only what is seen is new.
        for part in (head.embedding, head.lstm, head.question):
            part.requires_grad_(False)
        head.load_state_dict(weights, strict=False)
    course = FROM_ANOTHER if coattention else FROM_NOTHING
    return train(head, batches, words, course, checkpoint), words


def carried_over(data: Path, cache: Path, backbone: int) -> tuple[VqaNetwork, Vocabulary]:
    """The head of `START` for another backbone: only the layer that looks is another."""
    weights, known = read_weights(START)
    head = VqaNetwork(known.words, known.answers, everyday_words(), lite_classifier_layer(backbone))
    weights["picture.weight"] = seen_alike(weights["picture.weight"], data, cache, backbone)
    head.load_state_dict(weights)
    return head.eval(), known_words(known, {})


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")] = Path(
        "../scratch"
    ),
    backbone: Annotated[int, typer.Option(help="0 or 2, of the EfficientNet-Lites")] = 0,
    coattention: Annotated[
        bool, typer.Option(help="Train the one that attends to cells (Lite0 only)")
    ] = False,
) -> None:
    """Train on the train pictures; write the head's weights and its words and answers.

    A run that was broken off goes on after its last whole epoch; one that is done only writes.
    """
    if backbone and coattention:
        raise typer.BadParameter("The one on another backbone is not trained: leave this out.")
    name = f"lite{backbone}-vqa" + "-coattention" * coattention
    cache = work / "features"
    if backbone:
        trained, words = carried_over(data, cache, backbone)
    else:
        checkpoint = work / f"{name}.pt"
        trained, words = learned(data, cache, coattention, checkpoint)
    calibrate(trained, words, data, cache, backbone)
    write(trained, words, WEIGHTS / f"{name}.safetensors")


if __name__ == "__main__":
    typer.run(main)
