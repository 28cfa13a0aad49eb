"""A backup of a whole platform through its own interfaces, and its restoration onto an empty one."""
