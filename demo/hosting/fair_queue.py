"""The request queue: clients take turns, and none can fill it alone."""

from collections import Counter
from collections.abc import Sequence

from demo.hosting.gradio_internals import Client, ManagedQueue
from demo.hosting.settings import settings


class FairQueue(ManagedQueue):
    """Gradio's queue with limits per client and in fair order."""

    def refusal(self, client: Client) -> str | None:
        waiting, limits = self.waiting(), settings()
        of_session = sum(each.session == client.session for each in waiting)
        of_address = sum(each.address == client.address for each in waiting)
        if (
            of_session >= limits.max_waiting_per_page
            or of_address >= limits.max_waiting_per_address
        ):
            return f"Busy: {of_address} of your requests are waiting already."
        if len(waiting) >= limits.max_waiting:
            return f"Busy: {len(waiting)} requests are waiting. Please try again soon."
        return None

    def order(self, waiting: Sequence[Client], running: Sequence[Client]) -> Sequence[int]:
        return fair_order(waiting, running)

    def may_start(self, client: Client, running: Sequence[Client], limit: int) -> bool:
        # One place is left for others, so that they need not wait for somebody's slow requests.
        of_address = sum(each.address == client.address for each in running)
        return of_address < max(1, limit - 1)


def fair_order(waiting: Sequence[Client], running: Sequence[Client]) -> list[int]:
    """Order requests so that each session's first comes before any session's second.

    Among equal sessions addresses take turns: opening many pages does not help.

    Args:
        waiting: The clients of the requests, in the order of their arrival.
        running: The clients of those that run already; these count as earlier requests.

    Returns:
        Indices into `waiting`.
    """
    sessions = Counter(client.session for client in running)
    addresses = Counter(client.address for client in running)
    ranks = []
    for client in waiting:
        ranks.append((sessions[client.session], addresses[client.address]))
        sessions[client.session] += 1
        addresses[client.address] += 1
    return sorted(range(len(waiting)), key=ranks.__getitem__)
