"""Pictures of COCO that people described, and that are not there: imagined, to be asked about.

People's questions came without a picture, too. What they ask about is looked for in what others
described, so that a question about a toilet is asked of an imagined bathroom.
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
from training.imagined import Imagination, class_directions
from training.rooms import stem, stems

VIEW = "whole"
NEAR = 5  # described pictures that a question may be asked of
LEAST = 4.0  # that the rarity of the words of both must add up to
SCENES = 4  # one in so many of their photos is enough
CHUNK = 2000  # questions at once

_EVERYDAY = {" ".join(split_words(word)): ids for word, ids in everyday_words().items()}


class Unseen:
    """Imagines described pictures, as pooled features of a backbone."""

    def __init__(self, data: Path, cache: Path, backbone: int, classifier: nn.Linear) -> None:
        """Learn from real pictures what the words of captions look like.

        Args:
            data: The folder of all sets.
            cache: A folder for features, see `features`.
            backbone: 0 or 2, of the EfficientNet-Lites.
            classifier: 1280 -> 1000, its own.
        """
        self.groups = [_split(texts) for texts in datasets.coco_sentences(data)]
        answers = [(item.picture, item.answers) for item in datasets.daquar(data, "train")]
        labels = datasets.imagenet(data, "train")
        word_of = {label: word for word, ids in _EVERYDAY.items() for label in ids}
        scenes = [*datasets.scenes("train").items()][::SCENES]
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
        towards = class_directions(classifier.weight.detach())
        with torch.no_grad():
            mistaken = towards[classifier(pooled).argmax(1)]
        self.imagination = Imagination(
            pooled,
            [written for captions in photos.values() for written in captions.values()],
            self.groups,
            {word: towards[ids].mean(0) for word, ids in _EVERYDAY.items()},
            mistaken,
        )

    def __call__(self, groups: Sequence[int]) -> Tensor:
        """Imagine some of the described pictures: (n, 1280), as noisy as real ones."""
        return self.imagination([self.groups[i] for i in groups])


def _split(texts: Sequence[str]) -> list[list[str]]:
    return [join_names(split_words(text), _EVERYDAY) for text in texts]


def _all_split(captions: dict[str, list[str]]) -> dict[str, list[list[str]]]:
    return {name: _split(texts) for name, texts in captions.items()}


def shown_in(
    asked: Sequence[datasets.Asked], captions: Sequence[Sequence[Sequence[str]]]
) -> list[list[int]]:
    """Find for each question described pictures that may show what it asks about.

    A "no" denies what its question ends with, so that is not looked for.

    Args:
        asked: The questions.
        captions: What people wrote of each picture, split into words.

    Returns:
        Of each question up to `NEAR` places in `captions`, those first that have more of its
        words, rare ones counting more; none where only common words are the same.
    """
    described = [
        {stem(word) for words in texts for name in words for word in name.split()}
        for texts in captions
    ]
    common = Counter(word for words in described for word in words)
    place = {word: i for i, word in enumerate(common)}
    rare = {word: math.log(len(described) / n) for word, n in common.items()}
    table = _table([[(place[word], 1.0) for word in words] for words in described], len(place))
    wanted = []
    for item in asked:
        words = stems(item.question)
        words = words[:-1] if item.answers[0] == "no" else [*words, *stems(item.answers[0])]
        wanted.append([(place[word], rare[word]) for word in dict.fromkeys(words) if word in place])
    found = []
    for first in range(0, len(asked), CHUNK):
        part = wanted[first : first + CHUNK]
        alike = torch.from_numpy((_table(part, len(place)) @ table.T).toarray())
        best = alike.topk(min(NEAR, len(captions)), dim=1)
        for scores, groups in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            found.append(
                [group for score, group in zip(scores, groups, strict=True) if score > LEAST]
            )
    return found


def _table(rows: Sequence[Sequence[tuple[int, float]]], columns: int) -> sparse.csr_matrix:
    ends = np.cumsum([0, *map(len, rows)])
    places = np.array([place for row in rows for place, _ in row], np.int64)
    values = np.array([value for row in rows for _, value in row], np.float32)
    return sparse.csr_matrix((values, places, ends), shape=(len(rows), columns))
