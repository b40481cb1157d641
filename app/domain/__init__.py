"""What a shop decides: pure functions of states and commands, without any framework."""
