-- A topic that was created anew has other records at the same positions: what was sent again is
-- known by the topic's id, too. It is that of the topic which the group of the record reads.
ALTER TABLE resubmissions ADD COLUMN topic_id uuid;
UPDATE resubmissions AS again SET topic_id = coalesce(
    (
        SELECT topic_id FROM progress
        WHERE (progress.topic, progress.partition) = (again.topic, again.partition) LIMIT 1
    ),
    '00000000-0000-0000-0000-000000000000'
);
ALTER TABLE resubmissions
    ALTER COLUMN topic_id SET NOT NULL,
    DROP CONSTRAINT resubmissions_pkey,
    ADD PRIMARY KEY (topic, partition, record_offset, topic_id);

CREATE OR REPLACE VIEW failed_events AS
SELECT found.topic, found.partition, found.record_offset, found.shop, found.event_id, found.field,
    found.reason, found.recorded_at, found.value, groups.names AS groups,
    again.event_id AS new_id, again.resubmitted_at, again.new_topic, again.new_partition,
    again.new_offset, incarnation.topic_id
FROM quarantine AS found
CROSS JOIN LATERAL (
    SELECT array_agg(group_name ORDER BY group_name) AS names FROM quarantine AS other
    WHERE (other.topic, other.partition, other.record_offset)
        = (found.topic, found.partition, found.record_offset)
) AS groups
CROSS JOIN LATERAL (
    SELECT coalesce(
        (
            SELECT topic_id FROM progress
            WHERE (progress.group_name, progress.topic, progress.partition)
                = (found.group_name, found.topic, found.partition)
        ),
        '00000000-0000-0000-0000-000000000000'
    ) AS topic_id
) AS incarnation
LEFT JOIN resubmissions AS again
    ON (again.topic, again.partition, again.record_offset, again.topic_id)
        = (found.topic, found.partition, found.record_offset, incarnation.topic_id)
WHERE found.group_name = groups.names[1];
