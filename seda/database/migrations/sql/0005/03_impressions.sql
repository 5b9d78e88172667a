-- Pages that were served, of several people at once, in one commit. Only the API's own login may
-- call it: a person could otherwise record what others saw. The API passes the ids of people that
-- their own transactions, under row-level security, gave it.
--
-- Arrays of two lengths: the first six have an element per page (firsts: the position of its first
-- item; sizes: its items), the others one per item, page after page. Features and propensity are
-- copied from the generation that was shown, and the model version, where it has a row for it.
create function seda.record_impressions(
    user_ids uuid[], surfaces text[], request_ids text[], moments timestamptz[], firsts integer[],
    sizes integer[], recommendation_ids uuid[], entity_types text[], entity_ids uuid[],
    generations bigint[], model_versions text[]
) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
    start integer := 1;
    stop integer;
    page_id text;
    served bigint;
begin
    for page in 1 .. cardinality(user_ids) loop
        stop := start + sizes[page] - 1;
        page_id := gen_random_uuid();
        -- A page seldom mixes generations, and one at a time opens one partition.
        for served in select distinct unnest(generations[start:stop]) loop
            insert into seda.impressions (id, user_id, recommendation_id, generation, entity_type,
                entity_id, surface, position, propensity, features, model_version, request_id,
                shown_at)
            -- Unique by its page and place; a random one for each would cost more than the rest.
            select md5(page_id || i.place)::uuid, user_ids[page], i.recommendation_id, served,
                   i.entity_type, i.entity_id, surfaces[page], firsts[page] + i.place - 1,
                   coalesce((r.context -> 'exploration' ->> 'propensity')::real, 1), r.signals,
                   coalesce(r.model_version, i.model_version), request_ids[page], moments[page]
            from unnest(recommendation_ids[start:stop], entity_types[start:stop],
                        entity_ids[start:stop], generations[start:stop],
                        model_versions[start:stop]) with ordinality
                as i(recommendation_id, entity_type, entity_id, generation, model_version, place)
            left join seda.recommendations r on r.generation = served
                and r.user_id = user_ids[page] and r.id = i.recommendation_id
            where i.generation is not distinct from served;
        end loop;
        start := stop + 1;
    end loop;
end
$$;
revoke execute on function seda.record_impressions(uuid[], text[], text[], timestamptz[],
    integer[], integer[], uuid[], text[], uuid[], bigint[], text[]) from public;
grant execute on function seda.record_impressions(uuid[], text[], text[], timestamptz[],
    integer[], integer[], uuid[], text[], uuid[], bigint[], text[]) to seda_api;
