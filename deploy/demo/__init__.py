"""Simulated partners: background traffic over real places, and scripted scenarios whose alerts are known."""
