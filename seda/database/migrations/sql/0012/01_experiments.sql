-- A canary is an experiment of a model's new version on a share of the people. While it is serving,
-- an assigned person's reads take the generation that the pointer of arm canary names; the control's
-- rows are there for everybody, so the way back is this row and those pointers.
--
-- serving outlives state running after a promotion: until the next publication, in which everybody's
-- lists are the new version's, the people of the canary keep the lists that they have.
create table seda.experiments (
    name text primary key check (name ~ '^[a-z0-9._-]+$'),
    model text not null,
    control_version text not null,
    canary_version text not null,
    share double precision not null check (share between 0.05 and 0.10),
    state text not null default 'running' check (state in ('running', 'promoted', 'rolled_back')),
    serving boolean not null default true,
    started_at timestamptz not null,
    ended_at timestamptz,
    reason text,
    foreign key (model, control_version) references seda.model_registry (name, version),
    foreign key (model, canary_version) references seda.model_registry (name, version),
    check (control_version <> canary_version),
    check ((state = 'running') = (ended_at is null)),
    check (serving or state <> 'running'),
    check (state <> 'rolled_back' or not serving)
);
create unique index one_serving_experiment on seda.experiments (serving) where serving;
create unique index one_canary_model on seda.model_registry (name) where stage = 'canary';

alter table seda.generations
    add arm text not null default 'control',
    add experiment text references seda.experiments (name),
    add check ((arm = 'control') = (experiment is null));
create index idx_generations_experiment on seda.generations (experiment)
    where experiment is not null;

-- What each look at a canary found: gates with their figures, and the services' counters then, from
-- which the next look takes the difference.
create table seda.canary_looks (
    experiment text not null references seda.experiments (name),
    looked_at timestamptz not null,
    decision text not null check (decision in ('pass', 'fail', 'not enough data', 'warn')),
    rolled_back boolean not null default false,
    gates jsonb not null,
    counters jsonb not null default '{}',
    primary key (experiment, looked_at)
);

grant select, insert, update, delete on seda.experiments, seda.canary_looks to service_role;
grant select (name, share, serving) on seda.experiments to authenticated;
