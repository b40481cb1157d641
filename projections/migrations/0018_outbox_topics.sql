-- Whether rows have the id of another topic is asked each minute: of the least and the greatest.
CREATE INDEX outbox_topic ON outbox (topic, topic_id) WHERE acknowledged_at IS NOT NULL;
