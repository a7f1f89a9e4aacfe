create schema react_tasks;

create table react_tasks.tasks (
    id      bigint generated always as identity primary key,
    project int not null,
    title   text not null,
    done    boolean not null default false
);

insert into react_tasks.tasks (project, title) values
    (1, 'Call the roofer'), (1, 'Oil the hinges'), (2, 'Sow the beans');

select pgbell.attach('react_tasks.tasks', scopes => array['project:{project}', 'react_tasks']);

create function react_tasks.open_tasks() returns table (project int, open bigint) stable
begin atomic
    select t.project, count(*) from react_tasks.tasks t where not t.done group by 1 order by 1;
end;
select pgbell.live('react_tasks.open_tasks', key => array['project']);

-- Live queries run as this role.
do $$ begin create role react_tasks_live; exception when duplicate_object or unique_violation then end $$;
grant usage on schema react_tasks to react_tasks_live;
grant select on react_tasks.tasks to react_tasks_live;
