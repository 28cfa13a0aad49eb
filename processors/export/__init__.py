"""Alerts in the formats of others: STIX 2.1 bundles and CAP 1.2 messages. Pure functions of the stored records."""
