-- Up to which transaction each reader of social_events has done its work, moved in the transaction
-- that writes what the events led to. A range of transactions below the oldest open one never
-- changes any more; ids commit out of order.
create table seda.event_cursors (
    consumer text primary key,
    transaction_id xid8 not null,
    updated_at timestamptz not null
);
create index idx_social_events_transaction on seda.social_events (transaction_id);

alter table seda.event_cursors enable row level security;
alter table seda.event_cursors force row level security;
grant select, insert, update, delete on seda.event_cursors to service_role;
