-- One row per request to a provider: what it may cost, what it cost, and how it went. Budget, rate
-- limits and the breaker's window are all read from here, so that every worker sees the same.
alter table seda.embedding_spend
    alter column usd type numeric(14, 8),
    add column texts integer not null default 0 check (texts >= 0),
    add column sent_at timestamptz,
    add column outcome text,
    add column latency_seconds double precision check (latency_seconds >= 0),
    add column answered_at timestamptz;
create index idx_embedding_spend_open on seda.embedding_spend (expires_at)
    where state in ('reserved', 'sent');
create index idx_embedding_spend_answered on seda.embedding_spend (provider, answered_at);
-- 'sent' is between reserved and settled: a worker that dies there may have been billed.
alter table seda.embedding_spend drop constraint embedding_spend_state_check,
    add constraint embedding_spend_state_check
        check (state in ('reserved', 'sent', 'settled', 'released'));

-- A time-limited cap above the configured one. The database itself asks for a super_admin.
create table seda.embedding_budget_overrides (
    id bigint generated always as identity primary key,
    approver_id uuid not null,
    reason text not null check (length(btrim(reason)) >= 10),
    cap_usd numeric(14, 2) not null check (cap_usd > 0),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    check (expires_at > created_at and expires_at <= created_at + interval '7 days')
);
alter table seda.embedding_budget_overrides enable row level security;
alter table seda.embedding_budget_overrides force row level security;

create function seda.refuse_unapproved_override() returns trigger
language plpgsql set search_path = '' as $$
begin
    if not exists (select from seda.users where id = new.approver_id
                   and role = 'super_admin' and deleted_at is null) then
        raise exception 'the approver of an embedding budget override must be a super_admin'
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger approved_by_super_admin before insert or update
    on seda.embedding_budget_overrides
    for each row execute function seda.refuse_unapproved_override();
