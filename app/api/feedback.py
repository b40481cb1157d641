"""What storefronts tell of answers and experiments, as far as it cannot be: refused at the door.

A write key stands in a page that everybody can read. Whoever has it may say that they saw what they
did not see; they may not say what could never have been, for models and verdicts learn from it.
What an answer was, and with which chances its places were drawn, the API alone tells
(`RecommendationsServed`, which is said by Tillstream alone).
"""

from collections.abc import Awaitable, Callable

from ml_online.experiments import Experiment
from streams import codec
from streams.codec import Refused
from streams.events import (
    Event,
    ExperimentExposed,
    RecommendationClicked,
    RecommendationsViewed,
)

FEEDBACK = frozenset({"RecommendationsViewed", "RecommendationClicked", "ExperimentExposed"})
Known = Callable[[str, str], Awaitable[Experiment | None]]
"""A shop's experiment by its id; None where it is not known, by now or for now."""
_PLACES = 100  # of an answer, as `RecommendationsServed` has them at most


async def nothing_known(_shop: str, _experiment_id: str) -> None:
    """Of whom no experiment is known."""


async def check_feedback(event: Event, known: Known) -> None:
    """Raises Refused, with the field and why it cannot be."""
    data = codec.decode_fields(event.type, event.data)
    match data:
        case RecommendationsViewed(products=products):
            places = {product_id: place for place, product_id in enumerate(products)}
            for place, product_id in enumerate(products):
                if places[product_id] != place:
                    raise Refused(
                        f"data.products[{places[product_id]}]",
                        f"{product_id!r} stands at {place} already: an answer has it once",
                    )
        case RecommendationClicked(position=int(position)) if position >= _PLACES:
            raise Refused("data.position", f"an answer has at most {_PLACES} places, from 0")
        case ExperimentExposed():
            await _check_arm(event.shop, data, known)
        case _:
            pass


async def _check_arm(shop: str, data: ExperimentExposed, known: Known) -> None:
    """Arms are named when an experiment starts, once for all. Of one that is not known nothing is
    said: what was told of it may be older than what this process knows."""
    experiment = await known(shop, data.experiment_id)
    if experiment is None:
        return
    arms = [one.name for one in experiment.terms.arms]
    if data.arm not in arms:
        raise Refused("data.arm", f"{data.arm!r} is none of {', '.join(arms)}")
    if data.unit != experiment.terms.unit:
        reason = f"this experiment goes by each {experiment.terms.unit}"
        raise Refused("data.unit", reason)
