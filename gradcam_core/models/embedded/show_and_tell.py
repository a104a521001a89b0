"""Show and Tell (Vinyals et al., CVPR 2015): a CNN and an LSTM that writes a sentence.

As in the paper's section 8.1 the LSTM has no attention: all it ever sees of the picture is
the last feature map averaged over its cells. Between the two stands a linear layer of
attributes (Wu et al., CVPR 2016): how likely people are to use each of some hundred phrases
of this picture.

Of the captions that a beam search finds, that one is said which agrees best with everything
the LSTM might say (minimum Bayes risk, Kumar and Byrne 2004), not the likeliest; and of those
that agree, one that is said of this picture rather than of any (Li et al., NAACL 2016).
"""

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import accumulate, chain, islice, pairwise, takewhile
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.quasirandom import SobolEngine

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Model, Prediction, Score, Target
from gradcam_core.models.embedded.caption_search import (
    END,
    LENGTH_POWER,
    MAX_WORDS,
    Candidate,
    Search,
    T,
    agreement,
    beam,
    drawn,
)
from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from gradcam_core.models.labels import check_length

WEIGHTS = Path(__file__).parent / "weights"

_VOWEL = re.compile("(?!uni|use|euro|one)[aeiou]|hour")  # how words begin that "an" goes before

UNKNOWN = 1  # stands for every rare word in training; never written
MAX_CHARACTERS = 1000
PLAN = 96  # numbers that the LSTM is told of the picture
UNSEEN = -4.0  # log odds below which the classifier does not see a thing
# Chosen on the dev photos:
BEAM = 16
CANDIDATES = 32
DRAWN = 64  # sentences that stand for all the LSTM might say; candidates are to agree with them
LIKELIHOOD_WEIGHT = 0.05  # beside the agreement, which is in 0..1
USUAL_WEIGHT = 0.05  # against the likelihood where no picture is seen; more rewards odd wordings
# A word comes twice in a caption only if more than e^-1.9 of the pictures have it: no bowl of bowl.
COMMON = 1.9
LEAST_ENDING = 0.1  # probability that a caption ends where it does
# True of every picture, and so never written: "a picture of a cup", "a cup on display", "a cat
# looking at something", "a cup seen from above".
EMPTY_WORDS = ("picture", "display", "something", "above")
ANIMALS = 398  # the first so many classes of ImageNet; no other does the classifier know so well
# An animal is not written whose classes have together less than this part of what a blind guess
# would give them, by backbone. On Flickr8k's dev photos with a dog 98.7 % of the dogs pass both; of
# ImageNet photos without one 5.1 % and 3.4 %.
ABSENT = {0: 0.4, 2: 0.68}
# A caption is a guess where no thing that it names is as probable: of such captions of ImageNet's
# dev photos 1 of 15 names what is there, of the others 156 of 185.
UNSURE = 0.2
_PEOPLE = "person people man men woman women boy boys girl girls child children"
PEOPLE = frozenset(_PEOPLE.split())
# Of the mean probability that the classifier gives the things that are named, and that of a caption
# that names none.
NAMING_WEIGHT = 0.15
NOTHING_NAMED = 0.3


def split_words(text: str) -> list[str]:
    """Return the words of a caption, lower-case, without punctuation: "A man's!" -> a mans."""
    return re.findall(r"[^\W_]+", text.lower().replace("'", "").replace("\u2019", ""))


def normalise(pooled: Tensor) -> Tensor:
    """Give pooled features (..., 1280) a mean square of 1, whatever their strength.

    The head must not read how strong they are altogether: else what speaks for a word could be
    nothing but weakness, which no region can show.
    """
    return functional.normalize(pooled, dim=-1) * math.sqrt(pooled.shape[-1])


def join_names(words: Sequence[str], names: Container[str]) -> list[str]:
    """Make one word of each two that are a name together: hot dog, ice cream.

    Args:
        words: Single ones.
        names: Among them those of two words.
    """
    joined: list[str] = []
    for word in words:
        if joined and f"{joined[-1]} {word}" in names:
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


class State(NamedTuple):
    """What the LSTM carries from word to word, for n sentences.

    Attributes:
        prior: (n, 2, n_words) float32, what the attributes and what the classifier say of each
            word; (1, 2, n_words) where all are of one picture.
        picture: (n or 1, width) float32, what every step is told of the picture.
        hidden: (n, width) float32.
        cell: (n, width) float32.
    """

    prior: Tensor
    picture: Tensor
    hidden: Tensor
    cell: Tensor

    def rows(self, which: Tensor) -> "State":
        """Return the state of some of the sentences, (m,) int64."""
        told = (self.prior, self.picture)
        prior, picture = told if len(self.prior) == 1 else (each[which] for each in told)
        return State(prior, picture, self.hidden[which], self.cell[which])


class CaptionHead(nn.Module):
    """Pooled feature map -> attributes -> LSTM -> words.

    Attributes are of two kinds: phrases that people are likely to use of the picture, learned
    from captions; and things that the backbone's own classifier sees, its 1000 classes summed
    into everyday words. Many of these no caption has.

    The picture has two ways to a word. Attributes that are words themselves add to the logits of
    these, as much as the LSTM asks for: "dog" is said because "dog" is seen, and that is what
    the gradient shows (for the things, copying: Yao et al., CVPR 2017). The LSTM itself is told
    of the picture through a narrow layer only: enough to plan a sentence.

    It is written out: PyTorch's fused kernels have no batching rule for the batched backward
    pass that gives all the words' gradients at once.
    """

    attribute_words: Tensor
    class_words: Tensor
    things: Tensor
    _places: Tensor

    def __init__(
        self,
        n_words: int,
        attribute_words: Tensor,
        class_words: Tensor,
        classifier: nn.Linear,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        """Make an untrained head.

        Args:
            n_words: Size of the vocabulary, with `END` and `UNKNOWN`.
            attribute_words: (n_phrases,) int64: the word that a phrase is, or -1 where it has
                several.
            class_words: (1000,) int64: the everyday word of each class.
            classifier: The backbone's own layer 1280 -> 1000; kept frozen, not saved.
            width: Of the LSTM and of the word vectors.
            dropout: In training, of attributes, inputs and outputs of the LSTM.
        """
        super().__init__()
        things, places = class_words.unique(return_inverse=True)
        self.register_buffer("attribute_words", attribute_words)
        self.register_buffer("class_words", class_words)
        self.register_buffer("things", things, persistent=False)
        self.register_buffer("_places", places, persistent=False)
        # Not among the parameters: it is the backbone's, shared and frozen.
        self._classifier = (classifier,)
        self.phrases = nn.Linear(1280, len(attribute_words))  # of normalised features
        self.trust = nn.Parameter(torch.ones(len(attribute_words)))
        self.trust_things = nn.Parameter(torch.full((len(things),), 3.0))
        self.gate = nn.Linear(width, 2)
        self.plan = nn.Linear(len(attribute_words) + len(things), PLAN)
        self.picture = nn.Linear(PLAN, width)
        self.first = nn.Linear(width, 2 * width)
        self.start = nn.Parameter(torch.zeros(width))
        self.words = nn.Embedding(n_words, width)
        self.gates_in = nn.Linear(width, 4 * width)
        self.gates_hidden = nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(n_words))
        self.dropout = nn.Dropout(dropout)
        # Word vectors are small as output layer, and as large as the picture's vector as input.
        self._scale = math.sqrt(width)
        self._told: Tensor | None = None
        nn.init.normal_(self.words.weight, std=1 / self._scale)

    def freeze(self) -> Self:
        """End the training: what the gates get of each word alone need not be computed again."""
        self.eval().requires_grad_(False)
        self._told = self.gates_in(self._scale * self.words.weight)  # (n_words, 4 * width)
        return self

    def attributes(self, pooled: Tensor) -> Tensor:
        """Return (n, n_attributes) of pooled features (n, 1280): phrases, then things."""
        return torch.cat([self.phrases(normalise(pooled)), self.seen(pooled)], 1)

    def odds(self, pooled: Tensor) -> Tensor:
        """Return the classifier's log odds of each everyday word, (n, n_things), within +-14."""
        logits = self._classifier[0](pooled)
        best = logits.detach().amax(1, keepdim=True)
        among = torch.zeros(len(pooled), len(self.things))
        among = among.index_add(1, self._places, (logits - best).exp())
        rest = among.sum(1, keepdim=True) - among
        # The smallest number keeps the logarithm finite where float32 rounds to zero.
        return (among + 1e-6).log() - (rest + 1e-6).log()

    def seen(self, pooled: Tensor) -> Tensor:
        """Return how sure the classifier is of each everyday word, (n, n_things), 0 and more.

        The log odds, which unlike the probability go on rising where it is all but 1; below
        `UNSEEN` they fade to 0.
        """
        return functional.softplus(self.odds(pooled) - UNSEEN) / 4

    def begin(self, attributes: Tensor) -> State:
        """Return the state before the first word for attributes (n, n_attributes)."""
        picture = self.picture(self.plan(self.dropout(attributes)))
        hidden, cell = self.first(picture.tanh()).chunk(2, -1)
        phrases, things = attributes.split([len(self.trust), len(self.trust_things)], 1)
        single = (self.attribute_words >= 0).nonzero()[:, 0]
        nothing = attributes.new_zeros(len(attributes), len(self.bias))
        said = nothing.index_add(1, self.attribute_words[single], (self.trust * phrases)[:, single])
        copied = nothing.index_add(1, self.things, self.trust_things * things)
        return State(torch.stack([said, copied], 1), picture, hidden.tanh(), cell)

    def step(self, state: State, inputs: Tensor) -> State:
        """Read one input, (n, 4 * width) from `inputs`, and return the new state."""
        gates = inputs + self.gates_hidden(state.hidden)
        read, forget, update, write = gates.chunk(4, -1)
        cell = forget.sigmoid() * state.cell + read.sigmoid() * update.tanh()
        return State(state.prior, state.picture, write.sigmoid() * cell.tanh(), cell)

    def inputs(self, state: State, words: Tensor | None) -> Tensor:
        """Return what the gates get, (n, length, 4 * width), of words (n, length), or of none."""
        if words is not None and self._told is not None:
            return (
                self._told[words] + functional.linear(state.picture, self.gates_in.weight)[:, None]
            )
        vectors = self.start.expand(1, 1, -1) if words is None else self._scale * self.words(words)
        return self.gates_in(self.dropout(vectors + state.picture[:, None]))

    def logits(self, hidden: Tensor, prior: Tensor) -> Tensor:
        """Return the next words' logits (n, length, n_words).

        Args:
            hidden: (n, length, width), the LSTM's states.
            prior: (n, 2, n_words), from `begin`.
        """
        hidden = self.dropout(hidden)
        # The word vectors serve as output layer too.
        said = functional.linear(self.out(hidden), self.words.weight, self.bias)
        return said.baddbmm(self.gate(hidden).sigmoid(), prior)

    def read(self, state: State, words: Tensor | None) -> tuple[State, Tensor]:
        """Read a word of each sentence, (n,) or none yet; return state and logits (n, n_words)."""
        read = None if words is None else words[:, None]
        state = self.step(state, self.inputs(state, read)[:, 0])
        if len(state.prior) == 1:  # one product for all is far faster than one for each
            return state, self.logits(state.hidden[None], state.prior)[0]
        return state, self.logits(state.hidden[:, None], state.prior)[:, 0]

    def forward(self, attributes: Tensor, captions: Tensor) -> Tensor:
        """Return the logits of each word of given captions after the words before it.

        Args:
            attributes: (n, n_attributes) float32.
            captions: (n, length) int64.

        Returns:
            (n, length, n_words).
        """
        state, hidden = self.begin(attributes), []
        inputs = torch.cat([self.inputs(state, None), self.inputs(state, captions[:, :-1])], 1)
        for position in range(captions.shape[1]):
            state = self.step(state, inputs[:, position])
            hidden.append(state.hidden)
        return self.logits(torch.stack(hidden, 1), state.prior)


@torch.no_grad()
def read_together(
    head: CaptionHead, attributes: Tensor, searches: Sequence[Callable[[Tensor], Search[T]]]
) -> list[T]:
    """Let searches read on beside each other: one large product is faster than several small ones.

    Args:
        head: The captioner.
        attributes: (1, n_attributes) float32, of one picture; or (n, n_attributes), a sentence of
            each.
        searches: Each is given the logits of the first words.

    Returns:
        What they found, in their order.
    """
    found: dict[int, T] = {}
    state, logits = head.read(head.begin(attributes), None)
    going = {i: search(logits) for i, search in enumerate(searches)}
    heard: dict[int, Any] = dict.fromkeys(going)  # nothing yet: a generator is begun with None
    begins = dict.fromkeys(going, 0)  # the first row of each
    while True:
        asked = {}
        for i, search in list(going.items()):
            try:
                asked[i] = search.send(heard[i])
            except StopIteration as end:
                found[i] = end.value
                del going[i]
        if not going:
            return [found[i] for i in range(len(searches))]
        parents, words = zip(*asked.values(), strict=True)
        rows = torch.cat([begins[i] + of_one for i, of_one in zip(asked, parents, strict=True)])
        state, logits = head.read(state.rows(rows), torch.cat(words))
        sizes = [*map(len, words)]
        heard = dict(zip(asked, logits.split(sizes), strict=True))
        begins = dict(zip(asked, accumulate(sizes, initial=0), strict=False))


def sample(head: CaptionHead, attributes: Tensor, chances: Tensor, never: Sequence[int]) -> Tensor:
    """Draw sentences, one for each row of attributes; see `drawn`."""
    return read_together(head, attributes, [lambda logits: drawn(logits, chances, never)])[0]


class ShowAndTell(Model):
    """The embedded captioner; its score y^c is the sum of the words' log-probabilities.

    Only the words that are shown count: what the LSTM thinks of ending the sentence after them
    is part of neither the score nor the probability.
    """

    task = "captioning"

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        head: CaptionHead,
        words: Mapping[str, int],
        absent: float,
    ) -> None:
        """Join a backbone and its head.

        Args:
            name: Name in the registry.
            backbone: The CNN.
            head: Trained.
            words: The vocabulary in the order of the head's outputs: of how many of the training
                pictures each word is used. The first, `END`, is used of all.
            absent: An animal of less than this part of a blind guess is not written; of `ABSENT`.
        """
        super().__init__(name, backbone)
        self.words = tuple(words)
        counts = torch.tensor([*words.values()])
        self._rarity = (counts[END] / counts).log()
        self._index = {word: i for i, word in enumerate(self.words) if i not in (END, UNKNOWN)}
        self._absent_below = absent
        self._never = [UNKNOWN, *(self._index[word] for word in EMPTY_WORDS)]
        classes = head.class_words.tolist()
        self._animals = {i: n / len(classes) for i, n in Counter(classes[:ANIMALS]).items()}
        # More evenly spread than random numbers, so that fewer sentences do.
        self._chances = SobolEngine(MAX_WORDS, scramble=True, seed=0).draw(DRAWN)
        self._head = head.freeze()

    def predict(
        self, encoded: Encoded, question: str | None = None, k: int = 5
    ) -> list[Prediction]:
        """Return the `k` best captions of a beam search, best first.

        They are ranked by agreement, not by probability (see the top of this file). The same
        feature map gives the same captions.
        """
        attributes = self._attributes(encoded.features.detach())
        chance_of = self._chance_of(encoded)
        never = [*self._never, *self._absent(chance_of)]
        searches: list[Callable[[Tensor], Search[Any]]] = [
            lambda logits: beam(logits, max(k, BEAM), max(k, CANDIDATES), never),
            lambda logits: drawn(logits, self._chances, never),
        ]
        candidates, might_say = read_together(self._head, attributes, searches)
        agreements = agreement(
            [candidate.ids for candidate in candidates],
            [list(takewhile(lambda i: i != END, ids)) for ids in might_say.tolist()],
            self._rarity,
        ).tolist()
        merits = [
            agreed
            + LIKELIHOOD_WEIGHT * candidate.likelihood
            + NAMING_WEIGHT * self._seen(candidate, chance_of)
            - USUAL_WEIGHT * usual
            - self._flawed(candidate)
            for agreed, candidate, usual in zip(
                agreements, candidates, self._usual(candidates), strict=True
            )
        ]
        ranked = sorted(zip(merits, candidates, strict=True), reverse=True)
        said: dict[str, Candidate] = {}
        for _, best in ranked:
            said.setdefault(" ".join(self._with_articles(best.ids)), best)
        return [
            Prediction(text, math.exp(self._log_prob(text, best, attributes)))
            for text, best in islice(said.items(), k)
        ]

    @property
    def repertoire(self) -> str:
        return f"{len(self._index):,} words"

    def is_guess(self, encoded: Encoded, said: Prediction) -> bool:
        """Whether the classifier sees none of the things that a caption names.

        It knows no people: of a caption that speaks of some it is not asked.
        """
        words, chance_of = self.target(said.text).words, self._chance_of(encoded)
        named = [chance_of[i] for i in map(self._index.get, words) if i in chance_of]
        return bool(named) and max(named) < UNSURE and not PEOPLE & set(words)

    def _log_prob(self, text: str, found: Candidate, attributes: Tensor) -> float:
        """The sum of the words' log-probabilities: asked again only of other words than found."""
        target = self.target(text)
        if [*target.ids] == found.ids:
            return found.log_prob
        return self._score(attributes, target).terms.sum().item()

    def _chance_of(self, encoded: Encoded) -> dict[int, float]:
        """The classifier's probability of each thing, by its word."""
        pooled = encoded.features.detach().mean((2, 3)).cpu()
        chances = self._head.odds(pooled)[0].sigmoid().tolist()
        return dict(zip(self._head.things.tolist(), chances, strict=True))

    @staticmethod
    def _seen(candidate: Candidate, chance_of: Mapping[int, float]) -> float:
        """The mean of the classifier's probabilities of the things that a caption names."""
        named = [chance_of[i] for i in candidate.ids if i in chance_of]
        return sum(named) / len(named) if named else NOTHING_NAMED

    @torch.no_grad()
    def _usual(self, candidates: Sequence[Candidate]) -> list[float]:
        """How likely captions are where no picture is seen, as `Candidate.likelihood` is given."""
        head = self._head
        captions = [[*candidate.ids, END] for candidate in candidates]
        state = head.begin(torch.zeros(1, head.plan.in_features))
        state = head.step(state, head.inputs(state, None)[:, 0])
        # What several begin with is read once: its number, and the LSTM's states in that order.
        number: dict[tuple[int, ...], int] = {(): 0}
        hidden = [state.hidden]
        for length in range(1, max(map(len, captions))):
            shorter, read = len(number), {tuple(c[:length]): 0 for c in captions if len(c) > length}
            before = torch.tensor([number[each[:-1]] for each in read]) - shorter
            words = torch.tensor([each[-1:] for each in read])
            state = state.rows(before + len(state.hidden))
            state = head.step(state, head.inputs(state, words)[:, 0])
            number |= {each: shorter + i for i, each in enumerate(read)}
            hidden.append(state.hidden)
        log_probs = head.logits(torch.cat(hidden)[None], state.prior)[0].log_softmax(-1)
        beginnings = [number[tuple(c[:i])] for c in captions for i in range(len(c))]
        terms = log_probs[beginnings, [*chain(*captions)]].split([*map(len, captions)])
        return [each.sum().item() / len(each) ** LENGTH_POWER for each in terms]

    def _flawed(self, candidate: Candidate) -> bool:
        """Whether a caption breaks off, or says an uncommon word twice: "a bowl of bowl".

        "A car parked next to another car" does not.
        """
        ids, length = candidate.ids, len(candidate.ids)
        ending = candidate.likelihood * (length + 1) ** LENGTH_POWER - candidate.log_prob
        return ending < math.log(LEAST_ENDING) or any(
            word == ids[i - 1]
            or (
                word in ids[:i]
                and self._rarity[word] > COMMON
                and self.words[ids[i - 1]] != "another"
            )
            for i, word in enumerate(ids)
            if i
        )

    def _absent(self, chance_of: Mapping[int, float]) -> list[int]:
        """Give the words for animals, of one and of many, that the classifier does not see."""
        return [
            self._index[form]
            for thing, blind_guess in self._animals.items()
            if chance_of[thing] < self._absent_below * blind_guess
            for form in (self.words[thing], f"{self.words[thing]}s")
            if form in self._index
        ]

    def _with_articles(self, ids: Sequence[int]) -> list[str]:
        """The words of a caption, with "an" for "a" where the next one asks for it."""
        words = [self.words[i] for i in ids]
        for i, (word, following) in enumerate(pairwise(words)):
            if word in {"a", "an"}:
                words[i] = "an" if _VOWEL.match(following) else "a"
        return words

    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        check_length(text, "caption", MAX_CHARACTERS)
        words = split_words(text)
        if not words:
            raise ValueError("Please type a caption: a few English words about the picture.")
        if len(words) > MAX_WORDS:
            raise ValueError(
                f"This caption has {len(words)} words; please use at most {MAX_WORDS}."
            )
        words = join_names(words, self._index)
        unknown = [word for word in dict.fromkeys(words) if word not in self._index]
        if unknown:
            raise ValueError(self._unknown_words(unknown))
        return Target(" ".join(words), tuple(self._index[word] for word in words), tuple(words))

    def score_features(self, features: Tensor, target: Target) -> Score:
        return self._score(self._attributes(features), target)

    def _score(self, attributes: Tensor, target: Target) -> Score:
        log_probs = self._head(attributes, torch.tensor([target.ids]))[0].log_softmax(-1)
        terms = log_probs.gather(1, torch.tensor(target.ids)[:, None])[:, 0]
        return Score(terms, math.exp(terms.sum().item()))

    def _attributes(self, features: Tensor) -> Tensor:
        # The head stays on the CPU: word after word is no work for a GPU.
        return self._head.attributes(features.mean((2, 3)).cpu())

    def _unknown_words(self, unknown: Sequence[str]) -> str:
        near = {
            word: difflib.get_close_matches(word, self._index, n=2, cutoff=0.75) for word in unknown
        }
        listed = ", ".join(
            f"'{word}' (perhaps {' or '.join(known)}?)" if known else f"'{word}'"
            for word, known in near.items()
        )
        noun = "word" if len(unknown) == 1 else "words"
        return (
            f"The captioner does not know the {noun} {listed}. It knows {len(self._index):,} "
            "English words from captions of everyday photos."
        )


def weights_file(number: int) -> Path:
    """Return the weights of the head on EfficientNet-Lite0 or Lite2; its words are beside it."""
    return WEIGHTS / f"lite{number}-caption.safetensors"


def load_lite_caption(number: int) -> ShowAndTell:
    """Return the embedded captioner on Lite0 or Lite2 (see `weights/lite0-caption.md`)."""
    path = weights_file(number)
    words = json.loads(path.with_suffix(".json").read_text())
    tensors = load_file(path)
    head = CaptionHead(
        len(words),
        tensors["attribute_words"],
        tensors["class_words"],
        lite_classifier_layer(number),
        len(tensors["start"]),
    )
    head.load_state_dict(tensors)  # float16 in the file, to keep it small
    return ShowAndTell(f"lite{number}-caption", lite_backbone(number), head, words, ABSENT[number])
