"""Statistics over messages: counts, latencies, what was negotiated, how near to the limits it came."""
