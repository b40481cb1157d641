-- Events on their way to the log, committed together with what they tell of. A row waits until
-- Kafka has acknowledged it; then it has its position, and is kept for as long as Kafka might lose
-- what it acknowledged.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key bytea NOT NULL,
    event bytea NOT NULL,                  -- the record's value
    created_at timestamptz NOT NULL DEFAULT now(),
    topic_id uuid,
    partition int,
    record_offset bigint,
    acknowledged_at timestamptz
);
CREATE INDEX outbox_waiting ON outbox (id) WHERE acknowledged_at IS NULL;
CREATE INDEX outbox_position ON outbox (topic, partition, record_offset)
    WHERE acknowledged_at IS NOT NULL;
CREATE INDEX outbox_kept ON outbox (acknowledged_at) WHERE acknowledged_at IS NOT NULL;
