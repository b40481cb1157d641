"""What is recommended, and why: of one shop's events, and never of another's."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest

from ml_online import (
    candidates,
    factors,
    fading,
    followers,
    ranking_scores,
    recommender,
    session_index,
    tastes,
)
from ml_online.fading import Fading
from ml_online.recommender import Context, Recommender
from streams import codec
from streams.codec import Fact
from streams.events import Context as From
from streams.events import (
    Data,
    Event,
    Line,
    OrderCompleted,
    ProductAdded,
    ProductListed,
    ProductViewed,
)
from streams.money import Money

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Told:
    """A recommender that is told of a shop, minute by minute."""

    def __init__(self) -> None:
        self.model = Recommender()
        self.at = NOON
        self._number = count()

    def tell(
        self,
        data: Data,
        subject: str,
        *,
        person: str | None = None,
        visitor: str | None = None,
        shop: str = "main",
        bot: bool = False,
    ) -> None:
        self.at += timedelta(minutes=1)
        number = next(self._number)
        context = From(visitor=visitor, bot=bot) if visitor or bot else None
        event = Event(
            id=f"e{number}", type=type(data).__name__, shop=shop, subject=subject, time=self.at,
            received_at=self.at, data=codec.raw(data), person=person, context=context,
        )  # fmt: skip
        self.model.learn(Fact("interactions", 0, number, event, data))

    def views(self, visitor: str, products: str, **rest: str) -> None:
        for product in products.split():
            self.tell(ProductViewed(product_id=product), visitor, **rest)  # type: ignore[arg-type]

    def order(self, person: str, products: str, visitor: str | None = None) -> None:
        lines = [Line(product_id=one, price=Money(10_000)) for one in products.split()]
        order = OrderCompleted(order_id=f"o{next(self._number)}", products=lines)
        self.tell(order, order.order_id, person=person or None, visitor=visitor)

    def asked(self, *session: str, person: str = "", shop: str = "main") -> Context:
        return Context(shop, person, session, self.at)


@pytest.fixture
def shop() -> Told:
    told = Told()
    for n in range(6):
        told.views(f"v{n}", "tea pot cup")
        told.views(f"w{n}", "ball net shoe")
    for n in range(4):
        told.order(f"anna{n}", "tea honey")
        told.order(f"berta{n}", "ball whistle")
    return told


def ids(found: Sequence[tuple[str, object, object]]) -> list[str]:
    return [one[0] for one in found]


def test_the_next_request_knows_of_the_last_event() -> None:
    told = Told()
    told.views("v", "a b")
    assert ids(told.model.recommend(told.asked("a"), 1, excluded={"a"})) == ["b"]
    assert told.model.session_of("main", "v") == ("a", "b")
    told.tell(ProductAdded(product_id="c", cart_id="k"), "k", visitor="v")
    assert (
        told.model.session_of("main", "k") == told.model.session_of("main", "v") == ("a", "b", "c")
    )


def test_sessions_that_went_alike_come_first_with_their_reason(shop: Told) -> None:
    found = shop.model.recommend(shop.asked("tea"), 3, excluded={"tea"})
    assert {"pot", "cup"} <= set(ids(found))
    assert found[0].reason == ("session", "tea")
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_what_somebody_bought_and_what_goes_with_it(shop: Told) -> None:
    found = {one.product_id: one for one in shop.model.recommend(shop.asked(person="anna1"), 9)}
    assert found["tea"].reason == ("history", "tea")
    assert list(found).index("honey") < list(found).index("whistle")
    shop.order("carla", "tea")
    because = {one[0]: one[2] for one in shop.model.recommend(shop.asked(person="carla"), 9)}
    assert because["honey"] in (("bought_together", "tea"), ("similar", ""))


def test_only_what_is_allowed_is_counted_among_the_first(shop: Told) -> None:
    everything = ids(shop.model.recommend(shop.asked("tea"), 100))
    odd = {one for one in everything if len(one) % 2}
    found = ids(shop.model.recommend(shop.asked("tea"), 3, allowed=odd.__contains__))
    assert found == [one for one in everything if one in odd][:3]
    assert shop.model.recommend(shop.asked("tea"), 3, allowed=lambda _: False) == []


def test_who_is_not_known_gets_what_trends_then_what_is_new() -> None:
    told = Told()
    told.tell(ProductListed(product_id="lamp", category="light"), "lamp")
    told.tell(ProductListed(product_id="sofa", category="seat"), "sofa")
    found = told.model.recommend(told.asked(person="who"), 5)
    assert [(one.product_id, one.reason.kind) for one in found] == [
        ("sofa", "new"),
        ("lamp", "new"),
    ]
    told.views("v", "lamp")
    first, second = told.model.recommend(told.asked(person="who"), 5)
    assert (first.product_id, first.reason) == ("lamp", ("trending", ""))
    assert second.product_id == "sofa"
    assert ids(told.model.trending("main", 5, category="light")) == ["lamp"]
    assert told.model.trending("main", 5, category="seat") == []
    assert Recommender().recommend(told.asked("lamp"), 5) == []


def test_products_and_persons_that_are_alike(shop: Told) -> None:
    similar = shop.model.similar_products("main", "tea", 5)
    assert {"pot", "honey"} <= set(ids(similar))
    assert "tea" not in ids(similar)
    assert similar[0].reason == ("similar", "tea")
    found = shop.model.similar_persons("main", "anna0", 5)
    assert {one for one, _ in found} == {"anna1", "anna2", "anna3"}
    assert found[0][1] == 1.0


def test_shops_know_nothing_of_each_other(shop: Told) -> None:
    before = shop.model.recommend(shop.asked("tea"), 9)
    shop.views("v", "tea gold", shop="other")
    assert "gold" not in ids(shop.model.recommend(shop.asked("tea"), 99))
    assert ids(shop.model.recommend(shop.asked("tea", shop="other"), 9)) == ["tea", "gold"]
    assert ids(before) == ids(shop.model.recommend(shop.asked("tea"), 9))


def test_a_visitor_who_says_who_they_are_keeps_what_they_bought() -> None:
    told = Told()
    told.order("", "tea", visitor="v")
    told.views("v", "pot", person="anna")
    assert told.model.recommend(told.asked(person="anna"), 1)[0].reason == ("history", "tea")
    assert told.model.recommend(told.asked(person="v"), 1)[0].reason == ("history", "tea")
    assert told.model.recommend(told.asked(person="w"), 1)[0].reason.kind == "trending"


def test_features_say_what_each_source_says(shop: Told) -> None:
    context = shop.asked("tea", person="anna1")
    tea, whistle, never = shop.model.features_of(context, ["tea", "whistle", "never"])
    assert tea == shop.model.features(context, "tea")
    assert tea["again"] == tea["own"] == 1.0
    assert whistle["own"] == whistle["session"] == 0.0 < whistle["popularity"] < 1
    assert set(never.values()) == {0.0}
    assert all(0 <= value <= 1 for value in (*tea.values(), *whistle.values()))


def test_memory_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, most in (
        *((session_index, name, 20) for name in ("MOST_SESSIONS", "MOST_PRODUCTS")),
        *((tastes, name, 20) for name in ("MOST_PERSONS", "MOST_PRODUCTS", "MOST_OF_PERSON")),
        *((factors, name, 20) for name in ("MOST_PERSONS", "MOST_PRODUCTS")),
        *((candidates, name, 20) for name in ("MOST_LISTED", "MOST_CATEGORIES")),
        *((followers, name, 20) for name in ("MOST_PAIRS", "MOST_PRODUCTS")),
        (recommender, "MOST_ALIASES", 20),
        (recommender, "_ALWAYS", 50),
        (ranking_scores, "WINDOW", 20),
    ):
        monkeypatch.setattr(module, name, most)
    told, sizes = Told(), []
    for n in range(900):
        one = f"p{n} p{n // 2} p{n // 3}"
        told.tell(ProductListed(product_id=f"p{n}", category=f"c{n}"), f"p{n}")
        told.views(f"v{n}", one)
        told.order(f"u{n // 2}", one, visitor=f"v{n}")
        if n % 300 == 299:
            sizes.append(len(msgspec.json.encode(list(told.model.state()))))
    assert sizes[2] - sizes[1] < 0.1 * sizes[1]


def test_bots_teach_nothing() -> None:
    told = Told()
    told.tell(ProductViewed(product_id="bait"), "v", bot=True)
    assert told.model.recommend(told.asked("bait"), 5) == []


def test_lists_are_scored_before_what_came_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    told.views("v", "a b")  # of b nothing was known
    assert told.model.scores("main")["hr@20"] == 0.0
    told.views("w", "a b")
    found = told.model.scores("main")
    assert (found["hr@20"], found["judged"], found["repeats"]) == (0.5, 2, "allowed")
    monkeypatch.setattr(recommender, "_ALWAYS", 2)
    monkeypatch.setattr(recommender, "_EVERY", 3)
    told.views("x", "a b c d")
    assert (told.model.scores("main")["judged"], told.model.scores("main")["scored_of"]) == (3, 5)


def test_a_late_event_breaks_nothing(shop: Told) -> None:
    shop.at = datetime(1970, 1, 1, tzinfo=UTC)
    shop.views("late", "old older")
    shop.order("anna0", "old")
    shop.at = NOON + timedelta(days=1)
    assert ids(shop.model.trending("main", 1)) == ids(shop.model.trending("main", 9))[:1]
    assert ids(shop.model.trending("main", 1)) != ["old"]
    shop.at = datetime(2030, 1, 1, tzinfo=UTC)
    shop.views("new", "hot")
    assert ids(shop.model.trending("main", 1)) == ["hot"]


@pytest.mark.parametrize("year", [1970, 1985, 1986])
def test_what_is_decades_old_breaks_nothing(year: int) -> None:
    """Sessions score next to nothing then, or nothing."""
    told = Told()
    told.at = datetime(year, 2, 4, tzinfo=UTC)
    for n in range(3):
        told.views(f"old{n}", "a b")
    told.at = NOON
    told.views("new", "a c b a")
    told.order("anna", "a c")
    told.order("berta", "a c")
    assert ids(told.model.similar_products("main", "a", 5))
    found = told.model.recommend(told.asked("a", person="anna"), 5)
    assert all(one.score > 0 for one in found if one.reason.kind != "new")
    rows = msgspec.json.decode(msgspec.json.encode(list(told.model.state())))
    Recommender().restore(rows)
    told.at = NOON + timedelta(days=365 * 60)
    told.views("last", "b c")
    for name in ("a", "b", "c"):
        told.model.similar_products("main", name, 5)


def test_orders_dated_ages_ahead_break_nothing() -> None:
    told = Told()
    told.at = datetime(2999, 1, 1, tzinfo=UTC)
    told.order("anna", "x y")
    told.at = NOON
    told.order("berta", "a b")
    told.order("carla", "a b")
    for name in ("a", "x"):
        told.model.similar_products("main", name, 5)
    assert ids(told.model.similar_products("main", "a", 5)) == ["b"]
    assert [one for one, _ in told.model.similar_persons("main", "berta", 5)] == ["carla"]
    assert told.model.alike("main", "a", "b") == pytest.approx(0.5)
    told.at = datetime(2999, 1, 1, tzinfo=UTC)
    told.order("dora", "c d")
    assert told.model.similar_persons("main", "berta", 5)
    assert told.model.trending("main", 9)


def test_of_who_was_erased_nothing_personal_is_learned(shop: Told) -> None:
    """They are no person, and no visitor who turns out to be one."""
    known = dict(shop.model._shops["main"].aliases)
    erased, browser = "erased-" + "0" * 32, "erased-" + "1" * 32
    shop.order(erased, "tea secret", visitor=browser)
    shop.order(erased, "tea secret", visitor="v0")
    shop.order("", "tea secret", visitor=browser)
    shop.views(browser, "tea pot", person=erased)
    shop.views(browser, "tea", person="anna0")
    shop.tell(ProductAdded(product_id="tea", cart_id="k"), "k", visitor=browser)
    kept = shop.model._shops["main"]
    assert kept.aliases == known
    for part in (kept.candidates.tastes, kept.candidates.factors):
        assert "erased-" not in str(list(part.state()))
    assert not shop.model.bought("main", erased)
    # The order counts for what goes together, and for what trends, all the same.
    assert "secret" in ids(shop.model.trending("main", 99))
    assert "secret" in ids(shop.model.similar_products("main", "tea", 99))


def test_its_state_is_all_of_it(shop: Told) -> None:
    rows = msgspec.json.encode(list(shop.model.state()))
    again = Told()
    again.model.restore(msgspec.json.decode(rows))
    again.at = shop.at
    assert msgspec.json.encode(list(again.model.state())) == rows
    for one in (shop, again):
        one._number = count(5_000)
        one.views("v1", "tea net")
        one.order("anna1", "net tea")
    assert list(again.model.state()) == list(shop.model.state())
    assert again.model.recommend(again.asked("tea", person="anna1"), 9) == (
        shop.model.recommend(shop.asked("tea", person="anna1"), 9)
    )


def test_weights_are_the_same_after_years(monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> list[tuple[str, float]]:
        counts = Fading(half_life=86_400.0, most=50, first=10)
        for n in range(2_000):
            counts.add(f"p{n % 40}", 86_400.0 * n / 4)
        first = counts.top(1)[0][1]
        return [(name, weight / first) for name, weight in counts.top(10)]

    plain = told()
    monkeypatch.setattr(fading, "_MOST_DOUBLINGS", 20)
    assert told() == plain
