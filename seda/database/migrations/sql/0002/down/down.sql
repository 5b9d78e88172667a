-- What the older version knows of: a request that was sent counts as spent.
update seda.embedding_spend set state = 'settled', settled_at = coalesce(settled_at, sent_at)
where state = 'sent';
drop function seda.embedding_health(timestamptz);
revoke usage on schema seda from seda_api;
do $$
declare
    relation text;
begin
    foreach relation in array
        array['artists', 'artist_genres', 'playlists', 'playlist_artists', 'rooms']
    loop
        execute format('drop trigger log_inserted on seda.%1$I; drop trigger log_updated on '
                       'seda.%1$I; drop trigger log_deleted on seda.%1$I', relation);
    end loop;
end
$$;
drop function seda.log_catalogue_change();
drop table seda.catalogue_changes, seda.embedding_queue, seda.circuit_breaker_transitions,
    seda.circuit_breakers, seda.embedding_budget_overrides;
drop function seda.refuse_unapproved_override();
drop index seda.idx_embedding_spend_open, seda.idx_embedding_spend_answered;
alter table seda.embedding_spend drop column texts, drop column sent_at, drop column outcome,
    drop column latency_seconds, drop column answered_at,
    alter column usd type numeric(12, 6),
    drop constraint embedding_spend_state_check,
    add constraint embedding_spend_state_check
        check (state in ('reserved', 'settled', 'released'));
