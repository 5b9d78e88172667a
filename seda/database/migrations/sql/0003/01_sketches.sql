-- What a search may find, and what it is filtered by: the one definition for writers and triggers.
create view seda.artists_searchable with (security_invoker = true) as
    select id, genres, language, deleted_at is null as visible from seda.artists;
create view seda.playlists_searchable with (security_invoker = true) as
    select id, array_remove(array[genre], null) as genres, language,
           deleted_at is null and visibility = 'public' as visible
    from seda.playlists;
create view seda.rooms_searchable with (security_invoker = true) as
    select id, array_remove(array[genre], null) as genres, language,
           deleted_at is null as visible
    from seda.rooms;

-- Beside every vector its sketch (seda/vectorstore/sketches.py) and what a search filters by, in a
-- row a tenth as wide, so that a filtered search reads neither the vectors nor the catalogue.
do $$
declare
    noun text;
begin
    foreach noun in array array['artists', 'playlists', 'rooms'] loop
        execute format($ddl$
            create table seda.%1$s_sketches (
                space_id text not null,
                entity_id uuid not null,
                sketch varbit not null,
                genres text[] not null,
                language text,
                visible boolean not null,
                primary key (space_id, entity_id),
                foreign key (space_id, entity_id)
                    references seda.%1$s_vectors (space_id, entity_id) on delete cascade
            )$ddl$, noun);
        execute format('alter table seda.%s_sketches alter column sketch set storage plain', noun);
        execute format('create index idx_%1$s_sketches_genres on seda.%1$s_sketches '
                       'using gin (genres)', noun);
        -- Definer: whoever may change a catalogue row need not reach the sketches.
        execute format($ddl$
            create function seda.follow_%1$s() returns trigger
            language plpgsql security definer set search_path = '' as $f$
            begin
                update seda.%1$s_sketches s
                set genres = e.genres, language = e.language, visible = e.visible
                from seda.%1$s_searchable e
                where e.id = new.id and s.entity_id = e.id;
                return null;
            end
            $f$
            $ddl$, noun);
        execute format('revoke execute on function seda.follow_%s() from public', noun);
        -- For the triggers, which know an entity and not the spaces that it has vectors in.
        execute format('create index idx_%1$s_sketches_entity on seda.%1$s_sketches (entity_id)',
                       noun);
    end loop;
end
$$;

-- WHEN costs nothing for the changes that a search does not see, such as who is in a room.
create trigger follow_artists after update on seda.artists for each row
    when ((old.genres, old.language, old.deleted_at)
          is distinct from (new.genres, new.language, new.deleted_at))
    execute function seda.follow_artists();
create trigger follow_playlists after update on seda.playlists for each row
    when ((old.genre, old.language, old.deleted_at, old.visibility)
          is distinct from (new.genre, new.language, new.deleted_at, new.visibility))
    execute function seda.follow_playlists();
create trigger follow_rooms after update on seda.rooms for each row
    when ((old.genre, old.language, old.deleted_at)
          is distinct from (new.genre, new.language, new.deleted_at))
    execute function seda.follow_rooms();

grant select, insert, update, delete
    on seda.artists_sketches, seda.playlists_sketches, seda.rooms_sketches to service_role;
grant select on seda.artists_searchable, seda.playlists_searchable, seda.rooms_searchable
    to service_role;
