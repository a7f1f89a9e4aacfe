-- Schema pgbell, version 1: its tables, sequences and types. What is done with them stands in
-- functions/, which every `pgbell migrate` installs again.

-- +goose Up

set local search_path = pg_catalog, pg_temp; -- else a name could be bound to somebody's twin of it
revoke all on schema pgbell from public;
grant usage on schema pgbell to public; -- for pgbell.cursor(); all else is closed to all

-------------------------------------------------------------------------------
-- The incarnation
-------------------------------------------------------------------------------

-- Postgres empties an unlogged table in crash recovery and on promotion of a standby, the very events
-- after which a server may use transaction ids again: a mark in it tells one incarnation from the
-- next, even when the postmaster outlived the crash of a backend. The listener writes a new mark when
-- there is none. https://www.postgresql.org/docs/current/sql-createtable.html (UNLOGGED)
create unlogged table pgbell.incarnation (
    one  boolean primary key default true check (one),
    mark text not null default gen_random_uuid()::text
);
insert into pgbell.incarnation default values;

-------------------------------------------------------------------------------
-- The journal
-------------------------------------------------------------------------------

-- What writers are to do, in the last_value of a sequence, since that is read outside MVCC: all see it
-- at once, and no transaction has to read a table. The lowest bit is the half of the journal that is
-- written now; the rest is until when writers are to ring, in milliseconds since 1970, or 0. To change
-- it, a session holds the lock of pgbell.waiting.
create sequence pgbell.gate minvalue 0;
select setval('pgbell.gate', 0);

-- Who rang last: milliseconds since 1970, and three digits of the session's process id. Read and set
-- outside MVCC, too.
create sequence pgbell.rung;

-- Counts the steps of the rotation, each before it has an effect. Read outside MVCC, too: a reader that
-- finds no step since sees all there is where it was to be found then.
create sequence pgbell.rotation;

-- The facts: what was written to the attached tables, in the transaction that wrote it. The rows are in
-- the two halves that inherit from this table, of which one is written. They are no partitions: a writer
-- names the half, for to have Postgres find it takes a third of the time to write the row.
--
-- The changes since cursor C are the rows whose transaction C does not see, in the order of (lsn, xid,
-- part). The position in the WAL is read at the end of the statement, when its row locks are held, and
-- the row that is written next moves it: so the changes of one row are in the order in which they
-- commit, and no sequence is drawn in the writer's session, whose lastval() would tell.
create table pgbell.journal (
    lsn        pg_lsn not null default pg_current_wal_insert_lsn(),
    part       bigint not null default 0,  -- of one statement, which has the same lsn in each
    xid        xid8 not null default pg_current_xact_id(),
    at         timestamptz not null default clock_timestamp(),
    definition integer,                     -- pgbell.definition, which says what the facts are
    tbl        text,                        -- the table as it is called now, quoted and with its schema
    op         text not null,               -- insert, update, delete, reset; publish; attach, detach, disconnect,
                                            -- regroup
    origin     text default left(current_setting('pgbell.origin', true), 256),
    statement  timestamptz not null default statement_timestamp(), -- when the client sent what wrote it
    facts      text[]                       -- columns' values, row after row; see docs/sql.md
);
create index on pgbell.journal (xid, lsn);
-- +goose StatementBegin
do $$
begin
    -- Of a bulk write's time in the trigger, the default takes a fifth.
    alter table pgbell.journal alter column facts set compression lz4;
exception when feature_not_supported then -- this server was built without
end $$;
-- +goose StatementEnd
create table pgbell.journal_0 (like pgbell.journal including all)
    inherits (pgbell.journal) with (autovacuum_enabled = false);
create table pgbell.journal_1 (like pgbell.journal including all)
    inherits (pgbell.journal) with (autovacuum_enabled = false);
alter table pgbell.journal add check (false) no inherit;

-- Where the journal stands in its rotation, one row. floor: a cursor is good for reading as long as its
-- xmin is not below.
create table pgbell.journal_state (
    one      boolean primary key default true check (one),
    home     text not null default '',           -- pgbell.home() of the database that it is of
    half     integer not null default 0,         -- that is written
    floor    xid8 not null default '0',
    since    timestamptz not null default now(), -- when the current half took over
    fence    xid8,                               -- no transaction from here on writes to the other half
    quiet_at timestamptz default now(),          -- when all below the fence had ended: the other half gets no more
    step     bigint not null default nextval('pgbell.rotation') -- that left it so
);
insert into pgbell.journal_state default values;

-- The servers that wait to be rung. What they said expires by itself if they die.
create unlogged table pgbell.waiting (
    server text primary key,
    until  timestamptz not null
);

-------------------------------------------------------------------------------
-- Feeds
-------------------------------------------------------------------------------

-- A value that is recorded of a row.
--   kind  text, number, boolean: its text, which may be cut off; list: a JSON array; json: JSON
--   sql   of the value, with %s for the row
create type pgbell.field as (name text, kind text, sql text);

-- A column of an attached table as it was when it was attached.
create type pgbell.known_column as (name text, attnum integer, type oid);

create table pgbell.feed (
    id         integer generated always as identity primary key,
    target     oid not null,      -- of the table, in the database that home names
    home       text not null,     -- pgbell.home() when it was attached
    tbl        text not null,     -- the table's name when it was attached
    scopes     text[] not null,
    audience   text[],            -- columns of users, and templates of groups; null: everyone
    columns    text[],            -- null: any
    payload    text[],
    durable    boolean not null,
    regroup    text,              -- column of the users whose groups a row says; null: none
    key        text[] not null,   -- primary key; empty: none
    types      jsonb not null,    -- type of each column that scopes, audience, payload, columns, regroup or key name
    known      pgbell.known_column[] not null, -- the table's columns when it was attached
    fields     pgbell.field[] not null,        -- what is recorded of a row
    definition integer,           -- pgbell.definition, as its triggers have it
    made       text,              -- hash of the text of its triggers' functions
    parts      jsonb,             -- pgbell.parts_of when it was last looked at
    unique (target, home)
);

-- What the facts of a feed mean: rows are added, not changed, for the journal may have facts of an
-- earlier one. One that was replaced goes with the journal that may name it.
create table pgbell.definition (
    id       integer generated always as identity primary key,
    spec     jsonb not null,
    replaced xid8
);

-- Tables that were attached once: those who listen to their scopes missed something.
create table pgbell.detached (target oid primary key);

-------------------------------------------------------------------------------
-- Live queries
-------------------------------------------------------------------------------

-- The functions whose results servers keep fresh, and what a server found when it last looked at one.
create table pgbell.live_query (
    name     text primary key,   -- as streams ask for it
    function text not null,      -- with its schema and the types of its arguments, as in public.board(integer)
    every    interval,           -- run it that often though no table changes; null: not
    key      text[],             -- columns of the result that tell a row from the others; null: all do
    depends  text[],             -- tables; null: no server has looked yet
    scopes   text[],             -- that tell of all that can change a result
    problem  text                -- why it is not kept fresh; null: it is
);

-- +goose Down

-- +goose StatementBegin
do $$
declare
    trg record;
begin
    for trg in
        select t.tgname, t.tgrelid::regclass as tbl from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where p.pronamespace = 'pgbell'::regnamespace and t.tgparentid = 0
    loop
        execute format('drop trigger %I on %s', trg.tgname, trg.tbl);
    end loop;
end $$;
-- +goose StatementEnd
drop view pgbell.feeds, pgbell.lives;
-- +goose StatementBegin
do $$
begin
    execute (select 'drop function ' || string_agg(p.oid::regprocedure::text, ', ')
        from pg_proc p where p.pronamespace = 'pgbell'::regnamespace);
end $$;
-- +goose StatementEnd
drop table pgbell.feed, pgbell.definition, pgbell.detached, pgbell.journal_0, pgbell.journal_1, pgbell.journal,
    pgbell.journal_state, pgbell.incarnation, pgbell.waiting, pgbell.live_query;
drop type pgbell.field, pgbell.known_column;
drop sequence pgbell.rotation, pgbell.rung, pgbell.gate;
