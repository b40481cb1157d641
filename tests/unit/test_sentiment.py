"""Reviews judged as they arrive: by words, by what stars taught, by what became of them."""

from collections.abc import Iterable
from datetime import date, timedelta
from uuid import uuid4

import msgspec
import pytest

from app.learner.sentiment_answers import (
    figures,
    judged,
    product_sentiment,
    suggestions,
)
from app.learner.sentiment_scores import scores
from ml_online import review_figures
from ml_online.aspects import problems_of
from ml_online.language import UNKNOWN, guess
from ml_online.review_figures import ALL
from ml_online.review_text import read
from ml_online.sentiment import Judged, Sentiments
from ml_online.sentiment_model import KNOWN_FROM, listed
from ml_online.sentiment_thresholds import CLASSES
from streams import codec
from streams.codec import Fact
from streams.events import Event, ProductReviewed, ReviewEdited, ReviewModerated, ReviewRetracted
from tests.learning import NOON, facts, review_event, reviews

ALWAYS = (0, 10**7)


def taught(events: Iterable[Event]) -> Sentiments:
    learner = Sentiments()
    for fact in facts(events):
        learner.learn(fact)
    return learner


def followed(number: int, data: ReviewRetracted | ReviewModerated) -> Event:
    """What became of a review later."""
    at = NOON + timedelta(days=9, hours=number)
    return Event(
        id=str(uuid4()),
        type=type(data).__name__,
        shop="main",
        subject=data.product_id,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )


def saved(learner: Sentiments) -> bytes:
    return msgspec.json.encode(list(learner.state()))


def called(found: Judged) -> str | None:
    return None if found.opinion is None else CLASSES[found.opinion.called]


# Words.


@pytest.mark.parametrize(
    ("text", "praised", "blamed"),
    [
        ("good", 1, 0),
        ("not good", 0, 1),
        ("i do not really like it but good", 1, 0),
        ("never broke", 1, 0),
        ("no complaints at all and it is good", 2, 0),
        ("it isn't very good", 0, 1),
    ],
)
def test_a_negation_turns_round_what_comes_soon_after(text: str, praised: int, blamed: int) -> None:
    found = listed(text.replace(",", "").replace("complaints", "complaint").split(), "en")
    assert found[:2] == (praised, blamed)


def test_a_word_behind_a_negation_is_another_word_until_its_sentence_ends() -> None:
    plain, negated = read("it is sturdy"), read("it is not so sturdy")
    assert not set(read("sturdy").features) <= set(read("not sturdy").features)
    assert set(read("sturdy").features) <= set(plain.features)
    later = read("not so. sturdy")
    assert set(read("sturdy").features) <= set(later.features)
    assert negated.clauses[0].words == ["it", "is", "not", "so", "sturdy"]


def test_clauses_part_at_marks_and_where_the_mind_turns() -> None:
    text = read("Great colour, but it runs small! The box came late")
    parts = [text.text[clause.start : clause.end] for clause in text.clauses]
    assert parts == ["great colour", "but it runs small", "the box came late"]
    assert set(text.features) == {f for clause in text.clauses for f in clause.features}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("It works great", "en"),
        ("Muito bom, recomendo", "pt"),
        ("Das ist leider nicht gut", "de"),
        ("bardzo dobry produkt i szybka dostawa", "pl"),
        ("Tuote oli rikki ja myöhässä, en ole lainkaan tyytyväinen", UNKNOWN),
        ("商品非常好", UNKNOWN),
        ("Xyzzy", UNKNOWN),
    ],
)
def test_a_language_is_known_by_its_small_words(text: str, language: str) -> None:
    assert guess(list(read(text).words), "", lambda: 1.0) == language


def test_what_says_nothing_of_its_language_is_in_the_usual_one_if_it_is_familiar() -> None:
    assert guess(["arrived"], "en", lambda: 0.6) == "en"
    assert guess(["arrived"], "en", lambda: 0.4) == UNKNOWN
    assert guess([], "en", lambda: 0.0) == "en"  # a smile, or 10 out of 10


# Judging.


def test_the_first_review_is_judged_by_lists_of_words() -> None:
    untaught = Sentiments()
    assert called(untaught.judge("main", "I love it, excellent quality")) == "positive"
    assert called(untaught.judge("main", "Terrible, it broke. What a waste")) == "negative"
    assert called(untaught.judge("main", "Péssimo, veio quebrado e com defeito")) == "negative"
    assert called(untaught.judge("main", "Nie działa, bardzo zła jakość")) is None


def test_stars_teach_what_no_list_knows() -> None:
    kinds = (("The frobnicator wobbles", 1), ("The frobnicator sings", 5))
    learner = taught(review_event(n, kinds[n % 2][0], kinds[n % 2][1]) for n in range(40))
    for text, stars in kinds:
        found = learner.judge("main", text)
        assert called(found) == CLASSES[0 if stars == 1 else 2]
        assert found.opinion is not None
        assert found.opinion.confidence > 0.8
    assert called(learner.judge("elsewhere", kinds[0][0])) != "negative"  # a shop learns by itself


def test_it_is_judged_before_it_is_learned_and_asking_teaches_nothing() -> None:
    learner = taught(reviews(30))
    (fact,) = facts([review_event(99, "The splendid frobnicator is great and it sings", 1)])
    expected = learner.judge("main", "The splendid frobnicator is great and it sings", 1)
    before = saved(learner)
    assert saved(learner) == before
    learner.learn(fact)
    heard = learner.reviews("main").heard["r99"]
    assert expected.opinion is not None
    assert heard.called == expected.opinion.called
    assert heard.confidence == round(expected.opinion.confidence, 6)


def test_a_language_without_lists_is_known_once_stars_have_taught_it() -> None:
    bad, good = "jest zły i nie działa bo się psuje", "jest ładny i działa bardzo długo"
    polish = [
        review_event(n, f"To {bad if n % 3 else good} oraz tak numer", 1 if n % 3 else 5)
        for n in range(KNOWN_FROM + 20)
    ]
    learner = taught(polish[:KNOWN_FROM])
    assert called(learner.judge("main", bad)) is None
    assert judged(learner.judge("main", bad))["sentiment"] == "unknown"
    (language,) = learner.languages("main")
    assert (language.language, language.known, language.seeded) == ("pl", False, False)
    assert learner.reviews("main").figure(ALL, *ALWAYS).unknown == KNOWN_FROM
    learner = taught(polish)
    assert called(learner.judge("main", bad)) == "negative"
    (told,) = scores(learner, "main")["languages"]
    assert told["known_by"] == "evidence"
    known_at = (NOON + timedelta(hours=KNOWN_FROM)).date()
    assert told["known_since"] == known_at.isoformat()
    assert 0 < told["scores"]["reviews"] < 20  # of those after it was known
    nowhere = "Tuote oli rikki ja myöhässä, en ole lainkaan tyytyväinen"
    assert called(learner.judge("main", nowhere)) is None


def test_scores_are_of_what_was_said_before_it_was_learned() -> None:
    learner = taught(reviews(200))
    found = scores(learner, "main")
    assert found["overall"]["reviews"] == 200
    assert found["overall"]["accuracy"] > max(
        found["overall"]["majority"]["accuracy"], found["overall"]["word_lists"]["accuracy"]
    )
    assert found["overall"]["macro_f1"] > found["overall"]["majority"]["macro_f1"]
    assert 0 < found["overall"]["brier"] < 0.5
    months = found["languages"][0]["months"]
    assert [month["month"] for month in months] == ["2026-03"]
    assert scores(Sentiments(), "main")["overall"]["accuracy"] is None


# Aspects and problems.


def test_each_aspect_has_the_sentiment_of_its_own_clause() -> None:
    learner = taught(reviews(150))
    found = learner.judge(
        "main", "Great quality, but it runs small. Delivery was fast. The seller was rude."
    )
    said = {one.aspect: CLASSES[one.called] for one in found.aspects}
    assert said == {
        "quality": "positive",
        "size": "negative",
        "delivery": "positive",
        "service": "negative",
    }
    assert [one.kind for one in found.problems] == ["too_small", "no_answer"]


@pytest.mark.parametrize(
    ("text", "language", "kinds"),
    [
        ("It is not too small and never broke", "en", []),
        ("Way too big. Took weeks to arrive, parts were missing!", "en",
         ["too_large", "late", "missing_parts"]),
        ("Wrong size was sent and there is no response", "en", ["wrong_item", "no_answer"]),
        ("Ainda não recebi o produto, péssimo atendimento", "pt", ["never_arrived", "no_answer"]),
        ("Zu klein und kaputt", "de", ["too_small", "broke"]),
        ("Trop petit, en retard", "fr", ["too_small", "late"]),
        ("Es muy pequeño y no funciona", "es", ["too_small", "defective"]),
        ("Troppo grande e non funziona", "it", ["too_large", "defective"]),
        ("Too small", "pl", []),
    ],
)  # fmt: skip
def test_problems_are_told_apart(text: str, language: str, kinds: list[str]) -> None:
    assert [one.kind for one in problems_of(read(text), language)] == kinds


def test_suggestions_cite_the_reviews_that_they_rest_on() -> None:
    events = [
        *(review_event(n, "Lovely, but it runs small", 4, product="shirt") for n in (1, 2, 3)),
        review_event(4, "It runs large", 2, product="shirt"),
        review_event(5, "It runs small", 2, product="hat"),
        review_event(6, "I love it", 5, product="shirt"),
    ]
    learner = taught(events)
    found = suggestions(learner.reviews("main"), "", None, ALWAYS, 2)
    (one,) = found
    assert (one["product_id"], one["problem"], one["aspect"]) == ("shirt", "too_small", "size")
    assert one["review_ids"] == ["r3", "r2", "r1"]
    assert (one["reviews"], one["of_reviews"], one["share"], one["mean_stars"]) == (3, 5, 0.6, 4)
    alone = suggestions(learner.reviews("main"), "hat", None, ALWAYS, 1)
    assert [(one["problem"], one["review_ids"]) for one in alone] == [("too_small", ["r5"])]
    assert suggestions(learner.reviews("main"), "", "price", ALWAYS, 1) == []
    early = (0, NOON.date().toordinal() - 1)
    assert suggestions(learner.reviews("main"), "", None, early, 1) == []


# What becomes of reviews.


def test_what_is_edited_hidden_or_taken_back_is_followed_and_teaches_nothing() -> None:
    learner = taught([review_event(1, "It broke", 1), review_event(2, "I love it", 5)])
    known = learner.reviews("main")
    assert known.figure("p", *ALWAYS).of_subject[""] == (1, 0, 1)
    models = [row for row in learner.state() if row[0] in ("model", "regression", "counts")]

    def heard(event: Event) -> tuple[int, int, int]:
        (fact,) = facts([event])
        learner.learn(fact)
        return known.figure("p", *ALWAYS).of_subject[""]

    assert heard(review_event(1, "I love it now", 5, kind=ReviewEdited)) == (0, 0, 2)
    assert suggestions(known, "p", None, ALWAYS, 1) == []
    hidden = ReviewModerated(product_id="p", review_id="r2", hidden=True, reason="spam")
    assert heard(followed(2, hidden)) == (0, 0, 1)
    assert heard(review_event(2, "Great", 5, kind=ReviewEdited)) == (0, 0, 1)  # hidden still
    shown = ReviewModerated(product_id="p", review_id="r2", hidden=False)
    assert heard(followed(3, shown)) == (0, 0, 2)
    assert heard(followed(1, ReviewRetracted(product_id="p", review_id="r1"))) == (0, 0, 1)
    assert heard(review_event(7, None, 4)) == (0, 0, 1)
    assert known.figure("p", *ALWAYS).without_text == 1
    after = [row for row in learner.state() if row[0] in ("model", "regression", "counts")]
    assert after == models
    assert heard(review_event(1, "It broke again", 1)) == (1, 0, 1)  # written anew


def test_a_review_is_learned_once_under_whatever_event_ids() -> None:
    event = review_event(1, "I love it", 5)
    once, twice = taught([event]), taught([event, msgspec.structs.replace(event, id="another")])
    assert once.languages("main") == twice.languages("main")
    assert twice.reviews("main").figure("p", *ALWAYS).of_subject[""] == (0, 0, 1)


def test_of_whoever_was_erased_only_that_there_was_a_review_is_known() -> None:
    """What could not be opened is still sealed: neither a text nor an id is kept."""
    event = review_event(1, None, 1)
    learner = taught([msgspec.structs.replace(event, person="erased-1", sealed="c2VhbGVk")])
    known = learner.reviews("main")
    assert (known.heard, known.figure("p", *ALWAYS).without_text) == ({}, 1)
    assert learner.languages("main") == []


def test_the_oldest_reviews_are_forgotten_one_by_one_and_still_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(review_figures, "MOST_REVIEWS", 8)
    learner = taught(review_event(n, "It broke", 1) for n in range(30))
    known = learner.reviews("main")
    assert len(known.heard) <= 9
    assert known.figure("p", *ALWAYS).of_subject[""][0] == 30
    (one,) = suggestions(known, "", None, ALWAYS, 1)
    assert set(one["review_ids"]) <= known.heard.keys()


def test_a_killed_learner_goes_on_as_if_it_had_not_been() -> None:
    told = facts([*reviews(120), review_event(3, "Now it broke", 1, kind=ReviewEdited)])
    calm, killed = Sentiments(), Sentiments()
    for number, fact in enumerate(told):
        calm.learn(fact)
        killed.learn(fact)
        if number % 17 == 0:
            state = msgspec.json.decode(saved(killed))
            killed = Sentiments()
            killed.restore(state)
    assert saved(killed) == saved(calm)
    assert product_sentiment(killed, "main", "p1") == product_sentiment(calm, "main", "p1")


# What is answered.


def test_figures_add_up_over_products_and_periods() -> None:
    learner = taught(reviews(200))
    known = learner.reviews("main")
    days = (date.min, date.max)
    (whole,) = figures(known, [ALL], "overall", "total", days)
    assert whole["reviews"] == 200
    for grain in ("day", "week", "month"):
        rows = list(figures(known, [ALL], "overall", grain, days))
        assert sum(row["negative"] for row in rows) == whole["negative"]
        assert sum(row["reviews"] for row in rows) == 200
    of_products = list(figures(known, sorted(known.products), "overall", "total", days))
    assert sum(row["reviews"] for row in of_products) == 200
    first = date(2026, 3, 4)
    cut = list(figures(known, [ALL], "overall", "week", (first, date.max)))
    assert sum(row["reviews"] for row in cut) < 200


def test_what_falls_is_said_to_fall() -> None:
    praised = [review_event(24 * n, "I love it, great quality", 5) for n in range(60)]
    blamed = [review_event(24 * n, "It broke, poor quality", 1) for n in range(60, 90)]
    rows = product_sentiment(taught([*praised, *blamed]), "main", "p")["aspects"]
    overall, quality = rows
    assert (overall["aspect"], quality["aspect"]) == ("overall", "quality")
    for row in rows:
        assert row["trend"]["direction"] == "falling"
        assert row["trend"]["change"] < -1
    steady = product_sentiment(taught(praised), "main", "p")["aspects"][0]
    assert steady["trend"]["direction"] == "steady"


def test_every_fact_of_the_catalogue_may_be_heard() -> None:
    """Also one of another kind, and a review that is long past or very long."""
    learner = Sentiments()
    long_ago = review_event(1, "good " * 4_000, 5, at=NOON.replace(year=1971))
    (fact,) = facts([long_ago])
    assert isinstance(fact.data, ProductReviewed)
    learner.learn(fact)
    other = Fact("catalog", 0, 1, long_ago, ReviewRetracted(product_id="p", review_id="none"))
    learner.learn(other)
    assert learner.reviews("main").last_day() == date(1971, 3, 2).toordinal()
