"""Data: text, vocabularies, parallel streams."""
