package faults

const projects = 4

var users = []string{"ann", "bob", "cat", "dan"}

// schema is what the writers write to. Each change is in the ledger, written by
// the same statement as the change.
const schema = `
create table ledger (op bigint primary key, xid xid8 not null default pg_current_xact_id(),
	incarnation text not null default split_part(pgbell.cursor(), '-', 1));
create table tasks (id bigint primary key, project int, owners text[], op bigint, ver bigint, pad text);
create table notes (id bigint primary key, project int, op bigint, ver bigint, pad text);
create table moods (id bigint primary key, project int, owners text[]);
create table bulk (id bigint primary key, project int, op bigint);
create table flips (id bigint primary key, project int, op bigint);
insert into notes select -i, 1 + i % 4, 0, 0 from generate_series(1, 8) i;
select pgbell.attach('tasks', array['project:{project}', 'tasks'], audience => array['owners'], payload => array['op', 'ver', 'pad']);
select pgbell.attach('notes', array['notes:{project}'], payload => array['op', 'ver', 'pad']);
select pgbell.attach('moods', array['mood:{project}'], audience => array['owners'], durable => false);
select pgbell.attach('bulk', array['bulk:{project}'], payload => array['op']);
` + attachFlips

const attachFlips = "select pgbell.attach('flips', array['flip:{project}'], payload => array['op'])"

// hotNotes is how many notes there are, from -1 downwards, that all writers update.
const hotNotes = 8
