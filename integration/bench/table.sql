-- A table as an app has it. Filled before the triggers come.
create table tasks (
    id bigint primary key,
    project_id int not null,
    owner_id text not null,
    title text not null,
    done bool not null default false,
    updated_at timestamptz not null default now(),
    body text
);
create index on tasks (project_id);
