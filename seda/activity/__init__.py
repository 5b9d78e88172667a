"""What people did: counts, memberships, events; and the region's snapshot that a run works on."""
