-- The arm of a person in an experiment, by its name and share alone: the same for ever, and
-- independent between experiments. `seda.experiments.assignment` says the same.
create function seda.arm_of(experiment text, person uuid, share double precision) returns text
language sql immutable parallel safe as $$
    select case when ('x' || encode(substr(sha256((experiment || ':' || person)::bytea), 1, 4), 'hex'))
                     ::bit(32)::bigint < share * 4294967296
                then 'canary' else 'control' end
$$;

-- The arm whose pointers this person's reads take now.
create function seda.served_arm(person uuid) returns text language sql stable parallel safe as $$
    select coalesce((select seda.arm_of(e.name, person, e.share)
                     from seda.experiments e where e.serving), 'control')
$$;
revoke execute on function seda.arm_of(text, uuid, double precision) from public;
revoke execute on function seda.served_arm(uuid) from public;
grant execute on function seda.arm_of(text, uuid, double precision)
    to authenticated, seda_api, service_role;
grant execute on function seda.served_arm(uuid) to authenticated, seda_api, service_role;
