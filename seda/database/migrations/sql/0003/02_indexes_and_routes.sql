-- Which of its two colours of index a space's entities are searched by, and the recall@50 that was
-- measured through it at each breadth of search (hnsw.ef_search).
create table seda.vector_indexes (
    space_id text not null references seda.embedding_spaces (id) on delete cascade,
    entity_type text not null check (entity_type in ('artist', 'playlist', 'room')),
    colour text not null check (colour in ('blue', 'green')),
    vectors bigint not null check (vectors >= 0),
    breadths integer[] not null,
    recalls real[] not null check (cardinality(recalls) = cardinality(breadths)),
    build_seconds double precision not null,
    built_at timestamptz not null,
    primary key (space_id, entity_type)
);

-- Where searches for an entity go while they move to another store (VEC-3).
create table seda.vector_routes (
    entity_type text primary key check (entity_type in ('artist', 'playlist', 'room')),
    stage text not null check (stage in ('pgvector', 'shadow', 'dual', 'canary', 'qdrant')),
    cohort_share real not null default 0.05 check (cohort_share > 0 and cohort_share <= 1),
    compared_share real not null default 0.1 check (compared_share >= 0 and compared_share <= 1),
    canary_share real not null default 0.1 check (canary_share >= 0 and canary_share <= 1),
    -- How far a fill has come: a killed one goes on behind it.
    filled_space text,
    filled_to uuid,
    changed_at timestamptz not null default now()
);

create table seda.vector_comparisons (
    id bigint generated always as identity primary key,
    entity_type text not null check (entity_type in ('artist', 'playlist', 'room')),
    space_id text not null,
    stage text not null,
    k integer not null,
    overlap real check (overlap >= 0 and overlap <= 1),
    first_ms real not null,
    second_ms real,
    failure text,
    compared_at timestamptz not null
);
create index idx_vector_comparisons_recent on seda.vector_comparisons (entity_type, compared_at);

grant select, insert, update, delete
    on seda.vector_indexes, seda.vector_routes, seda.vector_comparisons to service_role;
grant usage on sequence seda.vector_comparisons_id_seq to service_role;
