"""Who somebody is: their credentials, sessions and tokens. None of it is on the log."""
