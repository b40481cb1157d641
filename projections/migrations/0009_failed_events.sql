-- Whose a record in quarantine is, where it says so: only with this shop's key it is shown.
ALTER TABLE quarantine ADD COLUMN shop text;
UPDATE quarantine SET shop = convert_from(value, 'UTF8')::json ->> 'shop' WHERE event_id IS NOT NULL;
CREATE INDEX quarantine_position ON quarantine (topic, partition, record_offset);
CREATE INDEX quarantine_latest ON quarantine (recorded_at, topic, partition, record_offset);

-- A record of the quarantine that was mended and sent again: at most once, through the outbox.
CREATE TABLE resubmissions (
    topic text NOT NULL,
    partition int NOT NULL,
    record_offset bigint NOT NULL,
    shop text NOT NULL,
    event_id text NOT NULL,                -- made of the record's position: the same at every try
    fingerprint bigint NOT NULL,           -- what was said, so that another saying is refused
    outbox_id bigint NOT NULL,
    new_topic text,                        -- where it stands, noted once Kafka has acknowledged it
    new_partition int,
    new_offset bigint,
    resubmitted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, record_offset)
);
CREATE INDEX resubmissions_on_their_way ON resubmissions (outbox_id) WHERE new_offset IS NULL;

-- Events on which a read model or a learner has failed. One stands for as long as its group has not
-- passed it.
CREATE TABLE failures (
    group_name text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    record_offset bigint NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    model text NOT NULL,
    error text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    times bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (group_name, topic, partition, record_offset)
);

-- Who let a group pass by an event, and why. Kept for good.
CREATE TABLE skips (
    group_name text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    record_offset bigint NOT NULL,
    reason text NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, topic, partition, record_offset)
);

-- Groups that read the same topic refuse the same records: each record once, with its groups, and
-- with what it was sent again as.
CREATE VIEW failed_events AS
SELECT found.topic, found.partition, found.record_offset, found.shop, found.event_id, found.field,
    found.reason, found.recorded_at, found.value, groups.names AS groups,
    again.event_id AS new_id, again.resubmitted_at, again.new_topic, again.new_partition,
    again.new_offset
FROM quarantine AS found
CROSS JOIN LATERAL (
    SELECT array_agg(group_name ORDER BY group_name) AS names FROM quarantine AS other
    WHERE (other.topic, other.partition, other.record_offset)
        = (found.topic, found.partition, found.record_offset)
) AS groups
LEFT JOIN resubmissions AS again USING (topic, partition, record_offset)
WHERE found.group_name = groups.names[1];
