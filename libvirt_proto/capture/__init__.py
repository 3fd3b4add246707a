"""Sources of bytes, all of which give Chunks and Notices; and the way from those to messages."""
