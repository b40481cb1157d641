"""What is put against the running service: the simulator and the benchmarks."""
