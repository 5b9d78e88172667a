-- What every page asks is planned once per connection. Left to itself the planner makes each
-- statement's plan anew for every call, since runtime pruning of partitions looks dear to it; that
-- took more than the statements themselves.
do $$
declare
    each regprocedure;
begin
    for each in
        select oid from pg_proc where pronamespace = 'seda'::regnamespace
            and proname in ('live_lists', 'record_impressions', 'friends_presence')
    loop
        execute format('alter function %s set plan_cache_mode = force_generic_plan', each);
    end loop;
end
$$;
