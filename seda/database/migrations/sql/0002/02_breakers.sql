-- The breaker of a provider, one for all workers of the region, and the log of its transitions.
create table seda.circuit_breakers (
    provider text primary key,
    phase text not null check (phase in ('closed', 'open', 'half_open')),
    since timestamptz not null,
    unhealthy_since timestamptz,
    probe_at timestamptz,
    probes integer not null default 0 check (probes >= 0)
);
create table seda.circuit_breaker_transitions (
    id bigint generated always as identity primary key,
    provider text not null,
    from_phase text not null,
    to_phase text not null,
    reason text not null,
    happened_at timestamptz not null
);
create index idx_circuit_breaker_transitions on seda.circuit_breaker_transitions
    (provider, happened_at);
