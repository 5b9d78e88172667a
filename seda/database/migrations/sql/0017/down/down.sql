do $$
declare
    each regprocedure;
begin
    for each in
        select oid from pg_proc where pronamespace = 'seda'::regnamespace
            and proname in ('live_lists', 'record_impressions', 'friends_presence')
    loop
        execute format('alter function %s reset plan_cache_mode', each);
    end loop;
end
$$;
