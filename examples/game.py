"""A game of 10 x 10 pixels, and the training of a policy that plays it; see policy.py.

An apple falls, and a basket has to catch it. The cloud in the sky does not matter.
"""

import torch
from torch import Tensor, nn

SIDE, ACTIONS = 10, ["left", "stay", "right"]
SKY, APPLE, BASKET, CLOUD = torch.tensor([[25, 30, 60], [220, 40, 40], [150, 110, 60], [200] * 3])


def frames(games: Tensor) -> Tensor:
    """Draw games, (n, 4): x and y of the apple, x of basket and cloud. Returns (n, 3, 10, 10)."""
    n = torch.arange(len(games))
    pictures = SKY.expand(len(games), SIDE, SIDE, 3).clone()
    pictures[n, 2, games[:, 3]] = CLOUD
    pictures[n, games[:, 1], games[:, 0]] = APPLE
    pictures[n, SIDE - 1, games[:, 2]] = BASKET
    return pictures.permute(0, 3, 1, 2) / 255


def play(policy: nn.Module, count: int, noise: float) -> tuple[list[Tensor], Tensor]:
    """Play games; return their states, and each game's log-probability plus an entropy bonus."""
    games = torch.randint(SIDE, (count, 4))
    games[:, 1] = 0
    states, log_prob = [games], torch.zeros(count)
    for _ in range(SIDE - 1):
        choice = torch.distributions.Categorical(logits=policy(frames(games)) / noise)
        action = choice.sample()
        log_prob = log_prob + choice.log_prob(action) + 0.02 * choice.entropy()
        apple, row, basket, cloud = games.unbind(1)
        games = torch.stack([apple, row + 1, (basket + action - 1).clamp(0, SIDE - 1), cloud], 1)
        states.append(games)
    return states, log_prob


def train(rounds: int) -> nn.Module:
    """Train a policy by REINFORCE (Williams 1992); the reward is how near the basket came."""
    policy = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * SIDE**2, 64), nn.ReLU(), nn.Linear(64, len(ACTIONS)),
    )  # fmt: skip
    optimiser = torch.optim.Adam(policy.parameters(), 2e-3)
    for _ in range(rounds):
        states, log_prob = play(policy, 128, noise=1.0)
        reward = -(states[-1][:, 0] - states[-1][:, 2]).abs().float()
        loss = -(log_prob * (reward - reward.mean()) / (reward.std() + 1e-6)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return policy
