"""The paper's second question answerer (section 8.2): hierarchical co-attention.

Lu et al., "Hierarchical Question-Image Co-Attention for Visual Question Answering", NeurIPS 2016,
in its parallel form: at three levels of the question (words, phrases, all that was read so far)
the words choose cells of the picture, and the cells choose words (equations 3 to 5). What was
chosen at each level is multiplied, not added as there, and goes to the same `AnswerLayer` as that
of `VqaLstm`: for given attention the product is linear in the picture, so its gradient does not
fade. The question as a whole is read as there, too.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.backbone import Encoded
from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from gradcam_core.models.embedded.vqa_lstm import (
    AnswerLayer,
    QuestionReader,
    Reading,
    VqaLstm,
    everyday_words,
    read_weights,
)

PHRASES = (1, 2, 3)  # lengths, in words


class Coattention(nn.Module):
    """One level: words and cells choose among each other."""

    def __init__(self, word: int, cell: int, hidden: int) -> None:
        """Build it with random weights.

        Args:
            word: Size of a word's vector.
            cell: Size of a cell's.
            hidden: Of the vectors that attention is read from.
        """
        super().__init__()
        self.affinity = nn.Linear(word, cell, bias=False)
        self.of_word = nn.Linear(word, hidden, bias=False)
        self.of_cell = nn.Linear(cell, hidden, bias=False)
        self.word = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.Linear(hidden, 1, bias=False)

    def forward(self, words: Tensor, there: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            words: (n, length, word).
            there: (n, length) bool, where a question has a word.
            cells: (n, cells, cell).

        Returns:
            How much each word is attended to, (n, length), and each cell, (n, cells). Both sum
            to 1.
        """
        words = words * there[..., None]
        affinity = (self.affinity(words) @ cells.mT).tanh()
        asked, seen = self.of_word(words), self.of_cell(cells)
        on_words = self.word((asked + affinity @ seen).tanh())[..., 0]
        on_cells = self.cell((seen + affinity.mT @ asked).tanh())[..., 0]
        return on_words.masked_fill(~there, -torch.inf).softmax(1), on_cells.softmax(1)


class CoattentionHead(QuestionReader):
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
        """Build the head with random weights.

        Args:
            words, answers, everyday, classifier, width, hidden, embedding: As `VqaHead` takes
                them.
            size: Of the vectors that attention is read from.
            components: Principal components of a cell that are looked at; `project` is set, not
                learned.
        """
        super().__init__(words, width, hidden, embedding)
        self.project = nn.Linear(classifier.in_features, components, bias=False)
        self.project.requires_grad_(False)
        self.phrases = nn.ModuleList(nn.Conv1d(embedding, embedding, length) for length in PHRASES)
        self.cell = nn.Linear(components, size, bias=False)
        sizes = (embedding, embedding, hidden)  # of a word, a phrase, all so far
        self.levels = nn.ModuleList(Coattention(word, size, size) for word in sizes)
        self.asked = nn.ModuleList(nn.Linear(word, width) for word in sizes)
        self.seen = nn.ModuleList(nn.Linear(components, width, bias=False) for _ in sizes)
        self.answers = AnswerLayer(words, answers, everyday, classifier, width)

    def look(self, features: Tensor) -> Tensor:
        """The map (n, C, h, w) as `forward` takes it: its mean, then every cell's components."""
        cells = self.project(features.flatten(2).mT)
        return torch.cat([features.mean(dim=(2, 3)), cells.flatten(1)], dim=1)

    def forward(
        self, looked: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score the answers; as `VqaHead.forward`, but of what `look` gives."""
        pooled, cells = self._parts(looked)
        reading = self.read(questions)
        read = reading.whole[which]
        fused = torch.zeros_like(read)
        for (word, on_cells), asked, seen in zip(
            self._attend(reading, which, cells), self.asked, self.seen, strict=True
        ):
            cell = F.dropout((on_cells[:, None] @ cells)[:, 0], 0.3, self.training)
            fused = fused + (read + asked(word).tanh()) * seen(cell)
        fused = F.dropout(fused, 0.5, self.training)
        return self.answers(read, fused, pooled, questions, which)

    def attention(self, looked: Tensor, question: Tensor) -> Tensor:
        """How much each cell is attended to at each level: (3, cells), rows sum to 1."""
        _, cells = self._parts(looked)
        reading = self.read([question])
        found = self._attend(reading, torch.zeros(1, dtype=torch.long), cells)
        return torch.cat([on_cells for _, on_cells in found])

    def _parts(self, looked: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (n, C), and cells (n, cells, components) in proportion to their size."""
        channels, components = self.project.in_features, self.project.out_features
        pooled = looked[:, :channels]
        size = pooled.norm(dim=1, keepdim=True).clamp(min=1e-6)
        cells = looked[:, channels:] * (channels**0.5 / size)
        return pooled, cells.unflatten(1, (-1, components))

    def _attend(
        self, reading: Reading, which: Tensor, cells: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Of each level the word attended to, (n, ...), and how much each cell is, (n, cells)."""
        # The same components of all cells: what is dropped of one is not read from its neighbour.
        kept = F.dropout(torch.ones_like(cells[:, :1]), 0.2, self.training)
        keys = self.cell(cells * kept)
        found = []
        for level, every in zip(
            self.levels, (reading.words, self._phrases(reading), reading.so_far), strict=True
        ):
            words = every[which]
            on_words, on_cells = level(words, reading.there[which], keys)
            found.append(((on_words[:, None] @ words)[:, 0], on_cells))
        return found

    def _phrases(self, reading: Reading) -> Tensor:
        """The strongest of one, two and three words that end at each word: equation 2."""
        words = (reading.words * reading.there[..., None]).mT
        found = [
            convolution(F.pad(words, (length - 1, 0)))
            for length, convolution in zip(PHRASES, self.phrases, strict=True)
        ]
        return torch.stack(found).amax(0).tanh().mT


class VqaCoattention(VqaLstm):
    """Question answering by co-attention; its score y^c is the logit of an answer."""

    head: CoattentionHead

    def attention(self, encoded: Encoded, question: str) -> Tensor:
        """Where the network itself attends for a question, to lay beside its Grad-CAM.

        Args:
            encoded: As from `encode`, at any layer.
            question: In English.

        Returns:
            (h, w) float32 of the last feature map, the mean over the three levels; sums to 1.

        Raises:
            ValueError: See `read_question`.
        """
        features = encoded.features
        with torch.no_grad():
            levels = self.head.attention(
                self.head.look(features.cpu()), self.encode_question(question)
            )
        return levels.mean(0).view(features.shape[2:])


def load_lite_coattention(number: int) -> VqaCoattention:
    """Return the embedded co-attention answerer on Lite0; training/vqa.py made its weights."""
    name = f"lite{number}-vqa-coattention"
    weights, vocabulary = read_weights(name)
    everyday, classifier = everyday_words(), lite_classifier_layer(number)
    head = CoattentionHead(vocabulary.words, vocabulary.answers, everyday, classifier)
    head.load_state_dict(weights)
    return VqaCoattention(name, lite_backbone(number), head, vocabulary)
