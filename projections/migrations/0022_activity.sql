-- Who is behind a visitor's id (v:…), a cart (c:…) and an order (o:…). What a target begins with is
-- how well it is known: 0 a person, 1 a visitor, 2 a cart; the least holds.
CREATE TABLE visitor_links (
    shop text NOT NULL,
    alias text NOT NULL,
    target text COLLATE "C" NOT NULL,
    PRIMARY KEY (shop, alias)
);

-- Who was in the shop, when, and from where.
CREATE TABLE visitor_hours (
    shop text NOT NULL,
    hour timestamptz NOT NULL,             -- the beginning of an hour of the shop's clock
    source text NOT NULL,
    country text NOT NULL,
    bot boolean NOT NULL,
    visitor text NOT NULL,
    seen_at timestamptz NOT NULL,
    checkout_at timestamptz,
    ordered_at timestamptz,
    PRIMARY KEY (shop, hour, source, country, bot, visitor)
);
CREATE INDEX visitor_hours_ordered ON visitor_hours (shop, visitor, ordered_at)
    WHERE ordered_at IS NOT NULL;

-- How often whom has done what with a product; with product '', how often at all.
CREATE TABLE funnel (
    shop text NOT NULL,
    day date NOT NULL,
    product text NOT NULL,
    source text NOT NULL,
    country text NOT NULL,
    bot boolean NOT NULL,
    visitor text NOT NULL,
    viewed int NOT NULL,
    added int NOT NULL,
    checkout int NOT NULL,
    ordered int NOT NULL,
    PRIMARY KEY (shop, day, product, source, country, bot, visitor)
);

-- What became of carts, and what is in them.
CREATE TABLE cart_activity (
    shop text NOT NULL,
    cart_id text NOT NULL,
    ranked text COLLATE "C" NOT NULL,      -- whose it is, as a target of visitor_links
    source text COLLATE "C" NOT NULL,
    country text COLLATE "C" NOT NULL,
    bot boolean NOT NULL,
    commanded boolean NOT NULL,            -- the shop's own, who says itself what becomes of it
    changed_at timestamptz,
    abandoned_at timestamptz,
    revived_at timestamptz,
    merged_at timestamptz,
    ordered_at timestamptz,
    PRIMARY KEY (shop, cart_id)
);
CREATE INDEX cart_activity_by_change ON cart_activity (shop, changed_at);
CREATE TABLE cart_lines (
    shop text NOT NULL,
    cart_id text NOT NULL,
    product text NOT NULL,
    variant text NOT NULL,
    units bigint NOT NULL,                 -- added less removed
    currency text COLLATE "C" NOT NULL,
    priced_at timestamptz,
    priced_by text COLLATE "C",
    price numeric,
    PRIMARY KEY (shop, cart_id, product, variant)
);

-- Sales while they happen.
CREATE TABLE sales_minutes (
    shop text NOT NULL,
    minute timestamptz NOT NULL,
    country text NOT NULL,
    currency text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    orders bigint NOT NULL,
    PRIMARY KEY (shop, minute, country, currency)
);
