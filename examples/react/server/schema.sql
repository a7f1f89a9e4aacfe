create schema react_tasks;

create table react_tasks.tasks (
    id      bigint generated always as identity primary key,
    project int not null,
    title   text not null,
    done    boolean not null default false
);

insert into react_tasks.tasks (project, title) values
    (1, 'Call the roofer'), (1, 'Oil the hinges'), (2, 'Sow the beans');

select pgbell.attach('react_tasks.tasks', scopes => array['project:{project}']);
