alter function seda.live_lists(text, text[], bigint[], integer, timestamptz)
    reset enable_bitmapscan;
