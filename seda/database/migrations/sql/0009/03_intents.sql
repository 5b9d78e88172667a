-- Intents of many connections of one process, in one commit. A repeated intent is no second event,
-- but may still move: its connection is a new one. Outcomes in the order of the intents: taken,
-- reused (the id stands for something else), unknown (no such entity).
create function seda.take_intents(
    process uuid, event_ids uuid[], user_ids uuid[], body_hashes bytea[], kinds text[],
    entity_types text[], entity_ids uuid[], shifts integer[], moments timestamptz[],
    linger interval, at timestamptz
) returns text[] language plpgsql set search_path = ''
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    known boolean[];
    fresh uuid[];
    outcomes text[];
    movers integer[];
begin
    select array_agg(case entity_type
        when 'artist' then exists (
            select from seda.artists a where a.id = entity_id and a.deleted_at is null)
        when 'playlist' then exists (
            select from seda.playlists p where p.id = entity_id and p.deleted_at is null)
        else exists (select from seda.rooms r where r.id = entity_id and r.deleted_at is null)
        end order by n)
    into known
    from unnest(entity_types, entity_ids) with ordinality as e(entity_type, entity_id, n);
    -- Sorted, so that two batches with the same ids wait for each other and do not deadlock. A room
    -- may close while people are inside: leaving it must still work.
    with received as (
        insert into seda.event_receipts (event_id, user_id, body_hash)
        select event_id, user_id, body_hash
        from unnest(event_ids, user_ids, body_hashes, kinds, known)
            as e(event_id, user_id, body_hash, kind, known)
        where known or kind = 'leave' order by event_id
        on conflict (event_id) do nothing returning event_id
    )
    select array_agg(event_id) into fresh from received;
    select array_agg(case when r.event_id is null then 'unknown'
                          when r.user_id = e.user_id and r.body_hash = e.body_hash then 'taken'
                          else 'reused' end order by e.n)
    into outcomes
    from unnest(event_ids, user_ids, body_hashes) with ordinality
        as e(event_id, user_id, body_hash, n)
    left join seda.event_receipts r on r.event_id = e.event_id;
    insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, occurred_at)
    select event_id, user_id, kind, entity_type, entity_id, moment from (
        select distinct on (e.event_id) e.*
        from unnest(event_ids, user_ids, kinds, entity_types, entity_ids, moments, known, outcomes)
            with ordinality as e(event_id, user_id, kind, entity_type, entity_id, moment, known,
                                 outcome, n)
        where e.known and e.outcome = 'taken' and e.event_id = any (fresh)
        order by e.event_id, e.n) accepted
    order by n;
    select array_agg(n) into movers
    from unnest(shifts, outcomes) with ordinality as e(shift, outcome, n)
    where shift <> 0 and outcome = 'taken';
    if movers is not null then
        perform seda.shift_presence(process,
            array(select user_ids[n] from unnest(movers) as n),
            array(select entity_ids[n] from unnest(movers) as n),
            array(select shifts[n] from unnest(movers) as n),
            array_fill(true, array[cardinality(movers)]),
            array(select moments[n] from unnest(movers) as n), linger, at);
    end if;
    return outcomes;
end
$$;

-- A process begins, or begins again with what its connections hold.
create function seda.register_process(
    process uuid, user_ids uuid[], room_ids uuid[], connections integer[], at timestamptz
) returns void language plpgsql set search_path = '' as $$
begin
    insert into seda.realtime_processes (id, started_at, last_seen_at) values (process, at, at)
    on conflict (id) do nothing;
    if found and cardinality(user_ids) > 0 then
        perform seda.shift_presence(process, user_ids, room_ids, connections,
            array_fill(true, array[cardinality(user_ids)]),
            array_fill(at, array[cardinality(user_ids)]), '0', at);
    end if;
end
$$;

-- Gives up what silent processes held, with a leave where nobody else holds it; who said that they
-- leave, to another process after this one had died, has had theirs. How many processes they were.
create function seda.reap_processes(silence interval, at timestamptz) returns integer
language plpgsql set search_path = '' as $$
declare
    dead uuid;
    reaped integer := 0;
begin
    for dead in select id from seda.realtime_processes where last_seen_at < at - silence
                order by id for update skip locked
    loop
        perform seda.shift_presence(dead, array_agg(h.user_id), array_agg(h.room_id),
            array_agg(-h.connections), array_agg('leave' is not distinct from (
                select e.kind from seda.social_events e
                where e.user_id = h.user_id and e.entity_id = h.room_id
                  and e.kind in ('join', 'leave')
                order by e.received_at desc, e.id desc limit 1)), array_agg(at), '0', at)
        from seda.presence_holds h where h.process_id = dead having count(*) > 0;
        delete from seda.realtime_processes where id = dead;
        reaped := reaped + 1;
    end loop;
    return reaped;
end
$$;

revoke execute on function
    seda.take_intents(uuid, uuid[], uuid[], bytea[], text[], text[], uuid[], integer[],
                      timestamptz[], interval, timestamptz),
    seda.register_process(uuid, uuid[], uuid[], integer[], timestamptz),
    seda.reap_processes(interval, timestamptz) from public;
grant execute on function
    seda.take_intents(uuid, uuid[], uuid[], bytea[], text[], text[], uuid[], integer[],
                      timestamptz[], interval, timestamptz),
    seda.register_process(uuid, uuid[], uuid[], integer[], timestamptz),
    seda.reap_processes(interval, timestamptz) to service_role;
