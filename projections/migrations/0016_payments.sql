-- The webhooks of Stripe that were heard, so that a repeat does nothing.
CREATE TABLE stripe_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX stripe_events_kept ON stripe_events (received_at);

-- What is looked for every second: refunds that are to be made, and intents that are not paid.
CREATE INDEX shop_orders_refunds_owed ON shop_orders (changed_at)
    WHERE state @? '$.payment.refunds.* ? (@.status == "requested")';
CREATE INDEX shop_orders_refunds_failed ON shop_orders (shop, created_at DESC, id DESC)
    WHERE state @? '$.payment.refunds.* ? (@.status == "failed")';
CREATE INDEX shop_orders_intents_open ON shop_orders (changed_at)
    WHERE state @? '$.payment.intents.* ? (@.status != "paid" && !(@.reason == "canceled"))';
