-- Presence through connections is held by a process: what a killed one held is found by its id and
-- given up by any other.
create table seda.realtime_processes (
    id uuid primary key,
    started_at timestamptz not null,
    last_seen_at timestamptz not null
);

create table seda.presence_holds (
    process_id uuid not null references seda.realtime_processes (id) on delete cascade,
    room_id uuid not null references seda.rooms (id) on delete cascade,
    user_id uuid not null references seda.users (id) on delete cascade,
    connections integer not null check (connections >= 0),
    primary key (process_id, room_id, user_id)
);
create index idx_presence_holds_user on seda.presence_holds (user_id);
create index idx_presence_holds_room on seda.presence_holds (room_id);

-- A client's session; after half an idle hour the next one begins under the same id.
create table seda.realtime_sessions (
    user_id uuid not null references seda.users (id) on delete cascade,
    session_id text not null,
    ordinal integer not null default 1,
    last_active_at timestamptz not null,
    primary key (user_id, session_id)
);
create index idx_realtime_sessions_active on seda.realtime_sessions (last_active_at);

-- Who left lingers until held_until: coming back before is neither a leave nor a join. `said` is an
-- event already; `lost` (the connection went) becomes one when it has lingered.
alter table seda.room_presence add departure text check (departure in ('said', 'lost'));

do $$
declare
    name text;
begin
    foreach name in array array['realtime_processes', 'presence_holds', 'realtime_sessions'] loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
end
$$;
