"""COCO pictures with captions but no image file: their features are synthesized.

People's questions have no image file either. Each is paired with described pictures that may show
what it is about, so that a question about a toilet is asked about a synthetic bathroom.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from gradcam_core.models.embedded.caption_text import join_names, split_words
from gradcam_core.models.embedded.everyday import everyday_words
from training import datasets, sentences
from training.features import features
from training.rooms import stem, stems
from training.synthetic import FeatureSynthesizer, class_directions

VIEW = "whole"
MOST_PICTURES = 5  # for each question
LEAST_RARITY = 4.0  # sum over the words that question and captions share
SCENES_STEP = 4  # every fourth photo of scenes is enough
CHUNK = 2000  # questions per matrix product

_EVERYDAY = {" ".join(split_words(word)): ids for word, ids in everyday_words().items()}


class DescribedPictures:
    """Synthesizes pooled features of the described pictures."""

    def __init__(self, data: Path, cache: Path, backbone: int, classifier: nn.Linear) -> None:
        """Fit the synthesizer to real pictures with captions.

        Args:
            data: The folder of all sets.
            cache: The folder of the features.
            backbone: 0 or 2, for EfficientNet-Lite0 or Lite2.
            classifier: The backbone's own layer 1280 -> 1000.
        """
        self.groups = [_split(texts) for texts in datasets.coco_sentences(data)]
        answers = [(item.picture, item.answers) for item in datasets.daquar(data, "train")]
        labels = datasets.imagenet(data, "train")
        word_of = {label: word for word, ids in _EVERYDAY.items() for label in ids}
        scenes = [*datasets.scenes("train").items()][::SCENES_STEP]
        asked = {item.picture for item in datasets.coco_questions(data)}
        coco = datasets.coco_captions(data)
        photos = {
            "flickr8k": _all_split(datasets.flickr8k(data, "train")),
            "coco": _all_split({name: coco[name] for name in coco if name not in asked}),
            "daquar": sentences.of_rooms(sentences.things_named(answers)),
            "scenes": {name: sentences.of_scene(scene) for name, scene in scenes},
            "imagenet": {name: [[word_of[label]]] for name, label in labels.items()},
        }
        found = [
            features(data / name / "images.tar", [*captions], [VIEW], cache, backbone)[:, 0]
            for name, captions in photos.items()
        ]
        pooled = torch.from_numpy(np.concatenate(found)).float()
        directions = class_directions(classifier.weight.detach())
        with torch.no_grad():
            distractions = directions[classifier(pooled).argmax(1)]
        self.synthesizer = FeatureSynthesizer(
            pooled,
            [written for captions in photos.values() for written in captions.values()],
            self.groups,
            {word: directions[ids].mean(0) for word, ids in _EVERYDAY.items()},
            distractions,
        )

    def __call__(self, groups: Sequence[int]) -> Tensor:
        """Synthesize features (n, 1280) of some described pictures, as noisy as real ones.

        Args:
            groups: Indices of the pictures.
        """
        return self.synthesizer([self.groups[i] for i in groups])


def _split(texts: Sequence[str]) -> list[list[str]]:
    return [join_names(split_words(text), _EVERYDAY) for text in texts]


def _all_split(captions: dict[str, list[str]]) -> dict[str, list[list[str]]]:
    return {name: _split(texts) for name, texts in captions.items()}


def likely_pictures(
    asked: Sequence[datasets.AnsweredQuestion], captions: Sequence[Sequence[Sequence[str]]]
) -> list[list[int]]:
    """Find described pictures that may show what a question is about.

    The last word of a question answered "no" is ignored, because the picture lacks it.

    Args:
        asked: The questions.
        captions: Of each picture, split into words.

    Returns:
        For each question up to `MOST_PICTURES` indices of `captions`, best match first. Rare
        shared words count more; without rare ones there is no match.
    """
    caption_words = [
        {stem(word) for words in texts for name in words for word in name.split()}
        for texts in captions
    ]
    frequency = Counter(word for words in caption_words for word in words)
    column = {word: i for i, word in enumerate(frequency)}
    rarity = {word: math.log(len(caption_words) / n) for word, n in frequency.items()}
    rows = [[(column[word], 1.0) for word in words] for words in caption_words]
    table = _table(rows, len(column))
    queries = []
    for item in asked:
        words = stems(item.question)
        words = words[:-1] if item.answers[0] == "no" else [*words, *stems(item.answers[0])]
        known = [word for word in dict.fromkeys(words) if word in column]
        queries.append([(column[word], rarity[word]) for word in known])
    found = []
    for first in range(0, len(asked), CHUNK):
        part = queries[first : first + CHUNK]
        similarity = torch.from_numpy((_table(part, len(column)) @ table.T).toarray())
        best = similarity.topk(min(MOST_PICTURES, len(captions)), dim=1)
        for scores, groups in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            found.append(
                [group for score, group in zip(scores, groups, strict=True) if score > LEAST_RARITY]
            )
    return found


def _table(rows: Sequence[Sequence[tuple[int, float]]], columns: int) -> sparse.csr_matrix:
    ends = np.cumsum([0, *map(len, rows)])
    places = np.array([column for row in rows for column, _ in row], np.int64)
    values = np.array([value for row in rows for _, value in row], np.float32)
    return sparse.csr_matrix((values, places, ends), shape=(len(rows), columns))
