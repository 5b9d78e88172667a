-- As before (SOC-4), and when each visible friend was last seen. Most people have nobody in any
-- of the rooms: they are told so before names and settings are looked up.
drop function seda.friends_presence(uuid[]);
create function seda.friends_presence(room_ids uuid[])
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
        where p.room_id = any (room_ids)
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
revoke execute on function seda.friends_presence(uuid[]) from public;
grant execute on function seda.friends_presence(uuid[]) to authenticated, service_role;
