"""Train the embedded captioners, on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.captioning ../shared/data --work ../scratch
    python -m training.captioning ../shared/data --work ../scratch --backbone 2

First the attributes, which are phrases that people use; then the LSTM, on captions of real and
synthetic pictures; then some self-critical training on CIDEr-D. An interrupted run resumes after
the last epoch. The LSTM reads attributes, not pictures, so Lite2 uses the same LSTM, with a layer
of phrases of its own.

Most captions come without a picture: their features are synthesized (synthetic.py). Most things
that the classifier knows are in no caption: sentences are made for them (sentences.py).
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

from gradcam_core.models.embedded.caption_network import (
    UNKNOWN,
    CaptionNetwork,
    normalise,
    sample,
)
from gradcam_core.models.embedded.caption_search import END
from gradcam_core.models.embedded.caption_text import join_names, split_words
from gradcam_core.models.embedded.captioner import weights_file
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import datasets, sentences
from training.colours import colours
from training.features import features
from training.rewards import Consensus
from training.synthetic import FeatureSynthesizer, class_directions

SEED = 0
VIEWS = ("whole", "whole-flip")
LEAST_WORD = 8  # uses of a word in the vocabulary
LEAST_PHRASE = 130  # pictures whose captions have a phrase that is an attribute
LENGTH = 18  # of a training caption with END; longer ones are cut
PAD = -1
WIDTH = 352
FOLDS = 5
ATTRIBUTE_EPOCHS = 6
LIKELIHOOD_EPOCHS = 8
LIKELIHOOD_STEPS = 200  # batches per epoch
CRITICAL_EPOCHS = 2
CRITICAL_STEPS = 60  # batches of 64 pictures per epoch
BATCH = 128  # captions
SAMPLES = 5  # sentences drawn per picture
LIKELIHOOD_SHARE = 0.2  # weight of the likelihood loss in self-critical training
AVERAGE = 0.99  # decay of the moving average of the weights
ADAPTATION_RIDGE = 0.1  # regularization, relative to the mean square of a feature
SYNTHETIC = 2  # synthetic pictures per class
SCENES_STEP = 4  # every fourth photo of scenes is enough
# How often the captions of a set are repeated, so that larger sets do not dominate.
REPEATS = {"coco": 5, "imagenet": 2}


@dataclass(frozen=True)
class Picture:
    """A picture with its captions, split into words.

    Attributes:
        source: A data set; "sentences" or "classes" for a synthetic picture.
        name: File name in the archive of that set; empty for a synthetic picture.
        captions: At least one.
    """

    source: str
    name: str
    captions: list[list[str]]


# --- data ---------------------------------------------------------------------------------------

# Everyday words as in captions ("go kart").
EVERYDAY = {" ".join(split_words(word)): ids for word, ids in everyday_words().items()}
WORD_OF = {label: word for word, labels in EVERYDAY.items() for label in labels}


def described(source: str, captions: Mapping[str, Iterable[str]]) -> list[Picture]:
    """Return pictures with people's captions."""
    return [
        Picture(source, name, [join_names(split_words(text), EVERYDAY) for text in written])
        for name, written in captions.items()
    ]


def composed(source: str, captions: Mapping[str, list[list[str]]]) -> list[Picture]:
    """Return pictures with sentences made from what is known about them."""
    return [
        Picture(source, name, [join_names(words, EVERYDAY) for words in written])
        for name, written in captions.items()
    ]


# --- attributes ---------------------------------------------------------------------------------


def phrases(caption: Sequence[str]) -> set[str]:
    """Return all phrases of one to three words in a caption."""
    return {" ".join(caption[i : i + n]) for n in (1, 2, 3) for i in range(len(caption) - n + 1)}


def attribute_table(pictures: Sequence[Picture]) -> tuple[list[str], Tensor]:
    """Return the phrases used for at least `LEAST_PHRASE` pictures, and how many people use each.

    Returns:
        The phrases, and the share of captions with each, (pictures, phrases) float32 in 0..1.
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
    """Fit a logistic regression of the attributes on the pooled features.

    Args:
        vectors: (n, views, 1280) float32, standardised.
        table: (n, n_attributes), from `attribute_table`.
        epochs: Passes over the pictures, each with one random view of each picture.
        seed: For order and dropout.
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
    """A network in training; its state is saved after every epoch, so that a run can resume."""

    def __init__(
        self,
        network: CaptionNetwork,
        attributes: Tensor,
        captions: Tensor,
        owners: Tensor,
        path: Path,
    ) -> None:
        """Start, or resume from `path` if it exists.

        Args:
            network: Trained in place.
            attributes: (n_pictures, views, n_attributes) float32.
            captions: (n, length) int64: word indices, then `END`, then `PAD`.
            owners: (n,) int64: the picture that each caption belongs to.
            path: Checkpoint file.
        """
        self.network, self.attributes, self.captions, self.owners = (
            network,
            attributes,
            captions,
            owners,
        )
        self.lengths = (captions != PAD).sum(1)
        # The average over the last few hundred steps generalises better than the last step.
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.optimizer = torch.optim.AdamW(
            network.parameters(), weight_decay=0.02, betas=(0.9, 0.98)
        )
        self.path, self.epoch = path, 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.epoch = state["epoch"]
            network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])

    def save(self) -> None:
        """Count an epoch and write the checkpoint."""
        self.epoch += 1
        state = {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.path)

    def best(self) -> CaptionNetwork:
        """Return the network with averaged weights."""
        return self.average.module

    def learn_captions(self, epochs: int) -> None:
        """Train one epoch with maximum likelihood (Vinyals et al., Eq. 1) and smoothed labels."""
        torch.manual_seed(SEED + self.epoch)
        batches = self._batches()[:LIKELIHOOD_STEPS]
        bar = tqdm(batches, f"likelihood {self.epoch + 1}/{epochs}")
        for i, rows in enumerate(bar):
            loss = self._likelihood(rows)
            self._step(loss, 3e-3, (self.epoch + i / len(batches)) / epochs)
            bar.set_postfix(loss=f"{loss.item():.3f}")
        self.save()

    def learn_consensus(self, reward: Consensus, n_pictures: int, epochs: int) -> None:
        """Train one epoch of self-critical training (Rennie et al. 2017) on CIDEr-D.

        The baseline of a sampled sentence is the mean reward of the picture's other samples. The
        likelihood of all captions stays in the loss, so that pictures without people's captions
        are not forgotten.
        """
        torch.manual_seed(SEED + self.epoch)
        batches = torch.randperm(n_pictures).split(64)[:CRITICAL_STEPS]
        captions = torch.randperm(len(self.captions)).split(128)
        bar = tqdm(batches, f"self-critical {self.epoch + 1}/{epochs}")
        for i, rows in enumerate(bar):
            attributes = self._view_of(rows).repeat_interleave(SAMPLES, 0)
            self.network.eval()
            chances = torch.rand(len(attributes), self.captions.shape[1])
            drawn = sample(self.network, attributes, chances, [UNKNOWN])
            rewards = torch.tensor(
                [
                    reward(list(takewhile(lambda i: i != END, ids)), rows[j // SAMPLES].item())
                    for j, ids in enumerate(drawn.tolist())
                ]
            ).view(-1, SAMPLES)
            others = (rewards.sum(1, keepdim=True) - rewards) / (SAMPLES - 1)
            advantage = (rewards - others).flatten()
            self.network.train()
            logits = self.network(attributes, drawn)
            log_probs = logits.log_softmax(-1).gather(-1, drawn[:, :, None])[:, :, 0]
            # All words count, and the first END.
            counted = (drawn == END).cumsum(1) - (drawn == END).int() == 0
            critical = -(advantage[:, None] * log_probs * counted).sum() / counted.sum()
            loss = critical + LIKELIHOOD_SHARE * self._likelihood(captions[i])
            self._step(loss, 2e-4, (self.epoch + i / len(batches)) / epochs)
            bar.set_postfix(reward=f"{rewards.mean().item():.3f}")
        self.save()

    def _step(self, loss: Tensor, peak: float, progress: float) -> None:
        """Take one step; the learning rate warms up over the first 2 %, then falls as a cosine."""
        rate = peak * min(1.0, progress / 0.02 + 0.01) * (1 + math.cos(math.pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)

    def _batches(self) -> list[Tensor]:
        """Return all captions in random order, in batches of similar length."""
        batches = []
        for rows in torch.randperm(len(self.captions)).split(20 * BATCH):
            batches += rows[self.lengths[rows].argsort()].split(BATCH)
        return [batches[i] for i in torch.randperm(len(batches))]

    def _view_of(self, pictures: Tensor) -> Tensor:
        """Return the attributes of a random view of each picture."""
        return self.attributes[pictures, torch.randint(self.attributes.shape[1], pictures.shape)]

    def _likelihood(self, rows: Tensor) -> Tensor:
        captions = self.captions[rows, : self.lengths[rows].max()]
        logits = self.network(self._view_of(self.owners[rows]), captions.clamp(min=0))
        return F.cross_entropy(
            logits.flatten(0, 1),
            captions.flatten(),
            ignore_index=PAD,
            label_smoothing=0.1,
        )


# --- the program ----------------------------------------------------------------------------------


def pooled(
    data: Path,
    pictures: Sequence[Picture],
    cache: Path,
    backbone: int = 0,
    views: Sequence[str] = VIEWS,
) -> Tensor:
    """Return the pooled features of pictures in the given order, (n, views, 1280) float32."""
    parts = [
        features(data / source / "images.tar", [p.name for p in group], views, cache, backbone)
        for source, group in groupby(pictures, key=lambda picture: picture.source)
    ]
    return torch.from_numpy(np.concatenate(parts)).float()


def places_layer(
    vectors: Tensor, pictures: Sequence[Picture]
) -> Callable[[Tensor], list[dict[str, float]]]:
    """Learn how likely people are to use each of `sentences.signs` for a picture.

    Returns:
        A function of features (n, views, 1280) that returns sign -> probability for each picture.
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
    """Collect all training pictures, real and synthetic, with their captions and features.

    Returns:
        The pictures, those with people's captions first; their pooled features, (n, views, 1280)
        float32; and the pictures with people's captions alone.
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

    # For ImageNet's photos the class is known.
    labels = datasets.imagenet(data, "train")
    of_labels = pooled(data, [Picture("imagenet", name, []) for name in labels], cache)
    directions = class_directions(classifier.weight.detach())
    synthesizer = FeatureSynthesizer(
        torch.cat([vectors, of_known, of_labels]).mean(1),
        [p.captions for p in [*photos, *known]] + [[[WORD_OF[label]]] for label in labels.values()],
        [p.captions for p in groups],
        {word: directions[ids].mean(0) for word, ids in EVERYDAY.items()},
        directions[classifier(vectors[:, 0]).argmax(1)],
    )
    of_groups = torch.stack([synthesizer([p.captions for p in groups]) for _ in VIEWS], 1)
    people_captioned = [*photos, *groups]
    vectors = torch.cat([vectors, of_groups])

    # Attributes learned from the pictures so far tell where the things in the others are.
    likely = places_layer(torch.cat([vectors, of_known]), [*people_captioned, *known])
    pets = datasets.pets("train")
    of_pets = pooled(data, [Picture("pets", name, []) for name in pets], cache)
    classes = list(range(len(directions))) * SYNTHETIC
    around = [sentences.surroundings(WORD_OF[label], rng) for label in classes]
    of_classes = synthesizer.push(directions[classes], around)[:, None].expand(-1, len(VIEWS), -1)
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
    pictures = [*people_captioned, *known, *named]
    return pictures, torch.cat([vectors, of_known, of_things]), people_captioned


def cross_fitted(
    vectors: Tensor, table: Tensor, words: Tensor, cache: Path
) -> tuple[nn.Linear, Tensor, Tensor]:
    """Fit the attributes, and predict those of each training picture by cross-fitting.

    A layer fitted to a picture nearly repeats its captions, and an LSTM trained on that would rely
    on attributes too much. So five layers are fitted, each without a fifth of the pictures, and
    predict the attributes of these. The final layer is the mean of the five.

    Args:
        vectors: (n, views, 1280) float32, normalised.
        table: (n, n_attributes), from `attribute_table`.
        words: (n_attributes,) int64, the word that each is, or -1.
        cache: File for the results.

    Returns:
        The layer, from normalised features to standardised attributes; the attributes of the
        pictures, (n, views, n_attributes) float32; and `words` of the attributes in the file, which
        may differ from those given if it is from an earlier run.
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
    """Return the vocabulary with the number of pictures for each word; `END` and `UNKNOWN` first.

    It has all everyday words, whether people use them or not.
    """
    uses = Counter(word for p in pictures for caption in p.captions for word in caption)
    spread = Counter(word for p in pictures for word in set(chain.from_iterable(p.captions)))
    known = {word for word, n in uses.items() if n >= LEAST_WORD} | EVERYDAY.keys()
    known |= set(chain.from_iterable(sentences.pattern_words()))
    counts = {word: max(1, spread[word]) for word in sorted(known)}
    return {"<end>": len(pictures), "<unknown>": len(pictures)} | counts


def export(
    network: CaptionNetwork, phrases: nn.Linear, words: Mapping[str, int], path: Path
) -> None:
    """Write the network with its layer of phrases, as float16, and the vocabulary."""
    tensors = network.state_dict() | {
        f"phrases.{name}": tensor for name, tensor in phrases.state_dict().items()
    }
    path.write_bytes(save({name: _small(tensor) for name, tensor in tensors.items()}))
    path.with_suffix(".json").write_text(json.dumps(words, indent=0) + "\n")


def adapt(data: Path, cache: Path, backbone: int) -> None:
    """Write the network for another backbone: Lite0's, with a layer of phrases of its own.

    The layer is fitted to the output of Lite0's for the same pictures, by ridge regression. For
    things, the backbone has its own classifier.
    """
    network = load_file(weights_file(0))
    photos = [Picture("flickr8k", name, []) for name in datasets.flickr8k(data, "train")]
    photos += [Picture("coco", name, []) for name in datasets.coco_captions(data, "train")]
    photos += [Picture("imagenet", name, []) for name in datasets.imagenet(data, "train")]
    lite0, own = (normalise(pooled(data, photos, cache, n, VIEWS[:1])[:, 0]) for n in (0, backbone))
    targets = lite0 @ network["phrases.weight"].float().t() + network["phrases.bias"].float()
    mean, spread = targets.mean(0), targets.std(0)
    centre = own.mean(0)
    gram = (own - centre).t() @ (own - centre)
    gram.diagonal().add_(ADAPTATION_RIDGE * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, (own - centre).t() @ (targets - mean)).t()
    # Regression shrinks uncertain attributes; restore the spread that the LSTM was trained with.
    weight *= (spread / ((own - centre) @ weight.t()).std(0))[:, None]
    network["phrases.weight"], network["phrases.bias"] = weight, mean - weight @ centre
    path = weights_file(backbone)
    path.write_bytes(save({name: _small(tensor) for name, tensor in network.items()}))
    path.with_suffix(".json").write_bytes(weights_file(0).with_suffix(".json").read_bytes())


def _small(tensor: Tensor) -> Tensor:
    return tensor.half().contiguous() if tensor.is_floating_point() else tensor


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")],
    backbone: Annotated[int, typer.Option(help="0 or 2, for EfficientNet-Lite0 or Lite2")] = 0,
) -> None:
    """Train a captioner and write its weights. Run again to resume an interrupted run."""
    if backbone:
        adapt(data, work / "features", backbone)
        return
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    kept = work / "captioning-lite0"
    classifier = lite_classifier_layer(0)
    photos, vectors, people_captioned = gather(data, work / "features", classifier, rng)
    words = vocabulary(people_captioned)
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
    network = CaptionNetwork(
        len(words), attribute_words, class_words, classifier, WIDTH, dropout=0.3
    )
    with torch.no_grad():
        seen = network.seen(vectors.flatten(0, 1)).view(*vectors.shape[:2], -1)
    attributes = torch.cat([attributes, seen], -1)
    print(f"{len(photos)} pictures, {len(rows)} captions, {len(words)} words")

    trainer = Trainer(
        network, attributes, captions, owners, kept.with_name(f"{kept.name}-likelihood.pt")
    )
    while trainer.epoch < LIKELIHOOD_EPOCHS:
        trainer.learn_captions(LIKELIHOOD_EPOCHS)
    critic = Trainer(
        trainer.best(), attributes, captions, owners, kept.with_name(f"{kept.name}-critical.pt")
    )
    consensus = Consensus(numbered[: len(people_captioned)])
    while critic.epoch < CRITICAL_EPOCHS:
        critic.learn_consensus(consensus, len(people_captioned), CRITICAL_EPOCHS)
    export(critic.best(), phrases, words, weights_file(0))


if __name__ == "__main__":
    typer.run(main)
