"""How long rows are kept, and their removal in steps so small that nobody waits for one."""
