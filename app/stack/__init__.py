"""The local stack: Kafka, Postgres, Redis and our own processes, started and stopped as one."""
