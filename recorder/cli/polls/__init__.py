"""The commands of what is polled."""
