drop trigger person_changed on seda.users;
drop trigger friends_made on seda.friends;
drop trigger friends_changed on seda.friends;
drop trigger friends_parted on seda.friends;
drop function seda.tell_person_changed(), seda.tell_friends_changed(), seda.circles(uuid[]),
    seda.reap_processes(interval, timestamptz),
    seda.register_process(uuid, uuid[], uuid[], integer[], timestamptz),
    seda.take_intents(uuid, uuid[], uuid[], bytea[], text[], text[], uuid[], integer[],
                      timestamptz[], interval, timestamptz),
    seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz, interval),
    seda.shift_presence(uuid, uuid[], uuid[], integer[], boolean[], timestamptz[], interval,
                        timestamptz),
    seda.release_held_presence(timestamptz, uuid[], uuid[]),
    seda.announce_presence(text, uuid[], uuid[], timestamptz[]);
alter table seda.room_presence drop column departure;
drop table seda.realtime_sessions, seda.presence_holds, seda.realtime_processes;

-- Takes out who held a presence and never left. What another transaction is moving stays.
create function seda.release_held_presence(at timestamptz) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    released integer;
begin
    with over as (
        select p.room_id, p.user_id from seda.room_presence p
        where p.held_until <= at order by p.held_until limit 1000 for update skip locked
    ), kept as (
        update seda.room_presence p set held_until = null from over o
        where p.room_id = o.room_id and p.user_id = o.user_id and p.connections > 0
    ), gone as (
        delete from seda.room_presence p using over o
        where p.room_id = o.room_id and p.user_id = o.user_id and p.connections = 0
        returning 1
    )
    select count(*) into released from gone;
    return released;
end
$$;

-- The caller's own joins and leaves, one per room. A leave that is older than the join that holds
-- the presence changes nothing.
create function seda.move_presence(
    room_ids uuid[], joins boolean[], moments timestamptz[], held interval, at timestamptz
) returns void language plpgsql security definer set search_path = '' as $$
declare
    me uuid := (select seda.current_user_id());
begin
    -- In one order, so that two batches of one person cannot deadlock.
    perform from seda.room_presence p
    where p.user_id = me and p.room_id = any (room_ids) order by p.room_id for update;
    insert into seda.room_presence as p
        (room_id, user_id, connections, joined_at, last_seen_at, held_until)
    select r.id, me, 0, m.moment, m.moment, m.moment + held
    from unnest(room_ids, joins, moments) as m(room_id, joins, moment)
    join seda.rooms r on r.id = m.room_id and r.deleted_at is null
    where m.joins and m.moment + held > at and me is not null
    order by r.id
    on conflict (room_id, user_id) do update
    set held_until = greatest(p.held_until, excluded.held_until),
        last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at);
    with leaving as (
        select m.room_id, m.moment from unnest(room_ids, joins, moments)
            as m(room_id, joins, moment) where not m.joins
    ), kept as (
        update seda.room_presence p set held_until = null from leaving l
        where p.user_id = me and p.room_id = l.room_id and p.connections > 0
          and p.held_until <= l.moment + held
    )
    delete from seda.room_presence p using leaving l
    where p.user_id = me and p.room_id = l.room_id and p.connections = 0
      and p.held_until <= l.moment + held;
    perform seda.release_held_presence(at);
end
$$;

revoke execute on function seda.release_held_presence(timestamptz),
    seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz) from public;
grant execute on function seda.release_held_presence(timestamptz) to service_role;
grant execute on function
    seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz) to authenticated;
