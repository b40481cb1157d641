"""Where a command sends events to: the API that is up, and the key of a shop."""

from typing import NamedTuple

from app.settings import Settings, SettingsError, read_addresses


class Target(NamedTuple):
    """A running API, and the key that writes to one of its shops."""

    api: str
    key: str
    shop: str


def running_api(settings: Settings, told: str | None = None) -> str:
    """Where the API answers. Raises SettingsError where none is up."""
    address = told or read_addresses(settings.home).get("api")
    if address is None:
        raise SettingsError("no API is up here: start it with `tillstream up`, or say --api URL")
    return address


def target(settings: Settings, shop: str | None = None, api: str | None = None) -> Target:
    """Where to send to. Raises SettingsError where no API is up or no key writes to that shop."""
    address = running_api(settings, api)
    for key, written in settings.write_keys.items():
        if shop in (None, written):
            return Target(address, key, written)
    raise SettingsError(
        f"no write key writes to the shop {shop!r}: set TILLSTREAM_WRITE_KEYS=KEY:{shop},… for "
        "this command and for the API"
    )
