"""Telling people: what a message says, the channels that carry it, and delivery that tries until somebody has it."""
