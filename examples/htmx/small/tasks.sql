create table tasks (id bigint generated always as identity primary key, project_id int, title text, owner text);

select pgbell.attach('tasks',
    scopes   => array['tasks', 'project:{project_id}', 'task:{id}'],  -- what one can subscribe to
    audience => array['owner']);                                      -- who may hear of a row; null: everyone
