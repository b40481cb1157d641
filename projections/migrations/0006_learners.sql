-- In which order a group of learners has learned the chunks of its partitions. No order holds between
-- partitions but this one: the same log and journal give the same models.
CREATE TABLE learner_journal (
    group_name text NOT NULL,
    seq bigint NOT NULL,                   -- counted up by one; who finds it taken was overtaken
    topic text NOT NULL,
    partition int NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (group_name, seq)
);

-- The models after everything up to `seq` in the journal, signed.
CREATE TABLE learner_snapshots (
    group_name text NOT NULL,
    seq bigint NOT NULL,
    taken_at timestamptz NOT NULL,
    header bytea NOT NULL,
    body bytea NOT NULL,
    signature bytea NOT NULL,
    PRIMARY KEY (group_name, seq)
);
ALTER TABLE learner_snapshots ALTER COLUMN body SET STORAGE EXTERNAL;  -- it is compressed already

-- Where the process that holds a group's lock answers.
CREATE TABLE learner_addresses (
    group_name text PRIMARY KEY,
    address text NOT NULL,
    since timestamptz NOT NULL
);
