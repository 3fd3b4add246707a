"""From text that people and programs edit to messages: the way back of `present`."""
