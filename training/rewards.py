"""The reward of self-critical training."""

import math
from collections import Counter
from collections.abc import Sequence


class Consensus:
    """CIDEr-D (Vedantam et al. 2015) against the five captions of a picture.

    pycocoevalcap takes document frequencies from the captions that it scores, so it cannot score
    a batch. Here they are counted once over the training set.
    """

    def __init__(self, captions: Sequence[Sequence[Sequence]]) -> None:
        """Count n-grams.

        Args:
            captions: Of each picture, each caption as words or as word indices.
        """
        counted = [[self._count(caption) for caption in group] for group in captions]
        self._log_n = math.log(len(captions))
        self._frequency = Counter(g for counts in counted for g in set().union(*counts))
        self._references = [[self._weigh(counts) for counts in cs] for cs in counted]

    def __call__(self, words: Sequence, picture: int) -> float:
        """Return the reward of a caption for the picture with this index, in 0..10."""
        return self._mean_similarity(self._weigh(self._count(words)), self._references[picture])

    @staticmethod
    def _count(words: Sequence) -> Counter[tuple]:
        return Counter(
            tuple(words[i : i + n]) for n in (1, 2, 3, 4) for i in range(len(words) - n + 1)
        )

    def _weigh(self, counts: Counter) -> tuple[list[dict], list[float], int]:
        """Return the tf-idf vector for each n-gram length, their norms, and the word count."""
        vectors = [{}, {}, {}, {}]
        for gram, n in counts.items():
            idf = self._log_n - math.log(max(1, self._frequency[gram]))
            vectors[len(gram) - 1][gram] = n * idf
        norms = [math.sqrt(sum(v * v for v in vector.values())) for vector in vectors]
        return vectors, norms, sum(n for gram, n in counts.items() if len(gram) == 1)

    @staticmethod
    def _mean_similarity(caption: tuple, references: Sequence[tuple]) -> float:
        vectors, norms, length = caption
        total = 0.0
        for ref_vectors, ref_norms, ref_length in references:
            length_penalty = math.exp(-((length - ref_length) ** 2) / 72)
            for vector, norm, ref, ref_norm in zip(
                vectors, norms, ref_vectors, ref_norms, strict=True
            ):
                if norm and ref_norm:
                    common = sum(min(v, ref[g]) * ref[g] for g, v in vector.items() if g in ref)
                    total += length_penalty * common / (norm * ref_norm)
        return 10 * total / 4 / len(references)
