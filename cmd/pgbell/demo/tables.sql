-- Two small tables with owners: a task has one, a note has one and may be
-- shared with others.

create table tasks (
    id         bigint generated always as identity primary key,
    project_id int not null default 1,
    title      text not null,
    done       boolean not null default false,
    owner      text not null
);
create index on tasks (owner, project_id, id);

create table notes (
    id          bigint generated always as identity primary key,
    owner       text not null,
    body        text not null,
    shared_with text[] not null default '{}'
);

insert into tasks (title, done, owner) values
    ('Water the plants', false, 'alice'),
    ('Call the printer', false, 'bob'),
    ('Book the train to Lyon', false, 'alice'),
    ('Renew the certificates', true, 'bob'),
    ('Review the budget', true, 'alice'),
    ('Order new chairs', false, 'bob');

insert into notes (owner, body, shared_with) values
    ('alice', 'The spare key is with Mrs Okafor', '{}'),
    ('bob', 'Gate code: 4711', '{alice}');
