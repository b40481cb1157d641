-- How far each group has read each partition, moved in the transaction that applies the records.
CREATE TABLE progress (
    group_name text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    topic_id uuid NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0,
    last_digest bigint,                    -- of the record at next_offset - 1
    applied bigint NOT NULL DEFAULT 0,     -- applied + repeated + quarantined = records read
    repeated bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    complete_to timestamptz,
    PRIMARY KEY (group_name, topic, partition)
);

-- Records that are no events, whole, with the reason.
CREATE TABLE quarantine (
    group_name text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    record_offset bigint NOT NULL,
    event_id text,
    field text NOT NULL,
    reason text NOT NULL,
    key bytea,
    value bytea,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (group_name, topic, partition, record_offset)
);

-- A read model's code has a version; its table has a generation, new after each rebuild.
CREATE TABLE read_models (
    name text PRIMARY KEY,
    version int NOT NULL,
    generation bigint NOT NULL
);
