"""The benches: `make bench` runs them all; main.py says what each of them measures."""
