"""Trains the embedded captioners: a Show-and-Tell head on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.captioning ../shared/data --work ../scratch
    python -m training.captioning ../shared/data --work ../scratch --backbone 2

First the attributes, which are phrases that people use; then the LSTM, on people's captions;
then a little self-critical training on CIDEr-D. Stopped, it goes on from the last epoch.
"""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, takewhile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm, trange

from gradcam_core.models.show_and_tell import (
    END,
    UNKNOWN,
    CaptionHead,
    normalise,
    sample,
    split_words,
    weights_file,
)
from training.features import features

SEED = 0
VIEWS = ("whole", "whole-flip")
LEAST_WORD = 6  # uses of a word that is learned
LEAST_PHRASE = 80  # pictures that a phrase must be used of to become an attribute
LENGTH = 18  # of a training caption, with END; what is longer is cut
PAD = -1
WIDTH = 448
FOLDS = 5
ATTRIBUTE_EPOCHS = 8
LIKELIHOOD_EPOCHS = 5
CRITICAL_EPOCHS = 1
BATCH = 192  # captions
SAMPLES = 5  # sentences drawn of a picture
LIKELIHOOD_SHARE = 0.1  # of the loss in self-critical training
AVERAGE = 0.99


@dataclass(frozen=True)
class Picture:
    """A picture with its captions, split into words.

    Attributes:
        source: "flickr8k", "pets" or "daquar".
        name: File name in the archive of that set.
        captions: At least one.
    """

    source: str
    name: str
    captions: list[list[str]]


# --- data ---------------------------------------------------------------------------------------


def flickr8k(data: Path, split: str) -> list[Picture]:
    """The photos of a split ("train" or "dev"), with five captions each."""
    captions = defaultdict(list)
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                captions[row["image"]].append(split_words(row["caption"]))
    return [Picture("flickr8k", name, sentences) for name, sentences in captions.items()]


_PETS = 700  # of each kind
_PET_SENTENCES = [
    "a {} is looking at the camera",
    "a {} looks at the camera",
    "a close up of a {}",
    "a {} poses for a picture",
    "the {} is looking at something",
]


def pets(split: str) -> list[Picture]:
    """Cats and dogs with sentences that say which; every fifth is held back as "dev"."""
    return [
        Picture("pets", f"{kind}/{i:04}.jpg", [split_words(s.format(kind)) for s in _PET_SENTENCES])
        for kind in ("cat", "dog")
        for i in range(_PETS)
        if (i % 5 == 0) == (split == "dev")
    ]


# Things that tell what room a picture shows, in the words of the answers.
_ROOMS = {
    "bathroom": {"toilet", "bathtub", "shower", "tissue roll", "bathroom basin"},
    "kitchen": {"stove", "microwave", "refridgerator", "oven", "dishwasher", "toaster"},
    "bedroom": {"bed", "night stand", "comforter", "bunk bed", "bed sheets"},
    "office": {"computer", "monitor", "printer", "keyboard", "whiteboard"},
    "living room": {"sofa", "fireplace", "television"},
}
_COLOURS = {
    "white",
    "black",
    "red",
    "blue",
    "green",
    "brown",
    "pink",
    "yellow",
    "gray",
    "purple",
    "cream",
    "orange",
}
SPELLING = {"refridgerator": "refrigerator", "sofa": "couch", "night stand": "nightstand"}
_ROOM_SENTENCES = [
    "{room} with {a} and {b}",
    "{a} and {b} in {room}",
    "there is {a} in {room}",
    "{room} with {b} and {a}",
    "{room} with {a}",
]


def daquar(data: Path, split: str) -> dict[str, Counter[str]]:
    """Picture -> the things that people named in their answers about it, with how often."""
    things = defaultdict(Counter)
    with (data / "daquar" / "questions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                answers = [answer.strip().replace("_", " ") for answer in row["answer"].split(",")]
                things[row["image"]].update(
                    answer
                    for answer in answers
                    if not answer.isdecimal() and answer not in _COLOURS
                )
    return {name: found for name, found in things.items() if found}


def room(things: Counter[str]) -> str:
    """The kind of room that some things stand in."""
    hits = {kind: sum(things[thing] for thing in signs) for kind, signs in _ROOMS.items()}
    best = max(hits, key=hits.get)
    return best if hits[best] else "room"


def rooms(data: Path) -> list[Picture]:
    """The training rooms of DAQUAR, with sentences that name what people named there."""
    named = daquar(data, "train")
    common = Counter(thing for things in named.values() for thing in things)
    pictures = []
    for name, things in named.items():
        kind = _with_article(room(things))
        # What is named in many rooms can be learned; one room's oddities cannot.
        names = [
            _with_article(SPELLING.get(thing, thing))
            for thing in sorted(things, key=lambda thing: -common[thing])
            if common[thing] >= 15
        ]
        if names:
            pairs = [(names[i % len(names)], names[(i + 1) % len(names)]) for i in range(5)]
            sentences = [
                (s if a != b else "{room} with {a}").format(room=kind, a=a, b=b)
                for s, (a, b) in zip(_ROOM_SENTENCES, pairs, strict=True)
            ]
            pictures.append(Picture("daquar", name, [split_words(s) for s in sentences]))
    return pictures


def _with_article(noun: str) -> str:
    if noun.endswith("s") and noun != "glass":
        return noun
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


# --- attributes ---------------------------------------------------------------------------------


def phrases(caption: Sequence[str]) -> set[str]:
    """All runs of one to three words of a caption."""
    return {" ".join(caption[i : i + n]) for n in (1, 2, 3) for i in range(len(caption) - n + 1)}


def attribute_table(pictures: Sequence[Picture]) -> tuple[list[str], Tensor]:
    """The phrases used of at least `LEAST_PHRASE` pictures, and the share of people who used each.

    Returns:
        The phrases, and (len(pictures), len(phrases)) float32 in 0..1.
    """
    used = [Counter(p for caption in pic.captions for p in phrases(caption)) for pic in pictures]
    spread = Counter(phrase for counts in used for phrase in counts)
    names = sorted(phrase for phrase, n in spread.items() if n >= LEAST_PHRASE)
    column = {name: i for i, name in enumerate(names)}
    table = torch.zeros(len(pictures), len(names))
    for row, (picture, counts) in enumerate(zip(pictures, used, strict=True)):
        for phrase, n in counts.items():
            if phrase in column:
                table[row, column[phrase]] = n / len(picture.captions)
    return names, table


def fit_attributes(vectors: Tensor, table: Tensor, epochs: int, seed: int) -> nn.Linear:
    """Logistic regression of the attributes on the pooled features.

    Args:
        vectors: (n, views, 1280) float32, standardised.
        table: (n, n_attributes), from `attribute_table`.
        epochs: Passes over the pictures, each with one random view of each picture.
        seed: Of the order and the dropout.
    """
    torch.manual_seed(seed)
    n, views, width = vectors.shape
    layer = nn.Linear(width, table.shape[1])
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.copy_(table.mean(0).clamp(1e-4, 1 - 1e-4).logit())
    optimizer = torch.optim.AdamW(layer.parameters(), lr=2e-3, weight_decay=0.2)
    steps = epochs * math.ceil(n / 256)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        view = torch.randint(views, (n,))
        for rows in torch.randperm(n).split(256):
            with torch.autocast("cpu", torch.bfloat16):
                logits = layer(F.dropout(vectors[rows, view[rows]], 0.5))
            loss = F.binary_cross_entropy_with_logits(logits.float(), table[rows], reduction="sum")
            optimizer.zero_grad()
            (loss / len(rows)).backward()
            optimizer.step()
            schedule.step()
    return layer.requires_grad_(False)


# --- training -----------------------------------------------------------------------------------


class Consensus:
    """CIDEr-D (Vedantam et al. 2015) against the five captions of a picture, as a reward.

    pycocoevalcap takes document frequencies from the captions it is given, so it cannot score
    a batch; this one counts them once over the training set.
    """

    def __init__(self, captions: Sequence[Sequence[Sequence]]) -> None:
        """Read the captions of each picture, each a sequence of words or of their indices."""
        counted = [[self._count(caption) for caption in group] for group in captions]
        self._log_n = math.log(len(captions))
        self._frequency = Counter(g for counts in counted for g in set().union(*counts))
        self._references = [[self._weigh(counts) for counts in cs] for cs in counted]

    def __call__(self, words: Sequence, picture: int) -> float:
        """The reward for saying `words` of the picture of this index: 0..10."""
        return self._mean_similarity(self._weigh(self._count(words)), self._references[picture])

    @staticmethod
    def _count(words: Sequence) -> Counter[tuple]:
        return Counter(
            tuple(words[i : i + n]) for n in (1, 2, 3, 4) for i in range(len(words) - n + 1)
        )

    def _weigh(self, counts: Counter) -> tuple[list[dict], list[float], int]:
        """The tf-idf vector of each n-gram length, their norms, and the number of words."""
        vectors = [{}, {}, {}, {}]
        for gram, n in counts.items():
            idf = self._log_n - math.log(max(1, self._frequency[gram]))
            vectors[len(gram) - 1][gram] = n * idf
        norms = [math.sqrt(sum(v * v for v in vector.values())) for vector in vectors]
        return vectors, norms, sum(n for gram, n in counts.items() if len(gram) == 1)

    @staticmethod
    def _mean_similarity(said: tuple, references: Sequence[tuple]) -> float:
        vectors, norms, length = said
        total = 0.0
        for ref_vectors, ref_norms, ref_length in references:
            closeness = math.exp(-((length - ref_length) ** 2) / 72)
            for vector, norm, ref, ref_norm in zip(
                vectors, norms, ref_vectors, ref_norms, strict=True
            ):
                if norm and ref_norm:
                    common = sum(min(v, ref[g]) * ref[g] for g, v in vector.items() if g in ref)
                    total += closeness * common / (norm * ref_norm)
        return 10 * total / 4 / len(references)


class Trainer:
    """The head with all its training state, saved after every epoch so that a run can resume."""

    def __init__(
        self, head: CaptionHead, attributes: Tensor, captions: Tensor, owners: Tensor, path: Path
    ) -> None:
        """Start, or go on from `path` if it exists.

        Args:
            head: Trained in place.
            attributes: (n_pictures, views, n_attributes) float32, of each view of each picture.
            captions: (n, length) int64: word indices, then `END`, then `PAD`.
            owners: (n,) int64: the picture that each caption belongs to.
            path: Checkpoint file.
        """
        self.head, self.attributes, self.captions, self.owners = head, attributes, captions, owners
        self.lengths = (captions != PAD).sum(1)
        # The mean of the last few hundred steps generalises better than the last step.
        self.average = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.optimizer = torch.optim.AdamW(head.parameters(), weight_decay=0.02, betas=(0.9, 0.98))
        self.path, self.epoch = path, 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.epoch = state["epoch"]
            head.load_state_dict(state["head"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])

    def save(self) -> None:
        """Count an epoch and write the checkpoint."""
        self.epoch += 1
        state = {
            "epoch": self.epoch,
            "head": self.head.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.path)

    def best(self) -> CaptionHead:
        """The averaged head."""
        return self.average.module

    def learn_captions(self, epochs: int) -> None:
        """One epoch of maximum likelihood (Vinyals et al., Eq. 1) with smoothed labels."""
        torch.manual_seed(SEED + self.epoch)
        batches = self._batches()
        bar = tqdm(batches, f"likelihood {self.epoch + 1}/{epochs}")
        for i, rows in enumerate(bar):
            loss = self._likelihood(rows)
            self._step(loss, 3e-3, (self.epoch + i / len(batches)) / epochs)
            bar.set_postfix(loss=f"{loss.item():.3f}")
        self.save()

    def learn_consensus(self, reward: Consensus, n_pictures: int, epochs: int) -> None:
        """One epoch of self-critical training (Rennie et al. 2017) on CIDEr-D.

        The baseline of a sampled sentence is the mean reward of the picture's other samples. The
        likelihood of people's captions stays in the loss, against overfitting to 6,000 pictures.
        """
        torch.manual_seed(SEED + self.epoch)
        batches = torch.randperm(n_pictures).split(64)
        spoken = torch.randperm(len(self.captions)).split(128)
        bar = tqdm(batches, f"self-critical {self.epoch + 1}/{epochs}")
        for i, rows in enumerate(bar):
            attributes = self._view_of(rows).repeat_interleave(SAMPLES, 0)
            self.head.eval()
            with torch.autocast("cpu", torch.bfloat16):
                chances = torch.rand(len(attributes), self.captions.shape[1])
                drawn = sample(self.head, attributes, chances)
            rewards = torch.tensor(
                [
                    reward(list(takewhile(lambda i: i != END, ids)), rows[j // SAMPLES].item())
                    for j, ids in enumerate(drawn.tolist())
                ]
            ).view(-1, SAMPLES)
            others = (rewards.sum(1, keepdim=True) - rewards) / (SAMPLES - 1)
            advantage = (rewards - others).flatten()
            self.head.train()
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.head(attributes, drawn)
            log_probs = logits.float().log_softmax(-1).gather(-1, drawn[:, :, None])[:, :, 0]
            # Every word counts, and the first END.
            counted = (drawn == END).cumsum(1) - (drawn == END).int() == 0
            critical = -(advantage[:, None] * log_probs * counted).sum() / counted.sum()
            loss = critical + LIKELIHOOD_SHARE * self._likelihood(spoken[i])
            self._step(loss, 2e-4, (self.epoch + i / len(batches)) / epochs)
            bar.set_postfix(reward=f"{rewards.mean().item():.3f}")
        self.save()

    def _step(self, loss: Tensor, peak: float, progress: float) -> None:
        """Descend, at a rate that warms up over the first 2 % and then falls like a cosine."""
        rate = peak * min(1.0, progress / 0.02 + 0.01) * (1 + math.cos(math.pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.head)

    def _batches(self) -> list[Tensor]:
        """All captions in random order, those of a batch about equally long."""
        batches = []
        for rows in torch.randperm(len(self.captions)).split(20 * BATCH):
            batches += rows[self.lengths[rows].argsort()].split(BATCH)
        return [batches[i] for i in torch.randperm(len(batches))]

    def _view_of(self, pictures: Tensor) -> Tensor:
        """The attributes of a random view of each picture."""
        return self.attributes[pictures, torch.randint(self.attributes.shape[1], pictures.shape)]

    def _likelihood(self, rows: Tensor) -> Tensor:
        captions = self.captions[rows, : self.lengths[rows].max()]
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.head(self._view_of(self.owners[rows]), captions.clamp(min=0))
        return F.cross_entropy(
            logits.float().flatten(0, 1),
            captions.flatten(),
            ignore_index=PAD,
            label_smoothing=0.1,
        )


# --- the whole ----------------------------------------------------------------------------------


def pooled(data: Path, pictures: Sequence[Picture], cache: Path, backbone: int) -> Tensor:
    """The normalised pooled features of pictures in the order given, (n, views, 1280) float32."""
    parts = [
        features(data / source / "images.tar", [p.name for p in group], VIEWS, cache, backbone)
        for source, group in groupby(pictures, key=lambda picture: picture.source)
    ]
    return normalise(torch.from_numpy(np.concatenate(parts)).float())


def cross_fitted(vectors: Tensor, table: Tensor, cache: Path) -> tuple[nn.Linear, Tensor]:
    """Fit the attributes, and give each training picture what a stranger would say of it.

    A layer fitted to a picture all but repeats its captions, and an LSTM trained on that would
    trust attributes too much. So five layers are fitted, each without a fifth of the pictures,
    which then get their attributes from it. The product has the mean of the five.

    Args:
        vectors: (n, views, 1280) float32.
        table: (n, n_attributes), from `attribute_table`.
        cache: File to keep the results in.

    Returns:
        The layer, from pooled features to standardised attributes, and the attributes of the
        pictures, (n, views, n_attributes) float32.
    """
    if not cache.exists():
        mean, spread = vectors.mean((0, 1)), vectors.std((0, 1)) + 0.02  # rare channels stay small
        vectors = (vectors - mean) / spread
        fold = torch.arange(len(vectors)) % FOLDS
        attributes = torch.empty(*vectors.shape[:2], table.shape[1])
        layers = []
        for held_back in trange(FOLDS, desc="attributes"):
            kept = fold != held_back
            layer = fit_attributes(vectors[kept], table[kept], ATTRIBUTE_EPOCHS, SEED + held_back)
            attributes[~kept] = layer(vectors[~kept])
            layers.append(layer)
        weight = torch.stack([layer.weight for layer in layers]).mean(0) / spread
        bias = torch.stack([layer.bias for layer in layers]).mean(0) - weight @ mean
        centre, scale = attributes.mean((0, 1)), attributes.std((0, 1))
        results = {
            "attributes": ((attributes - centre) / scale).half(),
            "weight": weight / scale[:, None],
            "bias": (bias - centre) / scale,
        }
        part = cache.with_suffix(".part")
        save_file(results, part)
        part.replace(cache)
    results = load_file(cache)
    layer = nn.Linear(*results["weight"].t().shape)
    layer.load_state_dict({name: results[name] for name in ("weight", "bias")})
    return layer.requires_grad_(False), results["attributes"].float()


def vocabulary(pictures: Sequence[Picture]) -> dict[str, int]:
    """The words to be learned, and of how many pictures each is used; `END` and `UNKNOWN` first."""
    uses = Counter(word for p in pictures for caption in p.captions for word in caption)
    spread = Counter(word for p in pictures for word in set(chain.from_iterable(p.captions)))
    known = {word: spread[word] for word in sorted(uses) if uses[word] >= LEAST_WORD}
    return {"<end>": len(pictures), "<unknown>": len(pictures)} | known


def export(head: CaptionHead, attributes: nn.Linear, words: Mapping[str, int], path: Path) -> None:
    """Write the head with its attribute layer, as float16, and the vocabulary."""
    tensors = head.state_dict() | {
        f"attributes.{name}": tensor for name, tensor in attributes.state_dict().items()
    }
    small = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    path.write_bytes(save(small))
    path.with_suffix(".json").write_text(json.dumps(words, indent=0) + "\n")


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k/, pets/, daquar/")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")],
    backbone: Annotated[int, typer.Option(help="0 or 2, of the EfficientNet-Lites")] = 0,
) -> None:
    """Train and write the weights. Run again to go on where it was stopped."""
    kept = f"captioning-lite{backbone}"
    photos = flickr8k(data, "train")
    pictures = [*photos, *pets("train"), *rooms(data)]
    words = vocabulary(pictures)
    index = {word: i for i, word in enumerate(words)}
    numbered = [
        [[index.get(word, UNKNOWN) for word in caption] for caption in picture.captions]
        for picture in pictures
    ]
    captions = torch.full((sum(map(len, numbered)), LENGTH), PAD)
    for row, caption in enumerate(chain.from_iterable(numbered)):
        ids = [*caption[: LENGTH - 1], END]
        captions[row, : len(ids)] = torch.tensor(ids)
    owners = torch.arange(len(pictures)).repeat_interleave(torch.tensor([*map(len, numbered)]))

    phrases_learned, table = attribute_table(pictures)
    attribute_words = torch.tensor([index.get(phrase, -1) for phrase in phrases_learned])
    vectors = pooled(data, pictures, work / "features", backbone)
    layer, attributes = cross_fitted(vectors, table, work / f"{kept}-attributes.safetensors")

    torch.manual_seed(SEED)
    head = CaptionHead(len(words), attribute_words, WIDTH, dropout=0.3)
    first = Trainer(head, attributes, captions, owners, work / f"{kept}-likelihood.pt")
    while first.epoch < LIKELIHOOD_EPOCHS:
        first.learn_captions(LIKELIHOOD_EPOCHS)
    second = Trainer(first.best(), attributes, captions, owners, work / f"{kept}-critical.pt")
    consensus = Consensus(numbered[: len(photos)])
    while second.epoch < CRITICAL_EPOCHS:
        second.learn_consensus(consensus, len(photos), CRITICAL_EPOCHS)
    export(second.best(), layer, words, weights_file(backbone))


if __name__ == "__main__":
    typer.run(main)
