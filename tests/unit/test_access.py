"""Every route has a rule, and the documentation says which."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from app.api import access
from app.api.access import Allow, rules
from app.api.admission import LISTENERS, Admission
from app.api.server import create_app
from app.cli.run import _check_before_listening
from app.identity.tokens import Actor, Role
from app.settings import Settings, SettingsError
from streams.codec import Refused

# What describes the API, and its looks: whoever may ask anything may ask for these.
DESCRIPTIONS = {"/static-offline-docs", "/docs", "/docs/oauth2-redirect", "/openapi.json"}


def app_of(tmp_path: Path, **told: Any) -> FastAPI:
    return create_app(Settings(home=tmp_path, **told))


def without_rules(app: FastAPI) -> set[str]:
    return {str(route.path) for route, rule in rules(app) if rule is None}


def test_every_route_has_a_rule(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    found = {route.path: rule for route, rule in rules(app)}
    assert len(found) > 30
    assert found["/v1/live"] is LISTENERS
    assert without_rules(app) <= DESCRIPTIONS, "a route without a rule"


def test_a_route_without_a_rule_is_found(tmp_path: Path) -> None:
    app = app_of(tmp_path)

    @app.get("/v1/forgotten")
    async def forgotten() -> None:
        """Nobody has thought of whom this is for."""

    assert "/v1/forgotten" in without_rules(app)


def test_the_documentation_says_of_every_operation_whom_it_is_for(tmp_path: Path) -> None:
    roles = {role.value for role in Role}
    for operations in app_of(tmp_path).openapi()["paths"].values():
        for operation in operations.values():
            assert operation["x-access"], operation["operationId"]
            assert set(operation["x-access"]) <= roles
            open_ = {} in operation["security"]
            assert open_ == ("anyone" in operation["x-access"])


FIGURES = ["sales_revenue", "live_events", "status_get", "metrics_get", "forecasts_sales"]


@pytest.mark.parametrize("figures", [None, "open", "staff"])
def test_figures_are_for_whom_the_settings_say(tmp_path: Path, figures: str | None) -> None:
    found = {
        operation["operationId"]: set(operation["x-access"])
        for operations in app_of(tmp_path, figures=figures).openapi()["paths"].values()
        for operation in operations.values()
    }
    wanted = {"staff", "admin", "reader"} | ({"anyone"} if figures != "staff" else set())
    assert {name: found[name] for name in FIGURES} == dict.fromkeys(FIGURES, wanted)
    assert found["quarantine_list"] == {"staff", "admin", "reader"}
    assert found["events_append"] == {"writer"}


def test_what_suits_one_machine_is_not_served_to_others(tmp_path: Path) -> None:
    keys = {"k" * 20: "main"}
    for told, named in (
        ({"write_keys": keys, "figures": "staff"}, "TILLSTREAM_READ_KEYS"),
        ({"read_keys": keys, "figures": "staff"}, "TILLSTREAM_WRITE_KEYS"),
        ({"read_keys": keys, "write_keys": keys}, "TILLSTREAM_FIGURES"),
    ):
        settings = Settings(home=tmp_path, api_host="0.0.0.0", **told)
        with pytest.raises(SettingsError, match=named):
            _check_before_listening(settings)
    for figures in ("open", "staff"):
        _check_before_listening(
            Settings(home=tmp_path, read_keys=keys, write_keys=keys, figures=figures)
        )
    _check_before_listening(Settings(home=tmp_path, read_keys={}, write_keys={}, figures="staff"))


def test_a_key_that_can_be_guessed_signs_nothing(tmp_path: Path) -> None:
    for key in ("secret", "x" * 31, f"{'x' * 40},secret", f"{'x' * 40},"):
        with pytest.raises(ValueError, match="32 letters"):
            Settings(home=tmp_path, token_key=key)
    Settings(home=tmp_path, token_key=f"{'x' * 32},{'y' * 32}")


def asking(tmp_path: Path, shop: str) -> HTTPConnection:
    """Somebody with a read key of `main`, who names a shop."""
    app = FastAPI()
    app.state.settings = Settings(home=tmp_path, read_keys={"key": "main"}, figures="staff")
    return HTTPConnection({
        "type": "http",
        "app": app,
        "headers": [(b"authorization", b"Bearer key")],
        "query_string": f"shop={shop}".encode(),
    })  # fmt: skip


@pytest.mark.parametrize("rule", [access.FIGURES, access.CUSTOMER_FIGURES, access.ORDERS])
async def test_figures_of_an_import_are_not_those_of_the_shop_it_belongs_to(
    tmp_path: Path, rule: Allow
) -> None:
    actor = await rule(asking(tmp_path, "main.sheet"), "main.sheet")
    assert (actor.role, actor.shop) == (Role.READER, "main.sheet")
    assert (await rule(asking(tmp_path, "main"), "main")).shop == "main"


def test_a_socket_hears_of_imports_of_the_shop_that_it_was_let_in_to(tmp_path: Path) -> None:
    admission = Admission(asking(tmp_path, "main"), Actor(Role.READER, "", "main"))
    admission.check("main")
    admission.check("main.sheet")
    for shop in ("other", "mainly", "main.sheet.more"):
        with pytest.raises(Refused):
            admission.check(shop)
