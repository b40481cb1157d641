"""Where an event came from: what is believed, of whom, and what of it goes to the log."""

import msgspec
import pytest

from app.api.origin import UNKNOWN, Sender, Told, context, is_bot, sender
from streams.events import Context

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
ROBOT = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"


@pytest.mark.parametrize(
    ("user_agent", "country", "expected"),
    [
        (FIREFOX, "DE", Sender("DE")),
        (FIREFOX, "", Sender()),
        (FIREFOX, "XX", Sender()),
        (FIREFOX, "T1", Sender()),
        (FIREFOX, "Germany", Sender()),
        (ROBOT, "US", Sender("US", True)),
        ("python-requests/2.32", "US", UNKNOWN),  # a server, whoever its visitors are
        ("", "US", UNKNOWN),
    ],
)
def test_a_browser_speaks_of_itself_and_a_server_does_not(
    user_agent: str, country: str, expected: Sender
) -> None:
    assert sender(user_agent, country) == expected


def test_what_is_told_of_an_event_holds_before_what_the_request_says() -> None:
    by = Sender("DE", True)
    assert context(None, by) == Context(country="DE", bot=True)
    assert context(Told(country="FR"), by) == Context(country="FR", bot=True)
    assert context(Told(bot=False), by) == Context(country="DE")
    assert context(Told(user_agent=FIREFOX), by) == Context(country="DE")
    assert context(Told(user_agent=ROBOT), UNKNOWN) == Context(bot=True)
    assert context(Told(user_agent=ROBOT, bot=False), UNKNOWN) is None


def test_what_is_not_known_takes_no_room_on_the_log() -> None:
    assert context(None, UNKNOWN) is None
    assert context(Told(), UNKNOWN) is None
    assert msgspec.json.encode(context(Told(source="mail"), UNKNOWN)) == b'{"source":"mail"}'


def test_a_name_goes_no_further_whatever_is_in_it() -> None:
    told = Told(user_agent=f"{FIREFOX} secret", visitor="v1")
    assert b"secret" not in msgspec.json.encode(context(told, UNKNOWN))


@pytest.mark.parametrize("name", [FIREFOX, "", "Mozilla/5.0 (iPhone) Safari/605"])
def test_people_are_no_robots(name: str) -> None:
    assert not is_bot(name)
