drop function seda.register_listener(text), seda.seed_taste(text[], timestamptz),
    seda.register_device(text, text, timestamptz),
    seda.move_presence(uuid[], boolean[], timestamptz[], interval, timestamptz),
    seda.release_held_presence(timestamptz);

-- The older version knows connections only: who merely holds a presence is not there.
delete from seda.room_presence where connections = 0;
alter table seda.room_presence
    drop constraint room_presence_somehow_there,
    drop column held_until,
    add constraint room_presence_connections_check check (connections > 0);

revoke delete on seda.fact_events from authenticated;
drop policy own_dismissal_delete on seda.fact_events;
revoke select (event_id, user_id, body_hash) on seda.event_receipts from authenticated;
drop policy own_select on seda.event_receipts;
