-- What changed, to every real-time process once it is committed: the transaction, then for each
-- change its kind (+ came, - left, ~ will have left by then), actor, room, and microseconds since
-- 1970. A payload is less than 8,000 bytes.
create function seda.announce_presence(
    kind text, user_ids uuid[], room_ids uuid[], moments timestamptz[]
) returns void language plpgsql set search_path = '' as $$
begin
    perform pg_notify('seda_presence',
        pg_current_xact_id()::text || ' ' || string_agg(line, ' ' order by n))
    from (
        select n, kind || replace(user_id::text, '-', '') || replace(room_id::text, '-', '')
                  || (extract(epoch from moment) * 1000000)::bigint as line
        from unnest(user_ids, room_ids, moments)
            with ordinality as c(user_id, room_id, moment, n)
    ) lines group by (n - 1) / 90;
end
$$;

-- Rows are found one by one, by index, whatever a plan that was made on empty tables believes: hence
-- the lateral sub-selects with `offset 0`, and updates by ctid of what this transaction has locked.

-- Takes out who held a presence and never left, and who has lingered: of everybody, or of some
-- people in some rooms. What another transaction is moving stays.
drop function seda.release_held_presence(timestamptz);
create function seda.release_held_presence(
    at timestamptz, only_users uuid[] default null, only_rooms uuid[] default null
) returns integer language plpgsql security definer set search_path = ''
set enable_seqscan = off as $$
#variable_conflict use_column
declare
    rooms uuid[];
    people uuid[];
    moments timestamptz[];
begin
    if only_users is null then
        select array_agg(room_id), array_agg(user_id) into rooms, people from (
            select p.room_id, p.user_id from seda.room_presence p
            where p.held_until <= at order by p.held_until limit 1000 for update skip locked) o;
    else  -- whoever names them has locked them
        select array_agg(room_id), array_agg(user_id) into rooms, people from (
            select p.room_id, p.user_id
            from unnest(only_users, only_rooms) as o(user_id, room_id)
            cross join lateral (
                select * from seda.room_presence l
                where l.room_id = o.room_id and l.user_id = o.user_id offset 0) p
            where p.held_until <= at) o;
    end if;
    if rooms is null then
        return 0;
    end if;
    with found as materialized (
        select p.tid from unnest(rooms, people) as o(room_id, user_id)
        cross join lateral (
            select l.ctid as tid, l.connections from seda.room_presence l
            where l.room_id = o.room_id and l.user_id = o.user_id offset 0) p
        where p.connections > 0
    )
    update seda.room_presence p set held_until = null, departure = null
    from found where p.ctid = found.tid;
    with found as materialized (
        select p.tid from unnest(rooms, people) as o(room_id, user_id)
        cross join lateral (
            select l.ctid as tid, l.connections from seda.room_presence l
            where l.room_id = o.room_id and l.user_id = o.user_id offset 0) p
        where p.connections = 0
    ), gone as (
        delete from seda.room_presence p using found where p.ctid = found.tid
        returning p.room_id, p.user_id, p.held_until, p.departure
    ), made as materialized (
        select gen_random_uuid() as event_id, g.* from gone g where departure is distinct from 'said'
    ), received as (
        insert into seda.event_receipts (event_id, user_id, body_hash)
        select event_id, user_id, sha256(convert_to('leave room ' || room_id, 'UTF8')) from made
    ), written as (
        insert into seda.social_events
            (event_id, user_id, kind, entity_type, entity_id, occurred_at)
        select event_id, user_id, 'leave', 'room', room_id, held_until from made
    )
    select array_agg(room_id order by held_until), array_agg(user_id order by held_until),
           array_agg(held_until order by held_until)
    into rooms, people, moments from gone;
    if rooms is null then
        return 0;
    end if;
    perform seda.announce_presence('-', people, rooms, moments);
    return cardinality(rooms);
end
$$;

-- Connections of a process that came (1) or went (-1), many at once. What is no event yet (not
-- said) becomes one if nobody comes back while the leave lingers.
create function seda.shift_presence(
    process uuid, user_ids uuid[], room_ids uuid[], shifts integer[], said boolean[],
    moments timestamptz[], linger interval, at timestamptz
) returns void language plpgsql set search_path = ''
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    who uuid[];
    place uuid[];
    delta integer[];
    since timestamptz[];
    spoken boolean[];
    people uuid[];
    rooms uuid[];
    times timestamptz[];
begin
    -- A process that was given up counts for nothing until it has registered again.
    perform from seda.realtime_processes where id = process for key share;
    if not found then
        raise exception 'this process is not registered' using errcode = 'SD001';
    end if;
    select array_agg(user_id), array_agg(room_id), array_agg(delta), array_agg(since),
           array_agg(spoken)
    into who, place, delta, since, spoken
    from (
        select m.user_id, m.room_id, sum(m.shift)::integer as delta, min(m.moment) as since,
               bool_and(m.said) as spoken
        from unnest(user_ids, room_ids, shifts, said, moments)
            as m(user_id, room_id, shift, said, moment)
        where (select true from seda.rooms r where r.id = m.room_id)
          and (select true from seda.users u where u.id = m.user_id)
        group by m.user_id, m.room_id having sum(m.shift) <> 0
        order by m.room_id, m.user_id) moved;
    if who is null then
        return;
    end if;
    -- In one order, so that two processes cannot deadlock.
    perform from unnest(who, place) as m(user_id, room_id)
    cross join lateral (
        select from seda.room_presence l
        where l.room_id = m.room_id and l.user_id = m.user_id for update) p;
    perform seda.release_held_presence(at, who, place);

    insert into seda.presence_holds as h (process_id, room_id, user_id, connections)
    select process, m.room_id, m.user_id, m.shift
    from unnest(who, place, delta) as m(user_id, room_id, shift) where m.shift > 0
    on conflict (process_id, room_id, user_id) do update
    set connections = h.connections + excluded.connections;
    with found as materialized (
        select h.tid from unnest(who, place, delta) as m(user_id, room_id, shift)
        cross join lateral (
            select l.ctid as tid, l.connections from seda.presence_holds l
            where l.process_id = process and l.room_id = m.room_id and l.user_id = m.user_id
            offset 0) h
        where m.shift < 0 and h.connections + m.shift <= 0
    )
    delete from seda.presence_holds h using found where h.ctid = found.tid;
    with found as materialized (
        select h.tid, m.shift from unnest(who, place, delta) as m(user_id, room_id, shift)
        cross join lateral (
            select l.ctid as tid from seda.presence_holds l
            where l.process_id = process and l.room_id = m.room_id and l.user_id = m.user_id
            offset 0) h
        where m.shift < 0
    )
    update seda.presence_holds h set connections = h.connections + found.shift
    from found where h.ctid = found.tid;

    with entered as (
        insert into seda.room_presence as p (room_id, user_id, connections, joined_at, last_seen_at)
        select m.room_id, m.user_id, m.shift, m.since, m.since
        from unnest(who, place, delta, since) as m(user_id, room_id, shift, since) where m.shift > 0
        on conflict (room_id, user_id) do update
        set connections = p.connections + excluded.connections, departure = null,
            last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at)
        returning room_id, user_id, joined_at, xmax = 0 as fresh
    )
    select array_agg(user_id), array_agg(room_id), array_agg(joined_at) into people, rooms, times
    from entered where fresh;
    if people is not null then
        perform seda.announce_presence('+', people, rooms, times);
    end if;

    with found as materialized (
        select p.tid, m.shift, m.since, m.spoken
        from unnest(who, place, delta, since, spoken)
            as m(user_id, room_id, shift, since, spoken)
        cross join lateral (
            select l.ctid as tid from seda.room_presence l
            where l.room_id = m.room_id and l.user_id = m.user_id offset 0) p
        where m.shift < 0
    ), going as (
        update seda.room_presence p
        set connections = greatest(p.connections + m.shift, 0),
            held_until = case when p.connections + m.shift > 0 then p.held_until
                              else greatest(p.held_until, m.since + linger) end,
            departure = case when p.connections + m.shift > 0 or p.held_until > m.since + linger
                             then p.departure when m.spoken then 'said' else 'lost' end
        from found m where p.ctid = m.tid
        returning p.room_id, p.user_id, p.connections, p.held_until
    )
    select array_agg(user_id), array_agg(room_id), array_agg(held_until)
    into people, rooms, times from going where connections = 0;
    if people is not null then
        if seda.release_held_presence(at, people, rooms) < cardinality(people) then
            perform seda.announce_presence('~', people, rooms, times);
        end if;
    end if;
end
$$;

-- The caller's own joins and leaves, one per room. A leave that is older than the join that holds
-- the presence changes nothing; one that counts lingers.
drop function seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz);
create function seda.move_presence(
    room_ids uuid[], joins boolean[], moments timestamptz[], held interval, at timestamptz,
    linger interval default '0'
) returns void language plpgsql security definer set search_path = ''
set enable_seqscan = off as $$
#variable_conflict use_column
declare
    me uuid := (select seda.current_user_id());
    mine uuid[] := array_fill(me, array[cardinality(room_ids)]);
    rooms uuid[];
    times timestamptz[];
begin
    if me is null then
        return;
    end if;
    -- In one order, so that two batches of one person cannot deadlock.
    perform from seda.room_presence p
    where p.user_id = me and p.room_id = any (room_ids) order by p.room_id for update;
    perform seda.release_held_presence(at, mine, room_ids);
    with entered as (
        insert into seda.room_presence as p
            (room_id, user_id, connections, joined_at, last_seen_at, held_until)
        select r.id, me, 0, at, m.moment, m.moment + held
        from unnest(room_ids, joins, moments) as m(room_id, joins, moment)
        join seda.rooms r on r.id = m.room_id and r.deleted_at is null
        where m.joins and m.moment + held > at
        order by r.id
        on conflict (room_id, user_id) do update
        set held_until = greatest(p.held_until, excluded.held_until), departure = null,
            last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at)
        returning room_id, joined_at, xmax = 0 as fresh
    )
    select array_agg(room_id), array_agg(joined_at) into rooms, times from entered where fresh;
    if rooms is not null then
        perform seda.announce_presence('+', mine[:cardinality(rooms)], rooms, times);
    end if;
    update seda.room_presence p set held_until = null
    from unnest(room_ids, joins, moments) as l(room_id, joins, moment)
    where not l.joins and p.user_id = me and p.room_id = l.room_id and p.connections > 0
      and p.held_until <= l.moment + held;
    with going as (
        update seda.room_presence p
        set held_until = least(p.held_until, at + linger), departure = 'said'
        from unnest(room_ids, joins, moments) as l(room_id, joins, moment)
        where not l.joins and p.user_id = me and p.room_id = l.room_id and p.connections = 0
          and p.held_until <= l.moment + held
        returning p.room_id, p.held_until
    )
    select array_agg(room_id), array_agg(held_until) into rooms, times from going;
    if rooms is not null and linger > interval '0' then
        perform seda.announce_presence('~', mine[:cardinality(rooms)], rooms, times);
    end if;
    perform seda.release_held_presence(at);
end
$$;

revoke execute on function
    seda.announce_presence(text, uuid[], uuid[], timestamptz[]),
    seda.release_held_presence(timestamptz, uuid[], uuid[]),
    seda.shift_presence(uuid, uuid[], uuid[], integer[], boolean[], timestamptz[], interval,
                        timestamptz),
    seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz, interval)
    from public;
grant execute on function
    seda.announce_presence(text, uuid[], uuid[], timestamptz[]),
    seda.release_held_presence(timestamptz, uuid[], uuid[]),
    seda.shift_presence(uuid, uuid[], uuid[], integer[], boolean[], timestamptz[], interval,
                        timestamptz)
    to service_role;
grant execute on function
    seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz, interval)
    to authenticated;
