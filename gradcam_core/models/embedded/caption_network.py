"""The network of the embedded captioners: pooled feature map -> attributes -> LSTM -> words.

Show and Tell (Vinyals et al., CVPR 2015). As in section 8.1 of the Grad-CAM paper, the LSTM has no
attention: its only view of the picture is the last feature map averaged over its cells. Between
the two is a layer of attributes (Wu et al., CVPR 2016): how likely people are to use each of about
a thousand phrases for the picture, and how sure the CNN's classifier is of each everyday word.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.embedded.caption_search import Search, T, draw

UNKNOWN = 1  # index of the word that replaces every rare word in training; never written
PLAN_SIZE = 96  # numbers that describe the picture to the LSTM
UNSEEN = -4.0  # log odds below which the classifier does not see a thing


def normalise(pooled: Tensor) -> Tensor:
    """Scale pooled features (..., 1280) to a mean square of 1.

    The network must not read their overall strength. Otherwise the evidence for a word could be a
    weak feature map, which no region can show.
    """
    return F.normalize(pooled, dim=-1) * math.sqrt(pooled.shape[-1])


class State(NamedTuple):
    """The state of the LSTM between two words, for n sentences.

    Attributes:
        prior: (n, 2, n_words) float32, what phrases and what things add to the logit of each
            word; (1, 2, n_words) where all sentences describe one picture.
        picture: (n or 1, width) float32, the picture's part of every input.
        hidden: (n, width) float32.
        cell: (n, width) float32.
    """

    prior: Tensor
    picture: Tensor
    hidden: Tensor
    cell: Tensor

    def rows(self, which: Tensor) -> "State":
        """Return the state of the sentences with indices `which`, (m,) int64."""
        prior, picture = self.prior, self.picture
        if len(prior) > 1:
            prior, picture = prior[which], picture[which]
        return State(prior, picture, self.hidden[which], self.cell[which])


class CaptionNetwork(nn.Module):
    """Scores the next word of a sentence, given the pooled feature map and the words so far.

    There are two kinds of attributes: phrases that people use, learned from captions; and things,
    the 1000 classes of the CNN's own classifier summed into everyday words. Many things occur in
    no training caption.

    The picture reaches a word in two ways. An attribute that is itself a word adds to that word's
    logit, as much as the LSTM's gate lets through: "dog" is written because a dog is seen, and
    the gradient shows it (for the things, a copy mechanism: Yao et al., CVPR 2017). And the LSTM
    receives the picture through a narrow layer, enough to plan a sentence.

    The LSTM is written out because PyTorch's fused kernels have no batching rule for the batched
    backward pass that computes the gradients of all words at once.
    """

    attribute_words: Tensor
    class_words: Tensor
    things: Tensor
    thing_of_class: Tensor

    def __init__(
        self,
        n_words: int,
        attribute_words: Tensor,
        class_words: Tensor,
        classifier: nn.Linear,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        """Build the network with random weights.

        Args:
            n_words: Size of the vocabulary, including `caption_search.END` and `UNKNOWN`.
            attribute_words: (n_phrases,) int64, the word that a phrase is; -1 for a phrase of
                several words.
            class_words: (1000,) int64, the everyday word of each class.
            classifier: The CNN's own layer 1280 -> 1000; frozen and not saved.
            width: Of the LSTM and of the word vectors.
            dropout: In training, for the LSTM's attributes, inputs and outputs.
        """
        super().__init__()
        things, thing_of_class = class_words.unique(return_inverse=True)
        self.register_buffer("attribute_words", attribute_words)
        self.register_buffer("class_words", class_words)
        self.register_buffer("things", things, persistent=False)
        self.register_buffer("thing_of_class", thing_of_class, persistent=False)
        # In a tuple, so that it is not among the parameters: the CNN shares it.
        self._classifier = (classifier,)
        self.phrases = nn.Linear(1280, len(attribute_words))  # takes normalised features
        self.trust = nn.Parameter(torch.ones(len(attribute_words)))
        self.trust_things = nn.Parameter(torch.full((len(things),), 3.0))
        self.gate = nn.Linear(width, 2)
        self.plan = nn.Linear(len(attribute_words) + len(things), PLAN_SIZE)
        self.picture = nn.Linear(PLAN_SIZE, width)
        self.first = nn.Linear(width, 2 * width)
        self.start = nn.Parameter(torch.zeros(width))
        self.words = nn.Embedding(n_words, width)
        self.gates_in = nn.Linear(width, 4 * width)
        self.gates_hidden = nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(n_words))
        self.dropout = nn.Dropout(dropout)
        # As an output layer the word vectors are small; as inputs they match the picture's vector.
        self._scale = math.sqrt(width)
        self._word_gates: Tensor | None = None  # (n_words, 4 * width), see `freeze`
        nn.init.normal_(self.words.weight, std=1 / self._scale)

    def freeze(self) -> Self:
        """End training, and precompute each word's part of the gates' input."""
        self.eval().requires_grad_(False)
        self._word_gates = self.gates_in(self._scale * self.words.weight)
        return self

    def attributes(self, pooled: Tensor) -> Tensor:
        """Return the attributes (n, n_attributes), phrases then things, of features (n, 1280)."""
        return torch.cat([self.phrases(normalise(pooled)), self.seen(pooled)], 1)

    def odds(self, pooled: Tensor) -> Tensor:
        """Return the classifier's log odds of each everyday word, (n, n_things), within +-14."""
        logits = self._classifier[0](pooled)
        best = logits.detach().amax(1, keepdim=True)
        this = torch.zeros(len(pooled), len(self.things))
        this = this.index_add(1, self.thing_of_class, (logits - best).exp())
        rest = this.sum(1, keepdim=True) - this
        # The small number keeps the logarithm finite where float32 rounds to zero.
        return (this + 1e-6).log() - (rest + 1e-6).log()

    def seen(self, pooled: Tensor) -> Tensor:
        """Return how sure the classifier is of each everyday word, (n, n_things), >= 0.

        These are its log odds, which keep rising where a probability is nearly 1. Below `UNSEEN`
        they fade to 0.
        """
        return F.softplus(self.odds(pooled) - UNSEEN) / 4

    def begin(self, attributes: Tensor) -> State:
        """Return the state before the first word, for attributes (n, n_attributes)."""
        picture = self.picture(self.plan(self.dropout(attributes)))
        hidden, cell = self.first(picture.tanh()).chunk(2, -1)
        phrases, things = attributes.split([len(self.trust), len(self.trust_things)], 1)
        single = (self.attribute_words >= 0).nonzero()[:, 0]
        zeros = attributes.new_zeros(len(attributes), len(self.bias))
        of_phrases = zeros.index_add(
            1, self.attribute_words[single], (self.trust * phrases)[:, single]
        )
        of_things = zeros.index_add(1, self.things, self.trust_things * things)
        return State(torch.stack([of_phrases, of_things], 1), picture, hidden.tanh(), cell)

    def step(self, state: State, inputs: Tensor) -> State:
        """Return the state after one more input, (n, 4 * width) from `inputs`."""
        gates = inputs + self.gates_hidden(state.hidden)
        read, forget, update, write = gates.chunk(4, -1)
        cell = forget.sigmoid() * state.cell + read.sigmoid() * update.tanh()
        return State(state.prior, state.picture, write.sigmoid() * cell.tanh(), cell)

    def inputs(self, state: State, words: Tensor | None) -> Tensor:
        """Return the gates' inputs (n, length, 4 * width) for words (n, length), or the start."""
        if words is not None and self._word_gates is not None:
            picture = F.linear(state.picture, self.gates_in.weight)
            return self._word_gates[words] + picture[:, None]
        vectors = self.start.expand(1, 1, -1) if words is None else self._scale * self.words(words)
        return self.gates_in(self.dropout(vectors + state.picture[:, None]))

    def logits(self, hidden: Tensor, prior: Tensor) -> Tensor:
        """Return the logits of the next words, (n, length, n_words).

        Args:
            hidden: (n, length, width), states of the LSTM.
            prior: (n, 2, n_words), from `begin`.
        """
        hidden = self.dropout(hidden)
        # The word vectors serve as the output layer, too.
        of_words = F.linear(self.out(hidden), self.words.weight, self.bias)
        return of_words.baddbmm(self.gate(hidden).sigmoid(), prior)

    def read(self, state: State, words: Tensor | None) -> tuple[State, Tensor]:
        """Read the next word of each sentence.

        Args:
            state: Of n sentences.
            words: (n,) int64; None before the first word.

        Returns:
            The new state, and the logits (n, n_words) of the word that follows.
        """
        inputs = self.inputs(state, None if words is None else words[:, None])
        state = self.step(state, inputs[:, 0])
        if len(state.prior) == 1:  # one product for all is much faster than one for each
            return state, self.logits(state.hidden[None], state.prior)[0]
        return state, self.logits(state.hidden[:, None], state.prior)[:, 0]

    def forward(self, attributes: Tensor, captions: Tensor) -> Tensor:
        """Return the logits of each word of given captions after the words before it.

        Args:
            attributes: (n, n_attributes) float32.
            captions: (n, length) int64.

        Returns:
            (n, length, n_words) float32.
        """
        state, hidden = self.begin(attributes), []
        inputs = torch.cat([self.inputs(state, None), self.inputs(state, captions[:, :-1])], 1)
        for position in range(captions.shape[1]):
            state = self.step(state, inputs[:, position])
            hidden.append(state.hidden)
        return self.logits(torch.stack(hidden, 1), state.prior)


@torch.no_grad()
def run_searches(
    network: CaptionNetwork, attributes: Tensor, searches: Sequence[Callable[[Tensor], Search[T]]]
) -> list[T]:
    """Run searches side by side: one large matrix product is faster than several small ones.

    Args:
        network: The trained network.
        attributes: (1, n_attributes) float32 of one picture; or (n, n_attributes), for searches
            with one sentence per picture.
        searches: Each takes the logits of the first words; see `caption_search.Search`.

    Returns:
        The results, in the order of `searches`.
    """
    results: dict[int, T] = {}
    state, logits = network.read(network.begin(attributes), None)
    running = {i: search(logits) for i, search in enumerate(searches)}
    answers: dict[int, Any] = dict.fromkeys(running)  # None starts a generator
    first_rows = dict.fromkeys(running, 0)
    while True:
        requests = {}
        for i, search in list(running.items()):
            try:
                requests[i] = search.send(answers[i])
            except StopIteration as end:
                results[i] = end.value
                del running[i]
        if not running:
            return [results[i] for i in range(len(searches))]
        parents, words = zip(*requests.values(), strict=True)
        rows = torch.cat([first_rows[i] + own for i, own in zip(requests, parents, strict=True)])
        state, logits = network.read(state.rows(rows), torch.cat(words))
        sizes = [*map(len, words)]
        answers = dict(zip(requests, logits.split(sizes), strict=True))
        first_rows = dict(zip(requests, accumulate(sizes, initial=0), strict=False))


def sample(
    network: CaptionNetwork, attributes: Tensor, uniform: Tensor, excluded: Sequence[int]
) -> Tensor:
    """Sample sentences, one for each row of attributes; see `caption_search.draw`."""
    return run_searches(network, attributes, [lambda logits: draw(logits, uniform, excluded)])[0]
