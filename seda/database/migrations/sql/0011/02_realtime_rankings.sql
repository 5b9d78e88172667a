-- What a delta re-rank needs of a published list: how many candidates its signals were calibrated
-- over; and what keeps friends from counting twice: who was there then (presence, in [0, 1)), and
-- how many places of its list each item owes to them (lifts); empty where nobody was. Null in
-- generations that were published before.
alter table seda.mv_user_top_candidates
    add pool_size integer, add presence real[], add lifts real[];

-- A person's published list as it stands after what friends did since, an overlay on exactly one
-- generation: it counts while that one is served, and never replaces a row of it. Arrays are in the
-- list's published order, so what pages have served stays what it was: ranks say where each item
-- stands now (from 1), presence and lifts are as above; signals are the calibrated presence, which
-- in place of the published one gives the scores again.
create table seda.realtime_rankings (
    user_id uuid not null references seda.users (id) on delete cascade,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    generation bigint not null references seda.generations (generation),
    source text not null default 'real-time' check (source = 'real-time'),
    model_version text not null,
    ranks smallint[] not null,
    scores real[] not null,
    presence real[] not null,
    lifts real[] not null,
    signals real[] not null,
    computed_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (user_id, entity_type),
    check (cardinality(ranks) = cardinality(scores) and cardinality(ranks) = cardinality(presence)
           and cardinality(ranks) = cardinality(lifts) and cardinality(ranks) = cardinality(signals))
);
create index idx_realtime_rankings_expires on seda.realtime_rankings (expires_at);

alter table seda.realtime_rankings enable row level security;
alter table seda.realtime_rankings force row level security;
create policy own_select on seda.realtime_rankings for select to authenticated
    using (user_id = (select seda.current_user_id()));
grant select on seda.realtime_rankings to authenticated;
grant select, insert, update, delete on seda.realtime_rankings to service_role;

-- Who hides, leaves or is blocked moves nobody's list from that moment on, so what they may have
-- moved goes in the same transaction; the list as published, and who is there, are read again.
create function seda.forget_moved_lists() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_table_name = 'users' then
        delete from seda.realtime_rankings r using seda.friends f
        where f.friend_user_id = old.id and r.user_id = f.user_id;
    else
        delete from seda.realtime_rankings r
        where r.user_id in (old.user_id, old.friend_user_id, new.user_id, new.friend_user_id);
    end if;
    return null;
end
$$;
revoke execute on function seda.forget_moved_lists() from public;
create trigger forget_moved_lists after update of privacy_settings, deleted_at on seda.users
    for each row when (
        old.privacy_settings -> 'hide_presence' is distinct from
            new.privacy_settings -> 'hide_presence'
        or old.deleted_at is distinct from new.deleted_at)
    execute function seda.forget_moved_lists();
create trigger forget_lists_of_the_gone after delete on seda.users
    for each row execute function seda.forget_moved_lists();
create trigger forget_blocked_lists after insert on seda.friends
    for each row when (new.relationship_type = 'block')
    execute function seda.forget_moved_lists();
create trigger forget_ended_lists after delete on seda.friends
    for each row when (old.relationship_type = 'friend')
    execute function seda.forget_moved_lists();
