"""Text for people: messages, events, exchanges and statistics as trees, lines and tables."""
