"""The server's side of connections: recorded and scripted answers for clients under test."""
