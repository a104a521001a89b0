"""What self-critical training rewards a sentence for."""

import math
from collections import Counter
from collections.abc import Sequence


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
