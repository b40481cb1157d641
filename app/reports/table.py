"""All reports there are, in one table: each is a route, a live subscription and an export.

Beside them the answers of the process that learns are live: these have routes of their own.
"""

from collections.abc import Mapping
from typing import Any

from app.reports import (
    calendar,
    currency_rates,
    customer_forecasts,
    customer_value,
    customers,
    demand,
    experiments,
    forecasts,
    metrics,
    months,
    operations,
    ratings,
    recommendations,
    records,
    sentiment,
    stock,
    traffic,
)
from app.reports.report import Report

REPORTS: Mapping[str, Report[Any]] = {
    report.name: report
    for report in (
        *metrics.reports(),
        *traffic.REPORTS,
        *stock.REPORTS,
        *demand.REPORTS,
        *ratings.REPORTS,
        *operations.REPORTS,
        *customers.REPORTS,
        *customer_value.REPORTS,
        *currency_rates.REPORTS,
        *calendar.REPORTS,
        *months.REPORTS,
        *records.REPORTS,
        *experiments.REPORTS,
    )
}

QUERIES: Mapping[str, Report[Any]] = {
    **REPORTS,
    **{
        query.name: query
        for query in (
            *(*forecasts.QUERIES, *customer_forecasts.QUERIES),
            *(*sentiment.QUERIES, *recommendations.QUERIES),
        )
    },
}
"""All that can be live by asking again."""
