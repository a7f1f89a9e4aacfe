-- A task's changes go to its owner alone.
select pgbell.attach('tasks',
  scopes   => array['tasks', 'project:{project_id}'],
  audience => array['owner'],
  payload  => array['title', 'done']);

-- A note's go to its owner and to those it is shared with.
select pgbell.attach('notes',
  scopes   => array['notes'],
  audience => array['owner', 'shared_with'],
  payload  => array['body']);
