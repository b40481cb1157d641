"""The learner: one process that learns from the log, and answers the API from its memory."""
