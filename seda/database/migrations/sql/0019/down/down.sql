drop function seda.record_pages(uuid[], text[], text[], timestamptz[], text[], bigint[],
    text[], text[], text[], text[], text[], text[]);
