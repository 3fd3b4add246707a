"""Metrics of an endless input: counters of messages, exchanges and connections, exposed to Prometheus."""
