"""Data: text, vocabularies, parallel streams, tasks of memory."""
