-- A topic that was created anew has other records at the same positions, on which nobody has failed
-- and which nobody has told a group to pass by: both are known by the topic's id, too.
ALTER TABLE skips ADD COLUMN topic_id uuid;
ALTER TABLE failures ADD COLUMN topic_id uuid;
UPDATE skips SET topic_id = coalesce(
    (
        SELECT topic_id FROM progress
        WHERE (progress.group_name, progress.topic, progress.partition)
            = (skips.group_name, skips.topic, skips.partition)
    ),
    '00000000-0000-0000-0000-000000000000'
);
UPDATE failures SET topic_id = coalesce(
    (
        SELECT topic_id FROM progress
        WHERE (progress.group_name, progress.topic, progress.partition)
            = (failures.group_name, failures.topic, failures.partition)
    ),
    '00000000-0000-0000-0000-000000000000'
);
ALTER TABLE skips
    ALTER COLUMN topic_id SET NOT NULL,
    DROP CONSTRAINT skips_pkey,
    ADD PRIMARY KEY (group_name, topic, partition, record_offset, topic_id);
ALTER TABLE failures
    ALTER COLUMN topic_id SET NOT NULL,
    DROP CONSTRAINT failures_pkey,
    ADD PRIMARY KEY (group_name, topic, partition, record_offset, topic_id);
