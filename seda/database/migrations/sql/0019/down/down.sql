drop function seda.record_pages(uuid[], text[], text[], timestamptz[], text[], bigint[], text[],
    integer[], integer[], uuid[], uuid[], boolean[], boolean[]);
