"""Numbers about the running assistant for Prometheus, on this machine alone (``health.metrics``, docs/metrics.md)."""
