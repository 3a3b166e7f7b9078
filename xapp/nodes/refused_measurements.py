"""What nodes have refused of the measurements that were asked for, and the searches for it that are under way."""

from __future__ import annotations

from xapp.nodes.measurement_search import MeasurementSearch
from xapp.ric.subscription_body import SubscriptionKey


class RefusedMeasurements:
    """One search a node: what one of its cells refuses, the others would. Not thread safe."""

    def __init__(self) -> None:
        self._searches: dict[str, tuple[SubscriptionKey, MeasurementSearch]] = {}
        self._refused: dict[str, tuple[str, ...]] = {}
        self._hopeless: set[str] = set()
        """Nodes that refused every single one: it is not the measurements."""

    def of(self, node: str) -> tuple[str, ...]:
        """Measurements that the node refuses, as far as is known."""
        return self._refused.get(node, ())

    def forget(self, node: str) -> None:
        """It is gone, or another than before."""
        self._searches.pop(node, None)
        self._refused.pop(node, None)
        self._hopeless.discard(node)

    def is_searching(self, node: str) -> bool:
        return node in self._searches

    def answered(self, key: SubscriptionKey, asked: tuple[str, ...], taken: bool) -> tuple[str, ...] | None:
        """A node took or refused a subscription to `asked`: what this one is to ask for now; None = go on as it is."""
        node = key.node
        searching, search = self._searches.get(node, (None, None))
        if search is None:
            if taken or len(asked) < 2 or node in self._hopeless:
                return None
            search = MeasurementSearch(asked)
            self._searches[node] = (key, search)
            return search.attempt
        if searching != key or asked != search.attempt:
            return None
        search.answer(taken)
        if not search.done:
            return search.attempt
        del self._searches[node]
        if search.culprits:
            self._refused[node] = (*self.of(node), *search.culprits)
        else:
            self._hopeless.add(node)
        return None if search.settled else search.attempt
