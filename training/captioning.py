"""Trains the embedded captioners: a Show-and-Tell head on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.captioning ../shared/data --work ../scratch
    python -m training.captioning ../shared/data --work ../scratch --backbone 2

First the attributes, which are phrases that people use; then the LSTM, on captions of real and of
imagined pictures; then a little self-critical training on CIDEr-D. Stopped, it goes on from the
last epoch. The LSTM reads attributes, not pictures: so Lite2 takes it over, and learns to see the
same phrases.

Most of the captions have no picture with them, and most of the things that the backbone knows no
caption: the features of the ones are imagined (imagined.py), and sentences for the others made
(sentences.py).
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from gradcam_core.models.embedded.caption_network import UNKNOWN, CaptionNetwork, normalise, sample
from gradcam_core.models.embedded.caption_search import END
from gradcam_core.models.embedded.caption_text import join_names, split_words
from gradcam_core.models.embedded.captioner import weights_file
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import datasets, sentences
from training.colours import colours
from training.features import features
from training.imagined import Imagination, class_directions
from training.rewards import Consensus

SEED = 0
VIEWS = ("whole", "whole-flip")
LEAST_WORD = 8  # uses of a word that is learned
LEAST_PHRASE = 130  # pictures that a phrase must be used of to become an attribute
LENGTH = 18  # of a training caption, with END; what is longer is cut
PAD = -1
WIDTH = 352
FOLDS = 5
ATTRIBUTE_EPOCHS = 6
LIKELIHOOD_EPOCHS = 8
LIKELIHOOD_STEPS = 200  # of an epoch, a batch each
CRITICAL_EPOCHS = 2
CRITICAL_STEPS = 60  # of an epoch, 64 pictures each
BATCH = 128  # captions
SAMPLES = 5  # sentences drawn of a picture
LIKELIHOOD_SHARE = 0.2  # of the loss in self-critical training
AVERAGE = 0.99
IMITATION_RIDGE = 0.1  # beside the mean square of a feature
IMAGINED = 2  # pictures of each class that are imagined
SCENES_STEP = 4  # one in so many of the scenes is enough
# How often an epoch has the captions of a set, so that none swallows the others.
REPEATS = {"coco": 5, "imagenet": 2}


@dataclass(frozen=True)
class Picture:
    """A picture with its captions, split into words.

    Attributes:
        source: A data set; "sentences" or "classes" for a picture that is imagined.
        name: File name in the archive of that set; empty for an imagined one.
        captions: At least one.
    """

    source: str
    name: str
    captions: list[list[str]]


# --- data ---------------------------------------------------------------------------------------

# Everyday words as the captioner says them ("go kart").
EVERYDAY = {" ".join(split_words(word)): ids for word, ids in everyday_words().items()}
WORD_OF = {label: word for word, labels in EVERYDAY.items() for label in labels}


def described(source: str, captions: Mapping[str, Iterable[str]]) -> list[Picture]:
    """Pictures with what people wrote of them."""
    return [
        Picture(source, name, [join_names(split_words(text), EVERYDAY) for text in written])
        for name, written in captions.items()
    ]


def composed(source: str, captions: Mapping[str, list[list[str]]]) -> list[Picture]:
    """Pictures with sentences made of what is known of them."""
    return [
        Picture(source, name, [join_names(words, EVERYDAY) for words in written])
        for name, written in captions.items()
    ]


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
            logits = layer(F.dropout(vectors[rows, view[rows]], 0.5))
            loss = F.binary_cross_entropy_with_logits(logits, table[rows], reduction="sum")
            optimizer.zero_grad()
            (loss / len(rows)).backward()
            optimizer.step()
            schedule.step()
    return layer.requires_grad_(False)


# --- training -----------------------------------------------------------------------------------


class Trainer:
    """The head with all its training state, saved after every epoch so that a run can resume."""

    def __init__(
        self, head: CaptionNetwork, attributes: Tensor, captions: Tensor, owners: Tensor, path: Path
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

    def best(self) -> CaptionNetwork:
        """The averaged head."""
        return self.average.module

    def learn_captions(self, epochs: int) -> None:
        """One epoch of maximum likelihood (Vinyals et al., Eq. 1) with smoothed labels."""
        torch.manual_seed(SEED + self.epoch)
        batches = self._batches()[:LIKELIHOOD_STEPS]
        bar = tqdm(batches, f"likelihood {self.epoch + 1}/{epochs}")
        for i, rows in enumerate(bar):
            loss = self._likelihood(rows)
            self._step(loss, 3e-3, (self.epoch + i / len(batches)) / epochs)
            bar.set_postfix(loss=f"{loss.item():.3f}")
        self.save()

    def learn_consensus(self, reward: Consensus, n_pictures: int, epochs: int) -> None:
        """One epoch of self-critical training (Rennie et al. 2017) on CIDEr-D.

        The baseline of a sampled sentence is the mean reward of the picture's other samples. The
        likelihood of all captions stays in the loss, so that what has no people's is not forgotten.
        """
        torch.manual_seed(SEED + self.epoch)
        batches = torch.randperm(n_pictures).split(64)[:CRITICAL_STEPS]
        spoken = torch.randperm(len(self.captions)).split(128)
        bar = tqdm(batches, f"self-critical {self.epoch + 1}/{epochs}")
        for i, rows in enumerate(bar):
            attributes = self._view_of(rows).repeat_interleave(SAMPLES, 0)
            self.head.eval()
            chances = torch.rand(len(attributes), self.captions.shape[1])
            drawn = sample(self.head, attributes, chances, [UNKNOWN])
            rewards = torch.tensor(
                [
                    reward(list(takewhile(lambda i: i != END, ids)), rows[j // SAMPLES].item())
                    for j, ids in enumerate(drawn.tolist())
                ]
            ).view(-1, SAMPLES)
            others = (rewards.sum(1, keepdim=True) - rewards) / (SAMPLES - 1)
            advantage = (rewards - others).flatten()
            self.head.train()
            logits = self.head(attributes, drawn)
            log_probs = logits.log_softmax(-1).gather(-1, drawn[:, :, None])[:, :, 0]
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
        logits = self.head(self._view_of(self.owners[rows]), captions.clamp(min=0))
        return F.cross_entropy(
            logits.flatten(0, 1),
            captions.flatten(),
            ignore_index=PAD,
            label_smoothing=0.1,
        )


# --- the whole ----------------------------------------------------------------------------------


def pooled(
    data: Path,
    pictures: Sequence[Picture],
    cache: Path,
    backbone: int = 0,
    views: Sequence[str] = VIEWS,
) -> Tensor:
    """The pooled features of pictures in the order given, (n, views, 1280) float32."""
    parts = [
        features(data / source / "images.tar", [p.name for p in group], views, cache, backbone)
        for source, group in groupby(pictures, key=lambda picture: picture.source)
    ]
    return torch.from_numpy(np.concatenate(parts)).float()


def places_layer(
    vectors: Tensor, pictures: Sequence[Picture]
) -> Callable[[Tensor], list[dict[str, float]]]:
    """Learn how likely people use the signs of places of a picture.

    Returns:
        A function of features (n, views, 1280) that gives a table for each.
    """
    names = sentences.signs()
    column = {name: i for i, name in enumerate(names)}
    table = torch.zeros(len(pictures), len(names))
    for row, picture in enumerate(pictures):
        for caption in picture.captions:
            for name in phrases(caption) & column.keys():
                table[row, column[name]] += 1 / len(picture.captions)
    vectors = normalise(vectors)
    mean, spread = vectors.mean((0, 1)), vectors.std((0, 1)) + 0.02
    layer = fit_attributes((vectors - mean) / spread, table, ATTRIBUTE_EPOCHS, SEED)

    def likely(others: Tensor) -> list[dict[str, float]]:
        scores = layer((normalise(others).mean(1) - mean) / spread).sigmoid()
        return [dict(zip(names, row, strict=True)) for row in scores.tolist()]

    return likely


def gather(
    data: Path, cache: Path, classifier: nn.Linear, rng: random.Random
) -> tuple[list[Picture], Tensor, list[Picture]]:
    """All pictures to learn from, real and imagined, with their captions and features.

    Returns:
        The pictures, those that people described first; their pooled features, (n, views, 1280)
        float32; and those first ones alone.
    """
    photos = described("flickr8k", datasets.flickr8k(data, "train"))
    photos += described("coco", datasets.coco_captions(data, "train"))
    vectors = pooled(data, photos, cache)
    groups = described("sentences", dict(enumerate(datasets.coco_sentences(data))))
    asked = [(item.picture, item.answers) for item in datasets.daquar(data, "train")]
    scenes = list(datasets.scenes("train"))[::SCENES_STEP]
    rooms = composed("daquar", sentences.of_rooms(sentences.things_named(asked)))
    places = {name: sentences.of_scene(name.split("/")[0]) for name in scenes}
    known = [*rooms, *composed("scenes", places)]
    of_known = pooled(data, known, cache)

    # Of each photo of ImageNet the class is known, and of no other photo.
    labels = datasets.imagenet(data, "train")
    of_labels = pooled(data, [Picture("imagenet", name, []) for name in labels], cache)
    towards = class_directions(classifier.weight.detach())
    imagination = Imagination(
        torch.cat([vectors, of_known, of_labels]).mean(1),
        [p.captions for p in [*photos, *known]] + [[[WORD_OF[label]]] for label in labels.values()],
        [p.captions for p in groups],
        {word: towards[ids].mean(0) for word, ids in EVERYDAY.items()},
        towards[classifier(vectors[:, 0]).argmax(1)],
    )
    of_groups = torch.stack([imagination([p.captions for p in groups]) for _ in VIEWS], 1)
    spoken = [*photos, *groups]
    vectors = torch.cat([vectors, of_groups])

    # Where the things of the others are is said by attributes of the pictures so far.
    likely = places_layer(torch.cat([vectors, of_known]), [*spoken, *known])
    pets = datasets.pets("train")
    of_pets = pooled(data, [Picture("pets", name, []) for name in pets], cache)
    classes = list(range(len(towards))) * IMAGINED
    around = [sentences.surroundings(WORD_OF[label], rng) for label in classes]
    of_classes = imagination.push(towards[classes], around)[:, None].expand(-1, len(VIEWS), -1)
    seen = {source: colours(data / source / "images.tar", cache) for source in ("pets", "imagenet")}
    things = [
        *(("pets", name, kind) for name, kind in pets.items()),
        *(("imagenet", name, WORD_OF[label]) for name, label in labels.items()),
        *(("classes", "", WORD_OF[label]) for label in classes),
    ]
    of_things = torch.cat([of_pets, of_labels, of_classes])
    named = [
        Picture(
            source,
            name,
            [
                join_names(words, EVERYDAY)
                for words in sentences.of_thing(word, scores, rng, seen.get(source, {}).get(name))
            ],
        )
        for (source, name, word), scores in zip(things, likely(of_things), strict=True)
    ]
    return [*spoken, *known, *named], torch.cat([vectors, of_known, of_things]), spoken


def cross_fitted(
    vectors: Tensor, table: Tensor, words: Tensor, cache: Path
) -> tuple[nn.Linear, Tensor, Tensor]:
    """Fit the attributes, and give each training picture what a stranger would say of it.

    A layer fitted to a picture all but repeats its captions, and an LSTM trained on that would
    trust attributes too much. So five layers are fitted, each without a fifth of the pictures,
    which then get their attributes from it. The product has the mean of the five.

    Args:
        vectors: (n, views, 1280) float32, normalised.
        table: (n, n_attributes), from `attribute_table`.
        words: (n_attributes,) int64, the word that each is, or -1.
        cache: File to keep the results in.

    Returns:
        The layer, from pooled features to standardised attributes; the attributes of the
        pictures, (n, views, n_attributes) float32; and `words`, as of the attributes in the file:
        sentences that are made anew may differ by a few, and with them what is frequent enough.
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
            "words": words,
            "weight": weight / scale[:, None],
            "bias": (bias - centre) / scale,
        }
        part = cache.with_suffix(".part")
        save_file(results, part)
        part.replace(cache)
    results = load_file(cache)
    layer = nn.Linear(*results["weight"].t().shape)
    layer.load_state_dict({name: results[name] for name in ("weight", "bias")})
    return layer.requires_grad_(False), results["attributes"].float(), results["words"]


def vocabulary(pictures: Sequence[Picture]) -> dict[str, int]:
    """The words to be learned, and of how many pictures each is used; `END` and `UNKNOWN` trainer.

    Of the everyday words all are learned, whether people use them or not.
    """
    uses = Counter(word for p in pictures for caption in p.captions for word in caption)
    spread = Counter(word for p in pictures for word in set(chain.from_iterable(p.captions)))
    known = {word for word, n in uses.items() if n >= LEAST_WORD} | EVERYDAY.keys()
    known |= set(chain.from_iterable(sentences.pattern_words()))
    counts = {word: max(1, spread[word]) for word in sorted(known)}
    return {"<end>": len(pictures), "<unknown>": len(pictures)} | counts


def export(head: CaptionNetwork, phrases: nn.Linear, words: Mapping[str, int], path: Path) -> None:
    """Write the head with its layer of phrases, as float16, and the vocabulary."""
    tensors = head.state_dict() | {
        f"phrases.{name}": tensor for name, tensor in phrases.state_dict().items()
    }
    path.write_bytes(save({name: _small(tensor) for name, tensor in tensors.items()}))
    path.with_suffix(".json").write_text(json.dumps(words, indent=0) + "\n")


def imitate(data: Path, cache: Path, backbone: int) -> None:
    """Write the head of another backbone: that of Lite0 with a layer of phrases of its own.

    It is ridge regression to what Lite0's layer says of the same pictures. Things the backbone
    sees by its own classifier.
    """
    head = load_file(weights_file(0))
    photos = [Picture("flickr8k", name, []) for name in datasets.flickr8k(data, "train")]
    photos += [Picture("coco", name, []) for name in datasets.coco_captions(data, "train")]
    photos += [Picture("imagenet", name, []) for name in datasets.imagenet(data, "train")]
    theirs, own = (
        normalise(pooled(data, photos, cache, n, VIEWS[:1])[:, 0]) for n in (0, backbone)
    )
    wanted = theirs @ head["phrases.weight"].float().t() + head["phrases.bias"].float()
    middle, spread = wanted.mean(0), wanted.std(0)
    centre = own.mean(0)
    gram = (own - centre).t() @ (own - centre)
    gram.diagonal().add_(IMITATION_RIDGE * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, (own - centre).t() @ (wanted - middle)).t()
    # What regression is not sure of it makes small; the LSTM knows attributes of this spread.
    weight *= (spread / ((own - centre) @ weight.t()).std(0))[:, None]
    head["phrases.weight"], head["phrases.bias"] = weight, middle - weight @ centre
    path = weights_file(backbone)
    path.write_bytes(save({name: _small(tensor) for name, tensor in head.items()}))
    path.with_suffix(".json").write_bytes(weights_file(0).with_suffix(".json").read_bytes())


def _small(tensor: Tensor) -> Tensor:
    return tensor.half().contiguous() if tensor.is_floating_point() else tensor


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")],
    backbone: Annotated[int, typer.Option(help="0 or 2, of the EfficientNet-Lites")] = 0,
) -> None:
    """Train and write the weights. Run again to go on where it was stopped."""
    if backbone:
        imitate(data, work / "features", backbone)
        return
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    kept = work / "captioning-lite0"
    classifier = lite_classifier_layer(0)
    photos, vectors, spoken = gather(data, work / "features", classifier, rng)
    words = vocabulary(spoken)
    index = {word: i for i, word in enumerate(words)}
    numbered = [
        [[index.get(word, UNKNOWN) for word in caption] for caption in picture.captions]
        for picture in photos
    ]
    repeats = [REPEATS.get(picture.source, 1) for picture in photos]
    rows = [
        (owner, [*caption[: LENGTH - 1], END])
        for owner, (written, n) in enumerate(zip(numbered, repeats, strict=True))
        for caption in written * n
    ]
    owners = torch.tensor([owner for owner, _ in rows])
    captions = torch.full((len(rows), LENGTH), PAD)
    for row, (_, ids) in enumerate(rows):
        captions[row, : len(ids)] = torch.tensor(ids)

    learned, table = attribute_table(photos)
    attribute_words = torch.tensor([index.get(phrase, -1) for phrase in learned])
    cache = kept.with_name(f"{kept.name}-attributes.safetensors")
    phrases, attributes, attribute_words = cross_fitted(
        normalise(vectors), table, attribute_words, cache
    )
    class_words = torch.tensor([index[WORD_OF[label]] for label in range(len(WORD_OF))])
    torch.manual_seed(SEED)
    head = CaptionNetwork(len(words), attribute_words, class_words, classifier, WIDTH, dropout=0.3)
    with torch.no_grad():
        seen = head.seen(vectors.flatten(0, 1)).view(*vectors.shape[:2], -1)
    attributes = torch.cat([attributes, seen], -1)
    print(f"{len(photos)} pictures, {len(rows)} captions, {len(words)} words")

    trainer = Trainer(
        head, attributes, captions, owners, kept.with_name(f"{kept.name}-likelihood.pt")
    )
    while trainer.epoch < LIKELIHOOD_EPOCHS:
        trainer.learn_captions(LIKELIHOOD_EPOCHS)
    critic = Trainer(
        trainer.best(), attributes, captions, owners, kept.with_name(f"{kept.name}-critical.pt")
    )
    consensus = Consensus(numbered[: len(spoken)])
    while critic.epoch < CRITICAL_EPOCHS:
        critic.learn_consensus(consensus, len(spoken), CRITICAL_EPOCHS)
    export(critic.best(), phrases, words, weights_file(0))


if __name__ == "__main__":
    typer.run(main)
