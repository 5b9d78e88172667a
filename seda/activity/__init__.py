"""What people did: counts, memberships, events, and the snapshot of a region that a run works on."""
