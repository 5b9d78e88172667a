-- What an unfiltered search took, P50, P95 and P99, when its quality was last measured.
alter table seda.vector_indexes
    add latencies_ms real[] check (cardinality(latencies_ms) = 3), add measured_at timestamptz;

create or replace function seda.embedding_health(at timestamptz)
returns table (metric text, labels jsonb, amount double precision)
language sql stable security definer set search_path = '' as $$
    select 'breaker_phase', jsonb_build_object('provider', provider),
           case phase when 'closed' then 0 when 'half_open' then 1 else 2 end
    from seda.circuit_breakers
    union all
    select 'month_usd', jsonb_build_object('provider', provider, 'job', job), sum(usd)
    from seda.embedding_spend
    where reserved_at >= date_trunc('month', at at time zone 'UTC') at time zone 'UTC'
      and state <> 'released'
    group by provider, job
    union all
    select 'override_cap_usd', '{}'::jsonb, max(cap_usd) from seda.embedding_budget_overrides
    where created_at <= at and expires_at > at having count(*) > 0
    union all
    select 'requests', jsonb_build_object('provider', provider, 'outcome', outcome), count(*)
    from seda.embedding_spend where outcome is not null group by provider, outcome
    union all
    select 'p95_latency_seconds', jsonb_build_object('provider', provider),
           percentile_disc(0.95) within group (order by latency_seconds)
    from seda.embedding_spend
    where answered_at > at - interval '5 minutes' and latency_seconds is not null
    group by provider
    union all
    select 'waiting_texts', jsonb_build_object('space', space_id, 'reason', reason), count(*)
    from seda.embedding_queue group by space_id, reason
    union all
    select 'oldest_waiting_seconds', jsonb_build_object('space', space_id),
           greatest(0, extract(epoch from at - min(enqueued_at)))
    from seda.embedding_queue group by space_id
    union all
    select 'vector_search_seconds',
           jsonb_build_object('entity_type', i.entity_type, 'quantile', q.quantile),
           (q.milliseconds / 1000)::double precision
    from seda.vector_indexes i
    join seda.embedding_spaces s on s.id = i.space_id and s.state = 'active'
    cross join lateral unnest(array['0.5', '0.95', '0.99'], i.latencies_ms)
        as q(quantile, milliseconds)
    where q.milliseconds is not null
$$;
