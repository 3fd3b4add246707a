"""Statistics of captures: messages and exchanges in, one Statistics value out."""
