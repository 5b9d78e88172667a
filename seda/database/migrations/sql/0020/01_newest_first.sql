-- A plan that was made while a table was empty is kept, and then it sorted all that a person saw in a
-- day to find the newest 200: the index gives them in that order, and the scan stops there.
alter function seda.live_lists(text, text[], bigint[], integer, timestamptz)
    set enable_bitmapscan = off;
