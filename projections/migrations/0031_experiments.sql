-- What a command decides about: experiments, as they were told last.
CREATE TABLE experiments (LIKE products INCLUDING ALL);

-- All that was told of each experiment, in the order of the log.
CREATE TABLE experiment_terms (
    shop text NOT NULL,
    experiment_id text NOT NULL,
    record_offset bigint NOT NULL,         -- in `days`, which is one partition
    told_at timestamptz NOT NULL,
    stopped boolean NOT NULL,
    terms jsonb NOT NULL,                  -- the event's own fields
    PRIMARY KEY (shop, experiment_id, record_offset)
);

-- When each unit first came to see an arm: of those few that came to see several, each.
CREATE TABLE experiment_exposures (
    shop text NOT NULL,
    experiment_id text NOT NULL,
    unit text NOT NULL,
    arm text NOT NULL,
    exposed_at timestamptz NOT NULL,
    ranked text COLLATE "C" NOT NULL,      -- who it is, as a target of visitor_links
    bot boolean NOT NULL,
    PRIMARY KEY (shop, experiment_id, unit, arm)
);

-- When somebody did what an experiment may be about.
CREATE TABLE goal_moments (
    shop text NOT NULL,
    goal text NOT NULL,                    -- the type of the event
    at timestamptz NOT NULL,
    visitor text NOT NULL,
    PRIMARY KEY (shop, goal, at, visitor)
);

-- Orders since an experiment has begun.
CREATE INDEX orders_by_completion ON orders USING brin (completed_at);
