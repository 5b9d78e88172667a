-- Pages that were served, of several people at once, in one commit. Only the API's own login may
-- call it: a person could otherwise record what others saw. The API passes the ids of people that
-- their own transactions, under row-level security, gave it.
--
-- Arrays of two lengths: user_ids, surfaces, request_ids, page_ids and moments have an element per
-- page; the others one per item, of which item_pages says to which page (from 1) it belongs.
-- Features and propensity are copied from the generation that was shown, model version too, if it
-- is still there.
create function seda.record_impressions(
    user_ids uuid[], surfaces text[], request_ids text[], page_ids uuid[], moments timestamptz[],
    item_pages integer[], positions integer[], recommendation_ids uuid[], entity_types text[],
    entity_ids uuid[], generations bigint[], model_versions text[]
) returns void
language sql volatile security definer set search_path = '' as $$
    insert into seda.impressions (id, user_id, recommendation_id, generation, entity_type,
        entity_id, surface, position, propensity, features, model_version, request_id, shown_at)
    -- The id is unique by its page and place; a random one would cost more than the rest.
    select md5(p.page_id::text || i.position)::uuid, p.user_id, i.recommendation_id, i.generation,
           i.entity_type, i.entity_id, p.surface, i.position,
           coalesce((r.context -> 'exploration' ->> 'propensity')::real, 1), r.signals,
           coalesce(r.model_version, i.model_version), p.request_id, p.shown_at
    from unnest(item_pages, positions, recommendation_ids, entity_types, entity_ids, generations,
                model_versions)
        as i(page, position, recommendation_id, entity_type, entity_id, generation, model_version)
    join unnest(user_ids, surfaces, request_ids, page_ids, moments) with ordinality
        as p(user_id, surface, request_id, page_id, shown_at, page) on p.page = i.page
    left join lateral (
        select s.signals, s.context, s.model_version from seda.recommendations s
        where s.generation = i.generation and s.user_id = p.user_id
          and s.id = i.recommendation_id
        limit 1
    ) r on true
$$;
revoke execute on function seda.record_impressions(uuid[], text[], text[], uuid[], timestamptz[],
    integer[], integer[], uuid[], text[], uuid[], bigint[], text[]) from public;
grant execute on function seda.record_impressions(uuid[], text[], text[], uuid[], timestamptz[],
    integer[], integer[], uuid[], text[], uuid[], bigint[], text[]) to seda_api;
