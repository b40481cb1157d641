"""Everything that can be set, by environment (`TILLSTREAM_…`), in one place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEMO_KEY = "demo"
LEAST_KEY_LETTERS = 32  # as many bytes as HS256 makes (RFC 7518, 3.2)


class SettingsError(Exception):
    """A setting is missing or wrong; the message says what to do next."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the three servers answer: bootstrap servers, a DSN and a URL."""

    kafka: str
    postgres: str
    redis: str


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TILLSTREAM_", env_file=".env", extra="ignore")

    home: Path = Field(Path(".tillstream"), description="where the local servers keep their state")
    kafka: str | None = Field(None, description="bootstrap servers; unset: the embedded Kafka")
    postgres: str | None = Field(None, description="a DSN; unset: the embedded Postgres")
    redis: str | None = Field(None, description="a URL; unset: the embedded Redis")

    api_host: str = Field(
        "127.0.0.1", description="the address to listen on; beyond this machine: 0.0.0.0"
    )
    api_port: int = Field(8700, ge=0, le=65_535, description="the first port to try")
    write_keys: Annotated[dict[str, str], NoDecode] = Field(
        {DEMO_KEY: "main"}, description="who may send events: `key:shop,key:shop`"
    )
    read_keys: Annotated[dict[str, str], NoDecode] = Field(
        {DEMO_KEY: "main"},
        description="who may read figures and the quarantine, as write keys: `key:shop,key:shop`",
    )
    figures: Literal["open", "staff"] | None = Field(
        None,
        description="who reads figures: `open`, whoever reaches the port; `staff`, who is logged "
        "in as such, and read keys. Unset: open, and only on this machine",
    )
    proxies: Annotated[list[str], NoDecode] = Field(
        [], description="proxies before the API, whose word on a client's address is taken"
    )
    country_header: str | None = Field(
        None,
        description="in which a proxy before the API tells a visitor's country, such as "
        "CF-IPCountry; unset: no header is believed",
    )
    logins_per_account: int = Field(
        10, ge=1, description="failed log-ins in a quarter of an hour, then 429"
    )
    logins_per_address: int = Field(
        100, ge=1, description="the same from one address of a client, to any account"
    )
    registrations_per_address: int = Field(
        200, ge=1, description="accounts registered in an hour from one address of a client"
    )
    origins: Annotated[list[str], NoDecode] = Field(
        [], description="other origins whose pages may open websockets, comma-separated"
    )
    intake_bytes: int = Field(
        64 * 1024 * 1024,
        ge=8 * 1024 * 1024,
        description="that requests with events may take together in an API process; then 503",
    )
    events_per_second: float | None = Field(
        None, gt=0, description="of a write key, at each API process, then 429; unset: no bound"
    )
    import_bytes: int = Field(
        2 * 1024**3, ge=1, description="that the files of one import may have together"
    )
    import_unpacked_bytes: int = Field(
        8 * 1024**3, ge=1, description="that each of them may have once it is unpacked"
    )
    live_clients: int = Field(
        10_000, ge=1, description="that may listen to live feeds at an API process"
    )
    currency: str = Field("EUR", pattern="^[A-Z]{3}$", description="where an event tells none")
    timezone: ZoneInfo = Field(ZoneInfo("UTC"), description="the shop's zone: its days and hours")
    country: str = Field(
        "",
        max_length=64,
        description="where the shop is, ISO 3166 (`GB`, or a part of it with holidays of its own, "
        "`GB-SCT`): whose public holidays forecasts know; unset: none",
    )
    day_grace: float = Field(3600, ge=0, description="seconds a day stays open after its end")
    day_settle: float = Field(
        30, ge=0, description="seconds that late sales must rest before a past day is told"
    )

    cart_silence: float = Field(
        3600, gt=0, description="seconds after which a cart where nothing happens is abandoned"
    )

    prefix: str = Field("", description="put before topic and group names, to share one Kafka")
    schema_name: str = Field("tillstream", description="the Postgres schema of the read models")
    partitions: int = Field(12, ge=1, description="of each topic, fixed when it is created")
    replication: int = Field(1, ge=1, description="copies of each topic's records")
    dedupe_window: int = Field(100_000, ge=1, description="offsets in which an id counts once")
    commit_records: int = Field(10_000, ge=1, description="records in one commit, at most")

    jobs: int = Field(2, ge=1, description="done at once, by all API processes together")
    jobs_waiting: int = Field(
        20,
        ge=1,
        description="of a shop that may be under way, such as figures of the past; then 429",
    )
    as_of_kept: int = Field(
        4, ge=1, description="moments of the past that figures are kept of, for each group"
    )
    verify_seconds: float = Field(
        600, ge=0, description="between checks of some figures against the log; 0: none"
    )
    verify_orders: int = Field(20, ge=1, description="orders in such a check, about")
    stuck_seconds: float = Field(
        60.0, ge=0, description="after which a reader that does not move is ended; 0: never"
    )
    log: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text in a terminal, else JSON"
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="the first port to try for a worker's metrics; 0: none"
    )
    metrics_host: str = Field("127.0.0.1", description="the address that those are told at")

    stripe_key: str | None = Field(None, description="Stripe's secret key; unset: no cards")
    stripe_webhook_secret: Annotated[list[str], NoDecode] = Field(
        [], description="sign Stripe's webhooks, comma-separated: while one is changed, two"
    )
    stripe_url: str | None = Field(None, description="instead of Stripe's: that of a stand-in")

    token_key: str | None = Field(
        None,
        description="signs access tokens; unset: a key made in the home. Of several, separated by "
        "commas, the first signs, and the others' tokens are still taken",
    )
    images: str | None = Field(
        None,
        description="where images are kept, such as `s3://bucket/images`, by AWS's own settings; "
        "unset: in the home",
    )
    snapshot_key: str | None = Field(
        None, description="signs the models' snapshots; unset: a key made in the home"
    )
    snapshot_seconds: float = Field(60.0, gt=0, description="between snapshots of the models")
    explore: float = Field(
        0.05, ge=0, le=1, description="share of places in recommendations that are drawn by lot"
    )
    sample_answers: float = Field(
        0.01, ge=0, le=1, description="share of the other recommendations told on the log"
    )
    learner_host: str = Field("127.0.0.1", description="where the learner answers the API")

    @field_validator("origins", "proxies", "stripe_webhook_secret", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return (
            [w.strip() for w in value.split(",") if w.strip()] if isinstance(value, str) else value
        )

    @field_validator("token_key")
    @classmethod
    def _long(cls, value: str | None) -> str | None:
        """A key that can be guessed signs whatever one likes."""
        if value and any(len(one) < LEAST_KEY_LETTERS for one in value.split(",")):
            raise ValueError(f"a key has {LEAST_KEY_LETTERS} letters at least, all at random")
        return value

    @field_validator("write_keys", "read_keys", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        """Reads `key:shop,key:shop`; a key alone writes to the shop `main`."""
        if not isinstance(value, str):
            return value
        pairs = (pair.strip().partition(":") for pair in value.split(",") if pair.strip())
        return {key: shop or "main" for key, _, shop in pairs}

    @cached_property
    def servers(self) -> Servers:
        """The servers to use: those of the environment, else those that `up` has started.

        Raises SettingsError where neither is there.
        """
        running = read_addresses(self.home)
        found = {name: getattr(self, name) or running.get(name) for name in _SERVERS}
        if missing := [name for name, address in found.items() if not address]:
            raise SettingsError(
                f"no address for {', '.join(missing)}: start them with `tillstream up`, or set "
                + ", ".join(f"TILLSTREAM_{name.upper()}" for name in missing)
            )
        return Servers(**{name: str(address) for name, address in found.items()})


_SERVERS = ("kafka", "postgres", "redis")


def addresses_file(home: Path) -> Path:
    """Where `up` leaves the addresses of what it has started."""
    return home / "addresses.json"


def read_addresses(home: Path) -> Mapping[str, str]:
    """What `up` wrote: `{"api": …, "kafka": …, "postgres": …, "redis": …}`, empty if not up."""
    try:
        found = json.loads(addresses_file(home).read_text())
    except FileNotFoundError:
        return {}
    return {str(name): str(address) for name, address in found.items()}
