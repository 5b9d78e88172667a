-- The people whose presence a viewer may be told of, as seda.friends_presence sees them: friends
-- both ways who are there, without a block either way; who hides is marked, never named.
create function seda.circles(viewer_ids uuid[])
returns table (viewer_id uuid, friend_id uuid, name text, avatar_url text, hidden boolean)
language sql stable set search_path = ''
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    select viewer.id, u.id, u.display_name, u.avatar_url,
           coalesce(u.privacy_settings -> 'hide_presence', 'false') <> 'false'
    from unnest(viewer_ids) as viewer(id)
    cross join lateral (
        select f.friend_user_id from seda.friends f
        where f.user_id = viewer.id and f.relationship_type = 'friend' offset 0) friend
    cross join lateral (
        select * from seda.users p
        where p.id = friend.friend_user_id and p.deleted_at is null offset 0) u
    where (select true from seda.friends back
           where back.user_id = u.id and back.friend_user_id = viewer.id
             and back.relationship_type = 'friend')
      and (select true from seda.friends b
           where b.user_id = viewer.id and b.friend_user_id = u.id
             and b.relationship_type = 'block') is null
      and (select true from seda.friends b
           where b.user_id = u.id and b.friend_user_id = viewer.id
             and b.relationship_type = 'block') is null
$$;
revoke execute on function seda.circles(uuid[]) from public;
grant execute on function seda.circles(uuid[]) to service_role;

-- Whose circles are no longer what they were: people (=), everybody who knows a person (~), or all.
create function seda.tell_friends_changed() returns trigger
language plpgsql set search_path = '' as $$
begin
    perform pg_notify('seda_circles', case when count(*) > 100 then '*'
        else string_agg('=' || user_id || ' =' || friend_user_id, ' ') end)
    from changed having count(*) > 0;
    return null;
end
$$;
create trigger friends_made after insert on seda.friends referencing new table as changed
    for each statement execute function seda.tell_friends_changed();
create trigger friends_changed after update on seda.friends referencing new table as changed
    for each statement execute function seda.tell_friends_changed();
create trigger friends_parted after delete on seda.friends referencing old table as changed
    for each statement execute function seda.tell_friends_changed();

create function seda.tell_person_changed() returns trigger
language plpgsql set search_path = '' as $$
begin
    perform pg_notify('seda_circles', '~' || new.id);
    return null;
end
$$;
create trigger person_changed
    after update of privacy_settings, display_name, avatar_url, deleted_at on seda.users
    for each row when (
        (old.privacy_settings, old.display_name, old.avatar_url, old.deleted_at)
        is distinct from
        (new.privacy_settings, new.display_name, new.avatar_url, new.deleted_at))
    execute function seda.tell_person_changed();

-- As before (SOC-4); friends are so both ways, and who merely held a presence that has lapsed is
-- not there.
create or replace function seda.friends_presence(room_ids uuid[])
returns table (room_id uuid, friend_count integer, friends jsonb, seen_at timestamptz[])
language plpgsql stable security definer set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
declare
    me uuid := (select seda.current_user_id());
begin
    -- Friend by friend, by index: there are few of them, and a join would read all presence.
    if not exists (
        select from seda.friends f
        where f.user_id = me and f.relationship_type = 'friend' and (
            select true from seda.room_presence p
            where p.user_id = f.friend_user_id and p.room_id = any (room_ids) limit 1))
    then
        return;
    end if;
    return query
    with known as (
        select f.friend_user_id, u.display_name, u.avatar_url,
               -- Anything but false hides; a cast would let one person's settings fail the
               -- feeds of all their friends.
               coalesce(u.privacy_settings -> 'hide_presence', 'false') <> 'false' as hidden
        from seda.friends f
        join seda.friends back on back.user_id = f.friend_user_id and back.friend_user_id = me
            and back.relationship_type = 'friend'
        join seda.users u on u.id = f.friend_user_id
        where f.user_id = me
          and f.relationship_type = 'friend' and u.deleted_at is null
          and not exists (
              select from seda.friends b where b.relationship_type = 'block'
                and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
                  or (b.user_id = f.friend_user_id and b.friend_user_id = f.user_id)))
    ), present as (
        select p.room_id, p.last_seen_at, k.*,
               row_number() over (partition by p.room_id, k.hidden
                                  order by p.joined_at, k.friend_user_id) as place
        from seda.room_presence p join known k on k.friend_user_id = p.user_id
        where p.room_id = any (room_ids) and (p.connections > 0 or p.held_until > now())
    )
    select room_id,
           (count(*) filter (where not hidden)
            + case when (select count(*) from known where hidden) >= 3
                   then count(*) filter (where hidden) else 0 end)::integer,
           jsonb_agg(jsonb_build_object('user_id', friend_user_id, 'name', display_name,
                                        'avatar_url', avatar_url) order by place)
               filter (where not hidden and place <= 4),
           array_agg(last_seen_at order by place) filter (where not hidden)
    from present group by room_id
    having count(*) filter (where not hidden) > 0;
end
$$;
