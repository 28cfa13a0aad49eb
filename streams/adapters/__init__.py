"""Readers that turn a partner's files into events; nothing here talks to Kafka."""
