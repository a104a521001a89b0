"""The network of the Grad-CAM paper's second answerer (section 8.2): hierarchical co-attention.

Lu et al., "Hierarchical Question-Image Co-Attention for Visual Question Answering", NeurIPS 2016,
in its parallel form: at three levels of the question (words, phrases, the LSTM's output after each
word) words attend to cells of the picture, and cells attend to words (equations 3 to 5). Unlike
there, the attended word and cell of each level are multiplied, not added, and the result goes to
the `AnswerLayer` that `VqaNetwork` has. For given attention the product is linear in the picture,
so its gradient does not saturate. The question as a whole is read as in `VqaNetwork`, too.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.embedded.answer_network import AnswerLayer, AnswerNetwork, Reading

PHRASES = (1, 2, 3)  # lengths, in words


class Coattention(nn.Module):
    """One level: words attend to cells, and cells to words."""

    def __init__(self, word: int, cell: int, hidden: int) -> None:
        """Build the level with random weights.

        Args:
            word: Size of a word's vector.
            cell: Size of a cell's vector.
            hidden: Size of the vectors that give the attention.
        """
        super().__init__()
        self.affinity = nn.Linear(word, cell, bias=False)
        self.of_word = nn.Linear(word, hidden, bias=False)
        self.of_cell = nn.Linear(cell, hidden, bias=False)
        self.word = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.Linear(hidden, 1, bias=False)

    def forward(self, words: Tensor, present: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the attention.

        Args:
            words: (n, length, word).
            present: (n, length) bool, False for padding.
            cells: (n, cells, cell).

        Returns:
            The attention to each word, (n, length), and to each cell, (n, cells); each sums to 1.
        """
        words = words * present[..., None]
        affinity = (self.affinity(words) @ cells.mT).tanh()
        from_words, from_cells = self.of_word(words), self.of_cell(cells)
        on_words = self.word((from_words + affinity @ from_cells).tanh())[..., 0]
        on_cells = self.cell((from_cells + affinity.mT @ from_words).tanh())[..., 0]
        return on_words.masked_fill(~present, -torch.inf).softmax(1), on_cells.softmax(1)


class CoattentionNetwork(AnswerNetwork):
    """Scores every answer from the cells of the feature map and the question."""

    def __init__(
        self,
        words: Sequence[str],
        answers: Mapping[str, Sequence[str]],
        everyday: Mapping[str, Sequence[int]],
        classifier: nn.Linear,
        width: int = 512,
        hidden: int = 160,
        embedding: int = 128,
        size: int = 64,
        components: int = 256,
    ) -> None:
        """Build the network with random weights.

        Args:
            words, answers, everyday, classifier, width, hidden, embedding: See `VqaNetwork`.
            size: Of the vectors that give the attention.
            components: Number of principal components of a cell; `project` is set, not learned.
        """
        super().__init__(words, width, hidden, embedding)
        self.project = nn.Linear(classifier.in_features, components, bias=False)
        self.project.requires_grad_(False)
        self.phrases = nn.ModuleList(nn.Conv1d(embedding, embedding, length) for length in PHRASES)
        self.cell = nn.Linear(components, size, bias=False)
        sizes = (embedding, embedding, hidden)  # of a word, a phrase, the LSTM's output
        self.levels = nn.ModuleList(Coattention(word, size, size) for word in sizes)
        self.asked = nn.ModuleList(nn.Linear(word, width) for word in sizes)
        self.seen = nn.ModuleList(nn.Linear(components, width, bias=False) for _ in sizes)
        self.answers = AnswerLayer(words, answers, everyday, classifier, width)

    def picture_vectors(self, maps: Tensor) -> Tensor:
        cells = self.project(maps.flatten(2).mT)
        return torch.cat([maps.mean(dim=(2, 3)), cells.flatten(1)], dim=1)

    def forward(
        self, pictures: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score the answers; like `VqaNetwork.forward`, for vectors from `picture_vectors`."""
        pooled, cells = self._split(pictures)
        reading = self.read(questions)
        encoded = reading.whole[which]
        fused = torch.zeros_like(encoded)
        for (word, on_cells), asked, seen in zip(
            self._attend(reading, which, cells), self.asked, self.seen, strict=True
        ):
            cell = F.dropout((on_cells[:, None] @ cells)[:, 0], 0.3, self.training)
            fused = fused + (encoded + asked(word).tanh()) * seen(cell)
        fused = F.dropout(fused, 0.5, self.training)
        return self.answers(encoded, fused, pooled, questions, which)

    def attention(self, picture: Tensor, question: Tensor) -> Tensor:
        """Return the attention to each cell at each level, (3, cells); rows sum to 1.

        Args:
            picture: (1, size), from `picture_vectors`.
            question: Word indices, (length,) int64.
        """
        _, cells = self._split(picture)
        levels = self._attend(self.read([question]), torch.zeros(1, dtype=torch.long), cells)
        return torch.cat([on_cells for _, on_cells in levels])

    def _split(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled features (n, C), and cells (n, cells, components) scaled by their norm."""
        channels, components = self.project.in_features, self.project.out_features
        pooled = pictures[:, :channels]
        norm = pooled.norm(dim=1, keepdim=True).clamp(min=1e-6)
        cells = pictures[:, channels:] * (channels**0.5 / norm)
        return pooled, cells.unflatten(1, (-1, components))

    def _attend(
        self, reading: Reading, which: Tensor, cells: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return for each level the attended word, (n, size), and the attention to each cell."""
        # Drop the same components of all cells: a neighbour would reveal what a cell has lost.
        kept = F.dropout(torch.ones_like(cells[:, :1]), 0.2, self.training)
        keys = self.cell(cells * kept)
        attended = []
        for level, vectors in zip(
            self.levels, (reading.words, self._phrases(reading), reading.so_far), strict=True
        ):
            words = vectors[which]
            on_words, on_cells = level(words, reading.present[which], keys)
            attended.append(((on_words[:, None] @ words)[:, 0], on_cells))
        return attended

    def _phrases(self, reading: Reading) -> Tensor:
        """Return the strongest phrase of one to three words that ends at each word (equation 2)."""
        words = (reading.words * reading.present[..., None]).mT
        phrases = [
            convolution(F.pad(words, (length - 1, 0)))
            for length, convolution in zip(PHRASES, self.phrases, strict=True)
        ]
        return torch.stack(phrases).amax(0).tanh().mT
