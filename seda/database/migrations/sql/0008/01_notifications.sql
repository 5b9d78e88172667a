-- The caps of notifications, each one row that one statement compares and swaps, and the outbox.

-- A person's toasts: when the last was, and in which sessions (hashes, newest last) the newest were.
create table seda.toast_caps (
    user_id uuid primary key references seda.users (id) on delete cascade,
    last_sent_at timestamptz not null,
    sessions bigint[] not null default '{}'
);

create table seda.push_caps (
    user_id uuid primary key references seda.users (id) on delete cascade,
    last_sent_at timestamptz not null
);

-- One row per push and device. The token goes with the device: a row without one is never sent.
create table seda.push_outbox (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references seda.users (id) on delete cascade,
    idempotency_key uuid not null unique,
    token text references seda.device_tokens (token) on update cascade on delete set null,
    title text not null,
    body text not null,
    entity_type text check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid,
    state text not null default 'pending' check (state in ('pending', 'sent', 'failed', 'dead')),
    attempts integer not null default 0 check (attempts >= 0),
    outcome text,
    created_at timestamptz not null,
    next_attempt_at timestamptz not null,
    expires_at timestamptz not null,
    settled_at timestamptz,
    check ((state = 'pending') = (settled_at is null))
);
create index idx_push_outbox_due on seda.push_outbox (next_attempt_at) where state = 'pending';
create index idx_push_outbox_token on seda.push_outbox (token);
create index idx_push_outbox_user on seda.push_outbox (user_id);

-- What a session was told already.
create index idx_notification_log_session on seda.notification_log (user_id, session_id)
    where channel = 'toast' and decision = 'sent';

do $$
declare
    name text;
begin
    foreach name in array array['toast_caps', 'push_caps', 'push_outbox'] loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
end
$$;
