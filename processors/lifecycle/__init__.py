"""What becomes of alerts: who works on them, who is told of them, and when. Pure: no I/O and no clock."""
