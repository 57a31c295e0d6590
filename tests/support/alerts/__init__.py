"""The proof of the alerts: an appliance with a sink for its messages, the injections, and what was measured."""
