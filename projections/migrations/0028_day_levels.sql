-- Whether a day was told at every level there is. Earlier versions told it in total and by category
-- alone: the closer looks at such days once more, and tells what is missing.
ALTER TABLE days ADD COLUMN every_level boolean NOT NULL DEFAULT false;
