-- Schema pgbell, version 1. One migration, so that pgbell is installed whole or
-- not at all. In this order:
--
--   cursor      what a snapshot sees, as a text
--   journal     the changes of durable feeds, their order, their retention
--   scopes      percent-encoding and scope templates
--   bell        the notification, the reset
--   feeds       the attached tables
--   generator   a function for each trigger of a feed, of static SQL
--   attach      attach, detach, the view feeds
--   publish     an app's own event
--   disconnect  the end of a user's streams
--
-- What runs inside a user's write is a function that the generator makes, and what
-- that calls: pgbell.scope_value, .percent_encode, .encoded, .differs, .some, .origin,
-- .record, .drawn_before, .place, .record_reset, .armed, .ring, .take_settings and
-- .leave_settings. Keep those short: their cost is the writer's, and so are their errors.

-- +goose Up

create schema if not exists pgbell;
revoke all on schema pgbell from public;
grant usage on schema pgbell to public; -- for pgbell.cursor(); all else is revoked below

-------------------------------------------------------------------------------
-- cursor
-------------------------------------------------------------------------------

-- Postgres empties an unlogged table in crash recovery and on promotion of a
-- standby, the very events after which a server may use transaction ids again:
-- a mark in it tells one incarnation from the next, even when the postmaster
-- outlived the crash of a backend. The listener writes a new mark when there is
-- none. https://www.postgresql.org/docs/current/sql-createtable.html (UNLOGGED)
create unlogged table pgbell.incarnation (
    one  boolean primary key default true check (one),
    mark text not null default gen_random_uuid()::text
);
insert into pgbell.incarnation default values;

-- SECURITY DEFINER, as rotate is, so that the listener's role writes no table.
create function pgbell.mark_incarnation() returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into pgbell.incarnation (one) select true where not exists (select from pgbell.incarnation) on conflict do nothing
$$;

-- What this snapshot sees. STABLE, so that it uses the snapshot of the query
-- that calls it. SECURITY DEFINER, since it is open to PUBLIC and reads a table.
-- In at most 256 bytes, for headers: an older cursor is as right, with some repeats.
-- +goose StatementBegin
create function pgbell.cursor() returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    snap text := pg_current_snapshot()::text;
    own  xid8 := pg_current_xact_id_if_assigned();
    mark text;
    kept text;
begin
    if own < pg_snapshot_xmax(snap::pg_snapshot) then
        -- A snapshot leaves out its own transaction, which is not over: it may yet write.
        snap := format('%s:%s:%s', split_part(snap, ':', 1), split_part(snap, ':', 2),
            (select string_agg(x.x::text, ',' order by x.x) from (select pg_snapshot_xip(snap::pg_snapshot) union select own) x (x)));
    end if;
    if pg_is_in_recovery() then
        mark := 'standby'; -- an unlogged table cannot be read there; a cursor of a standby fits no primary
    else
        -- Without a mark, between a crash and the listener's next one, it's a cursor that fits nothing.
        -- The oids, since a database restored from a dump, or made from this one as template, has the mark, too.
        mark := coalesce((select concat_ws('/', i.mark, i.tableoid, d.oid) from pgbell.incarnation i, pg_database d where d.datname = current_database()),
            gen_random_uuid()::text);
    end if;
    if length(snap) > 240 then
        -- What comes before the first running transaction that doesn't fit is kept as it is.
        kept := substring(left(split_part(snap, ':', 3), 190) from '(.*),');
        snap := format('%s:%s:%s', split_part(snap, ':', 1), split_part(substr(split_part(snap, ':', 3), length(kept) + 2), ',', 1), kept);
    end if;
    return left(md5(concat_ws('/', mark, extract(epoch from pg_postmaster_start_time()))), 8) || '-' || snap;
end $$;
-- +goose StatementEnd

-------------------------------------------------------------------------------
-- journal
-------------------------------------------------------------------------------

-- The changes since cursor C are the rows whose transaction C does not see, in
-- the order of (seq, part). A number is drawn at the end of the statement, when
-- its row locks are held: the changes of one row are numbered in the order in
-- which they commit. One statement has one seq, its parts up to 500 changes
-- each.
create sequence pgbell.journal_seq;

-- What writers are to do, in the last_value of a sequence, since that is read outside
-- MVCC: all see it at once. The lowest bit is the slot that is written now; the rest is
-- until when they are to ring, in milliseconds since 1970, or 0. Who changes it holds the
-- lock of pgbell.waiting.
create sequence pgbell.orders minvalue 0;
select setval('pgbell.orders', 0);

-- Counts the steps of the rotation, each before it has an effect. Read outside MVCC,
-- too: who finds no step since saw all there is where it was to be found then.
create sequence pgbell.journal_turn;

-- Its rows are in the two tables that inherit from it, of which one is written. They
-- are no partitions: who writes names the table, for to have Postgres find it, and check
-- the row, takes a third of the time to write it.
create table pgbell.journal (
    seq     bigint not null default nextval('pgbell.journal_seq'),
    part    integer not null default 0,
    xid     xid8 not null default pg_current_xact_id(),
    at      timestamptz not null default clock_timestamp(),
    tbl     text,           -- quoted and with its schema; null for publish
    op      text not null,  -- insert, update, delete, reset, publish; attach, detach, disconnect
    origin  text,
    changes text not null   -- JSON (as text: checking it is no job of the writer's): an array of changes, or an object for reset, attach, detach, disconnect
);
create index on pgbell.journal (xid, seq);
-- +goose StatementBegin
do $$
begin
    alter table pgbell.journal alter column changes set compression lz4; -- of a bulk write's time in the trigger, the default takes a fifth
exception when feature_not_supported then -- this server was built without
end $$;
-- +goose StatementEnd
create table pgbell.journal_0 (like pgbell.journal including all) inherits (pgbell.journal) with (autovacuum_enabled = false);
create table pgbell.journal_1 (like pgbell.journal including all) inherits (pgbell.journal) with (autovacuum_enabled = false);
alter table pgbell.journal add check (false) no inherit;

-- Where the journal stands in its rotation, one row. floor: a cursor is good for
-- reading as long as its xmin is not below.
create table pgbell.journal_state (
    one      boolean primary key default true check (one),
    slot     integer not null default 0,         -- that is written
    floor    xid8 not null default '0',
    since    timestamptz not null default now(), -- when the current slot took over
    fence    xid8,                               -- none from here on writes to the other slot
    quiet_at timestamptz default now(),          -- when all below the fence were seen to be over: the other slot gets no more
    turn     bigint not null default nextval('pgbell.journal_turn') -- the step that left it so
);
insert into pgbell.journal_state default values;

-- One step of the rotation, at most; does nothing when none is due or another
-- session is at it. One slot is written while the other rests for at least the
-- retention, then is truncated and takes over: nothing is deleted row by row. A
-- rest counts from when every transaction that may have written to the slot was
-- over, so that a long one only makes the journal longer.
-- +goose StatementBegin
create function pgbell.rotate(retention interval default '1 hour') returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
    fresh   constant boolean := pg_current_xact_id_if_assigned() is null;
    state   pgbell.journal_state;
    current int;
    resting text;
    top     xid8;
begin
    -- A row, not an advisory lock: anybody could hold that, and the journal would only grow.
    select s.* into state from pgbell.journal_state s for update skip locked;
    if not found then
        return 'busy';
    end if;
    select q.last_value & 1 into current from pgbell.orders q;
    resting := 'pgbell.journal_' || 1 - current;

    -- The sequence keeps a switch that was rolled back.
    if current <> state.slot then
        update pgbell.journal_state
        set turn = nextval('pgbell.journal_turn'), slot = current, since = clock_timestamp(), fence = null, quiet_at = null;
        return 'switched';
    end if;

    if state.quiet_at is null then
        -- Set one step after the switch: who looked up the slot before it has a lower id
        -- than one that is given out now.
        if state.fence is null and not fresh then
            return 'waiting for transactions';
        elsif state.fence is null then
            update pgbell.journal_state set turn = nextval('pgbell.journal_turn'), fence = pg_current_xact_id();
            return 'waiting for transactions';
        elsif pg_snapshot_xmin(pg_current_snapshot()) < state.fence then
            return 'waiting for transactions';
        end if;
        update pgbell.journal_state set turn = nextval('pgbell.journal_turn'), quiet_at = clock_timestamp();
        return 'resting';
    end if;

    execute format('select xid from %s order by xid desc limit 1', resting) into top;
    if top is not null then
        if state.quiet_at + retention > clock_timestamp() then
            return 'resting';
        end if;
        -- Nobody writes there: only a reader can be in the way, and not for long.
        begin
            execute format('lock table %s in access exclusive mode', resting);
        exception when lock_not_available then
            return 'waiting for readers';
        end;
        execute format('select xid from %s order by xid desc limit 1', resting) into top;
        update pgbell.journal_state s set turn = nextval('pgbell.journal_turn'), floor = greatest(s.floor, (top::text::numeric + 1)::text::xid8);
        execute format('truncate %s', resting);
        return 'truncated';
    end if;

    execute format('select xid from pgbell.journal_%s limit 1', current) into top;
    if top is null or state.since + retention / 2 > clock_timestamp() then
        return 'fresh';
    end if;
    begin
        lock table pgbell.waiting in share row exclusive mode;
    exception when lock_not_available then
        return 'busy';
    end;
    update pgbell.journal_state
    set turn = nextval('pgbell.journal_turn'), slot = 1 - current, since = clock_timestamp(), fence = null, quiet_at = null;
    perform setval('pgbell.orders', q.last_value - current + 1 - current) from pgbell.orders q;
    return 'switched';
end $$;
-- +goose StatementEnd

-------------------------------------------------------------------------------
-- scopes
-------------------------------------------------------------------------------

-- Bytes outside A-Za-z0-9_.:@/+=~- as %XX, so that no value can forge a frame,
-- break an htmx trigger, or need quoting in JSON.
create function pgbell.percent_encode(value text) returns text
language sql immutable strict parallel safe
return (
    select coalesce(string_agg(
        case when b between 97 and 122 or b between 65 and 90 or b between 43 and 58 and b <> 44 or b in (61, 64, 95, 126)
            then chr(b) else '%' || upper(lpad(to_hex(b), 2, '0')) end, '' order by i), '')
    from convert_to(value, case getdatabaseencoding() when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end) bytes,
        generate_series(0, octet_length(bytes) - 1) i,
        get_byte(bytes, i) b
);

-- The same, but what is percent-encoded already stays so.
create function pgbell.canonical_scope(scope text) returns text
language sql immutable strict parallel safe
as $$
    select coalesce(string_agg(
        case when m[1] ~ '^%[0-9A-Fa-f]{2}$' then upper(m[1]) else pgbell.percent_encode(m[1]) end, '' order by i), '')
    from regexp_matches(scope, '%[0-9A-Fa-f]{2}|%|[^%]+', 'g') with ordinality matches (m, i)
$$;

-- A column's value inside a scope. One that is too long for a scope is null; the
-- length is asked first, for it needs no look at a value stored out of line.
create function pgbell.scope_value(value text) returns text
language sql immutable parallel safe
return case
    when octet_length(value) > 256 then null
    when value collate "C" ~ '[^A-Za-z0-9_.:@/+=~-]' then pgbell.percent_encode(value)
    else value
end;

-- percent_encode of what is in need of it, null if that is longer than most bytes.
create function pgbell.encoded(value text, most integer) returns text
language sql immutable parallel safe
return (select e.e from pgbell.percent_encode(value) e (e) where octet_length(e.e) <= most);

-- Names that a stream uses itself.
create function pgbell.reserved_scopes() returns text[]
language sql immutable parallel safe
return '{"",open,error,message,ready,close}'::text[];

-- literals has one element more than columns: literal, column, literal, ...
-- +goose StatementBegin
create function pgbell.parse_template(template text, out literals text[], out columns text[])
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    rest    text := template;
    piece   text;
    literal text := '';
begin
    literals := '{}';
    columns := '{}';
    while rest <> '' loop
        piece := substring(rest from '^(\{\{|\}\}|\{[^{}][^}]*\}|\{\}|[^{}]+)');
        if piece is null then
            raise exception 'scope template "%": the brace in front of "%" is not closed or closes nothing', template, left(substr(rest, 2), 20)
                using errcode = 'invalid_parameter_value', hint = 'A column stands in braces, {project_id}; a literal brace is written twice, {{ or }}.';
        end if;
        rest := substr(rest, length(piece) + 1);
        if piece in ('{{', '}}') then
            literal := literal || left(piece, 1);
        elsif piece = '{}' then
            raise exception 'scope template "%": there is no column name in the braces', template
                using errcode = 'invalid_parameter_value', hint = 'A column stands in braces: {project_id}.';
        elsif piece like '{%' then
            literals := literals || pgbell.canonical_scope(literal);
            columns := columns || substr(piece, 2, length(piece) - 2);
            literal := '';
        else
            literal := literal || piece;
        end if;
    end loop;
    literals := literals || pgbell.canonical_scope(literal);
end $$;
-- +goose StatementEnd

-------------------------------------------------------------------------------
-- bell
-------------------------------------------------------------------------------

-- A notification makes those who commit wait for each other: Postgres holds one lock
-- for the whole cluster from before such a commit until it is flushed. So writers
-- ring only while somebody waits to be rung: a server that is busy reads the journal
-- every few milliseconds instead, and where there is none nobody rings. Which of the
-- two a writer saw is a matter of latency only, never of what is delivered.

-- The servers that wait to be rung. What they said expires by itself if they die.
create unlogged table pgbell.waiting (
    server text primary key,
    until  timestamptz not null
);

-- A server says that it waits, for as long as lease; with '0', that it doesn't any
-- more. Others that wait are rung all the same.
-- +goose StatementBegin
create function pgbell.arm(server text, lease interval) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
    moment constant timestamptz := clock_timestamp();
begin
    lock table pgbell.waiting in share row exclusive mode; -- one at a time: of two, the later sees what the earlier wrote
    delete from pgbell.waiting w where w.server = arm.server or w.until < moment;
    if lease > '0' then
        insert into pgbell.waiting values (left(arm.server, 64), moment + least(lease, '1 minute'));
    end if;
    perform setval('pgbell.orders', (q.last_value & 1) + 2 * (select coalesce(ceil(max(extract(epoch from w.until)) * 1000), 0)::bigint from pgbell.waiting w))
    from pgbell.orders q;
end $$;
-- +goose StatementEnd

-- Whether somebody waits to be rung; null for no.
create function pgbell.armed() returns boolean
language sql volatile
return pg_sequence_last_value('pgbell.orders') / 2 > date_part('epoch', clock_timestamp()) * 1000;

-- To pin a search_path costs as much as all of this does, so what runs inside a
-- user's write doesn't. Its names mean the system's all the same: SQL functions whose
-- body is no text have their names looked up here and now, and plpgsql writes
-- pg_catalog in front of each, for operators, too. IS DISTINCT FROM, NULLIF, IN and
-- the short CASE look for an operator that can't be named, and are not used.
-- Functions with a body of text are called where the search_path is pinned.

-- Scopes joined to the inside of a JSON array, each once.
create function pgbell.each_once(scopes text) returns text
language sql immutable
as $$
    select string_agg(s.s, '","' order by s.i)
    from (select u.u, min(u.i) from unnest(string_to_array(scopes, '","')) with ordinality u (u, i) group by u.u) s (s, i)
$$;

-- IS DISTINCT FROM and NULLIF where names are pinned: Postgres puts the body, whose
-- operators are the system's, in place of the call. Texts are compared byte by byte.
create function pgbell.differs(a smallint, b smallint) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a integer, b integer) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a bigint, b bigint) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a uuid, b uuid) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a boolean, b boolean) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a date, b date) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a timestamp, b timestamp) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a timestamptz, b timestamptz) returns boolean language sql immutable return a is distinct from b;
create function pgbell.differs(a text, b text) returns boolean language sql immutable return a is distinct from b collate "C";
create function pgbell.some(value text) returns text language sql immutable return nullif(value, '');

-- What a client may skip the echo of its own write by.
create function pgbell.origin() returns text
language sql stable
return left(nullif(current_setting('pgbell.origin', true), ''), 256);

-- Rings for a durable feed. scopes is the inside of a JSON array of strings, and
-- left out where it makes the payload longer than 7,900 bytes. It doesn't ring at
-- all where nobody waits for it, nor once the server's notification queue is half
-- full, since a full one makes commits fail: a durable feed loses nothing by that
-- but speed. One expression, which becomes a part of the caller's.
create function pgbell.ring(tbl text, op text, scopes text) returns boolean
language sql volatile
return case when pgbell.armed() and pg_notification_queue_usage() <= 0.5 then
        pg_notify('pgbell', '{"v":1,"table":' || coalesce(to_json(tbl)::text, 'null') || ',"op":"' || op || '","scopes":'
            || case when 38 + octet_length(coalesce(to_json(tbl)::text, 'null')) + octet_length(op) + octet_length(nullif(scopes, '')) <= 7900
                then '["' || scopes || '"]' else 'null' end || '}') is not null end;

-- Rings for a feed that is not durable, with all that there is to know of one
-- change. One that doesn't fit becomes a reset of the feed's scopes. The time
-- keeps Postgres from folding equal notifications: of in, out, in again, the
-- last must not be the one that is missing.
-- +goose StatementBegin
create function pgbell.ring_change(tbl text, op text, origin text, change text, templates text[]) returns void
language plpgsql
as $$
declare
    payload constant text := concat('{"v":1,"table":', to_json(tbl), ',"op":"', op, '",', '"origin":' || to_json(origin)::text || ',',
        '"at":', to_json(clock_timestamp() at time zone 'UTC'), ',', substr(change, 2));
begin
    if octet_length(payload) <= 7900 then
        perform pg_notify('pgbell', payload);
    else
        perform pg_notify('pgbell', pgbell.reset_payload(tbl, op, templates, 'too large'));
    end if;
end $$;
-- +goose StatementEnd

create function pgbell.reset_payload(tbl text, op text, templates text[], reason text) returns text
language sql immutable
as $$
    select case when octet_length(whole) <= 7900 then whole else head || '}' end
    from format('{"v":1,"table":%s,"op":"%s","scopes":null,"reason":"%s"', to_json(tbl), op, reason) head,
        concat(head, ',"templates":', to_json(templates), '}') whole
$$;

-- Writes changes to the journal: those of one statement under one seq, which it
-- returns: plpgsql calls a function faster in an assignment than by PERFORM.
-- +goose StatementBegin
create function pgbell.record(seq bigint, part integer, tbl text, op text, origin text, changes text) returns bigint
language plpgsql
as $$
declare
    own constant pg_catalog.xid8 := pg_catalog.pg_current_xact_id(); -- before the slot is looked up, as rotate's fence needs it
begin
    if pg_catalog.pg_sequence_last_value('pgbell.orders') operator(pg_catalog.%) 2 operator(pg_catalog.=) 1 then
        insert into pgbell.journal_1 (seq, part, tbl, op, origin, changes)
        values (record.seq, record.part, record.tbl, record.op, record.origin, record.changes);
    else
        insert into pgbell.journal_0 (seq, part, tbl, op, origin, changes)
        values (record.seq, record.part, record.tbl, record.op, record.origin, record.changes);
    end if;
    return record.seq;
end $$;
-- +goose StatementEnd

-- The last seq that the transaction had drawn before the statement began whose trigger
-- asks. It says IMMUTABLE, so that plpgsql, where it is all that an expression calls, asks
-- it with the snapshot of that statement, not with a new one. (exec_eval_simple_expr in
-- PostgreSQL's src/pl/plpgsql/src/pl_exec.c.) tbl is there for it to be asked each time.
-- +goose StatementBegin
create function pgbell.drawn_before(tbl text) returns bigint
language plpgsql immutable
as $$
begin
    return (select max(j.seq) from pgbell.journal j where j.xid = pg_current_xact_id());
end $$;
-- +goose StatementEnd

-- Where to record what a statement changed, if triggers of the user's wrote to
-- its table in this transaction: since is the last seq that the transaction had
-- drawn before the statement began. What has a later one is recorded already, but
-- happened after what the statement itself did, which is only heard of at its
-- end: that goes in front of it. Only the order of a key that is inserted and
-- removed is not certain, for the removal may have made room.
-- +goose StatementBegin
create function pgbell.place(tbl text, op text, inout unsure boolean, changes text[], since bigint, out seq bigint, out part integer)
language plpgsql
as $$
begin
    select j.seq, greatest(j.part::bigint - case when place.changes[2] is null then 1 else 100000 end, -2147483648)
    into place.seq, place.part
    from pgbell.journal j
    where j.xid = pg_current_xact_id() and j.seq > coalesce(since, 0) and j.tbl = place.tbl
    order by j.seq, j.part limit 1;
    unsure := unsure or op = 'insert' and place.seq is not null and exists (
        select from pgbell.journal j, unnest(place.changes) c (c), substring(c.c from '"key":[{].*?[}](?=,"data":|[}]$)') k (k)
        where j.xid = pg_current_xact_id() and j.seq > coalesce(since, 0) and j.tbl = place.tbl
            and (j.op = 'delete' and strpos(j.changes, k.k) > 0
                or j.op = 'update' and strpos(j.changes, k.k || '}') > 0 and strpos(j.changes, k.k || ',') = 0 -- of the old side alone
                or j.op in ('delete', 'update') and cardinality(place.changes) >= 500)); -- there may be more
    place.part := coalesce(place.part, 0);
    place.seq := coalesce(place.seq, nextval('pgbell.journal_seq'));
end $$;
-- +goose StatementEnd

-- A reset for every scope that templates can produce. A transaction that gives
-- rise to the same one again and again (row by row, partition by partition)
-- records it once.
-- +goose StatementBegin
create function pgbell.record_reset(tbl text, templates text[], reason text, durable boolean) returns void
language plpgsql
as $$
begin
    if not durable then
        perform pg_notify('pgbell', pgbell.reset_payload(tbl, 'reset', templates, reason));
        return;
    end if;
    if (select j.op = 'reset' and j.tbl = record_reset.tbl from pgbell.journal j
        where j.xid = pg_current_xact_id() order by j.seq desc, j.part desc limit 1)
    then
        return;
    end if;
    perform pgbell.record(nextval('pgbell.journal_seq'), 0, tbl, 'reset', null,
        json_build_object('templates', templates, 'reason', reason)::text);
    perform pgbell.ring(tbl, 'reset', null);
end $$;
-- +goose StatementEnd

-------------------------------------------------------------------------------
-- feeds
-------------------------------------------------------------------------------

create table pgbell.feed (
    id       integer generated always as identity primary key,
    target   regclass not null unique,
    tbl      text not null,     -- the table's name when it was attached
    scopes   text[] not null,
    audience text[],            -- null: everyone
    columns  text[],            -- null: any
    payload  text[],
    durable  boolean not null,
    key      text[] not null,   -- primary key; empty: none
    types    jsonb not null,    -- type of each column that scopes, audience, payload, columns or key name
    made_on  oid not null       -- target as a number: it is another in a dump that was restored
);

-- Tables that were attached once: who listens to their scopes missed something.
create table pgbell.detached (target oid primary key);

-- The name of a table as one would write it: quoted where needed, with its schema.
create function pgbell.table_name(tbl oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = tbl
$$;

-------------------------------------------------------------------------------
-- generator
-------------------------------------------------------------------------------

-- p: partitioned; i: has parents or children by inheritance; r: a table like any other.
create function pgbell.kind(tbl regclass) returns "char"
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when c.relkind = 'p' then 'p' when exists (select from pg_inherits i where tbl in (i.inhparent, i.inhrelid)) then 'i' else 'r' end::"char"
    from pg_class c where c.oid = tbl
$$;

-- The type of the variables that stand in for columns that are gone.
create type pgbell.missing as enum ();

-- A type without its domains.
-- +goose StatementBegin
create function pgbell.base_type(typ oid) returns oid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    base oid := typ;
begin
    while base <> 0 loop
        typ := base;
        select t.typbasetype into base from pg_type t where t.oid = typ;
    end loop;
    return typ;
end $$;
-- +goose StatementEnd

-- An identifier in quotes, always: plpgsql has key words that SQL has not, such as loop.
create function pgbell.quoted(name text) returns text
language sql immutable
as $$ select '"' || replace(name, '"', '""') || '"' $$;

-- SQL of the generator's, with its operators, functions, types and collations named so
-- that no search_path makes them others. What stands in it is put in afterwards, by
-- format: that may hold what looks like any of them.
-- +goose StatementBegin
create function pgbell.pinned(sql text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if sql ~ '\m(distinct from|nullif|in \(|like|between)' or sql ~ '\mcase (?!when\M)' then
        raise exception 'an operator of this can''t be named: %', sql;
    end if;
    sql := regexp_replace(sql, ' (\|\||=|<>|<=|<|>|\*<>|!~|\+|-|/) ', ' operator(pg_catalog.\1) ', 'g');
    sql := regexp_replace(sql, '(?<![.\w])(concat|concat_ws|format|starts_with|right|substr|rtrim|octet_length|pg_column_size|num_nulls|to_json|to_regtype|string_agg|array_to_string|unnest|current_setting|pg_trigger_depth)\(', 'pg_catalog.\1(', 'g');
    sql := regexp_replace(sql, '::(text|record|regclass)\M', '::pg_catalog.\1', 'g');
    return replace(sql, 'collate "C"', 'collate pg_catalog."C"');
end $$;
-- +goose StatementEnd

-- What a plan is made for: called with constants, these give their answer when the
-- plan is made, and anew once a change of the table has undone it. For that they
-- say IMMUTABLE. They ask the catalog's cache: a snapshot may be older than the table.
create function pgbell.type_of(anyelement) returns regtype
language sql immutable
as $$ select pg_catalog.pg_typeof($1) $$;

create function pgbell.has_column(tbl oid, attnum integer) returns boolean
language sql immutable
return pg_describe_object('pg_catalog.pg_class'::regclass, tbl, attnum) is not null;

-- Whether a column is of a type, in SQL. CASE gives the base type of a domain.
create function pgbell.has_type(col text, base oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(pgbell.pinned('pgbell.type_of(case when false then %s end) = %s'), col,
        case when base < 16384 then base::text -- the same on each server, and read faster than a name
            else format(pgbell.pinned('to_regtype(%L)'), base::regtype) end)
$$;

-- The name of a table, as pgbell.table_name gives it.
create function pgbell.name_of(tbl oid) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$ select (pg_identify_object('pg_class'::regclass, tbl, 0)).identity $$;

-- Whether condition, on columns of a row r of a table, holds of its definition; it
-- does not if one of them is gone, or if the table isn't one that has fn in a trigger:
-- in a dump that was restored it may be another. As the three above it is asked when a
-- plan is made, so that an EXCEPTION block does no harm. The row is of the table's type,
-- for which nobody needs a right.
-- +goose StatementBegin
create function pgbell.intact(tbl oid, fn text, condition text) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    holds boolean;
begin
    if not exists (select from pg_trigger t where t.tgrelid = tbl and t.tgfoid = fn::regprocedure) then
        return false;
    end if;
    execute format('select %s from (select null::%s as r) x', condition, tbl::regclass) into holds;
    return coalesce(holds, false);
exception when others then
    return false;
end $$;
-- +goose StatementEnd

-- What is asked of each column that a feed names, in SQL that is pinned, by its bare
-- name: that of a column which is gone falls back to a variable of type pgbell.missing.
-- (Behind an alias, 'n.', it doesn't: that is for where all columns are known to be as
-- they were.) None of it may fail, whatever the row holds and whatever became of the
-- column's type. And none may cast: what a cast does is up to the owner of the type, and
-- here it would be done with the rights of pgbell's owner. concat asks the type's output
-- function; to_json casts types that are not built in, and sees only those that are.
--   same   whether the column's type is as it was
--   fits   whether its value is not too long to be looked at; null: it is not
--   safe   whether its text is short, and safe in a scope as it is
--   txt    its text, null if that is too long for a scope and a user id: 1024 bytes, 4 more as stored
--   js     its JSON
--   users  the user ids in it, as the inside of a JSON array
--   plain  where the column itself, in a text, gives txt: itself, else null
--   number whether that is a number in JSON, too
--   words  whether it is text
--   filled whether it was NOT NULL when the table was attached; it may not be any more
create type pgbell.column_sql as (name text, same text, fits text, safe boolean, txt text, plain text, number boolean, js text, users text, words boolean, filled boolean);

-- Of all columns that a feed names, or only those. (plpgsql, which plans the query once.)
-- +goose StatementBegin
create function pgbell.columns(f pgbell.feed, alias text default '', named text[] default null) returns setof pgbell.column_sql
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with columns as (
        select e.i, e.key as name, alias || pgbell.quoted(e.key) as q, b.oid::regtype as base, b.oid < 16384 as builtin,
            b.typinput = 'array_in'::regproc as list,
            b.oid = any ('{smallint,integer,bigint,uuid,boolean}'::regtype[]) as safe,
            pgbell.has_type(alias || pgbell.quoted(e.key), b.oid) as same
        from jsonb_each_text(f.types) with ordinality e (key, value, i)
        join pg_type t on t.oid = to_regtype(e.value)
        join pg_type b on b.oid = pgbell.base_type(t.oid)
        where named is null or e.key = any (named)
    ), texts as (
        select *, format(pgbell.pinned(case
            when alias <> '' and safe and base <> 'boolean'::regtype then '%s::text' -- of a built-in type, for sure: the cast is Postgres' own
            when base = 'boolean'::regtype then $q$case when concat(%s) = 't' then 'true' when concat(%1$s) = 'f' then 'false' end$q$
            when safe then 'case when num_nulls(%s) = 0 then concat(%1$s) end'
            when base = 'character'::regtype then 'case when pg_column_size(%s) <= 8192 then rtrim(concat(%1$s)) end'
            when alias <> '' and base = any ('{text,character varying}'::regtype[]) then 'case when pg_column_size(%s) <= 1028 then %1$s::text end'
            else 'case when pg_column_size(%s) <= 1028 then concat(%1$s) end' end), q) as txt
        from columns
    )
    select name, same, case when list and name = any (f.audience) then format(pgbell.pinned('coalesce(pg_column_size(%s) <= 2000000, true)'), q) end, safe, txt,
        case when base = any ('{smallint,integer,bigint,uuid}'::regtype[]) then q end,
        base = any ('{smallint,integer,bigint}'::regtype[]),
        case when base = any ('{smallint,integer,bigint}'::regtype[]) then format('coalesce(%s, %L)', txt, 'null')
            else format(pgbell.pinned(case
                when builtin then $q$coalesce(case when %2$s then to_json(%1$s)::text end, 'null')$q$
                when list then $q$coalesce(case when num_nulls(%1$s) = 0 then to_json(case when %2$s then concat(%1$s) end::text[])::text end, 'null')$q$
                else $q$coalesce(case when num_nulls(%1$s) = 0 then to_json(concat(%1$s))::text end, 'null')$q$ end), q, same) end,
        format(pgbell.pinned(case
            when list then $q$(select string_agg(to_json(u.u)::text, ',')
                    from unnest(case when %2$s and num_nulls(%1$s) = 0 then concat(%1$s) end::text[]) u (u) where octet_length(u.u) <= 1024)$q$
            when safe then $q$'"' || %3$s || '"'$q$
            else 'to_json(%3$s)' end), q, same, txt),
        base = any ('{text,character varying}'::regtype[]),
        exists (select from pg_attribute a where a.attrelid = f.target and a.attname = name and a.attnotnull)
    from texts
    order by i;
end $$;
-- +goose StatementEnd

-- Whether values may make a reserved name of a template with these literals.
create function pgbell.may_be_reserved(literals text[]) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select cardinality(literals) > 1 and exists (select from unnest(pgbell.reserved_scopes()) r (r) where r.r like array_to_string(literals, '%')) $$;

-- A template's scope in SQL: null where a column is null, and where the values
-- make it longer than a scope may be, or a name that is none. In the quick way, if all
-- of its columns are filled, it may be null for a value that is long, too.
-- +goose StatementBegin
create function pgbell.scope_expression(f pgbell.feed, template text, alias text default '', quick boolean default false) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    parsed record := pgbell.parse_template(template);
    cols   constant pgbell.column_sql[] := array(select c from pgbell.columns(f, alias, parsed.columns) c);
    parts  text[] := array[quote_literal(parsed.literals[1])];
    bound  int; -- on its length
    most   int; -- of each text
    col    record;
    checks text[];
begin
    select octet_length(array_to_string(parsed.literals, '')) + coalesce(sum(case when c.safe then 36 else 257 end), 0),
        (256 - octet_length(array_to_string(parsed.literals, '')) - coalesce(sum(36) filter (where c.safe), 0)) / nullif(count(*) filter (where not c.safe), 0),
        quick and bool_and(c.safe or c.words) and (bool_and(c.filled) or count(*) = 1)
    into bound, most, quick
    from unnest(parsed.columns) p (p) join unnest(cols) c on c.name = p.p;
    checks := array_remove(array[
        case when bound > 256 then 'octet_length(s.s) <= 256' end,
        case when pgbell.may_be_reserved(parsed.literals) then 's.s <> all (pgbell.reserved_scopes())' end], null);
    if quick and checks = '{octet_length(s.s) <= 256}' and most > 0 then
        checks := '{}';
    else
        most := null;
    end if;
    for i in 1 .. cardinality(parsed.columns) loop
        select c.* into strict col from unnest(cols) c where c.name = parsed.columns[i];
        parts := parts || array[case when col.safe then col.txt
            when most > 0 then format(pgbell.pinned($q$case when octet_length(%s) <= %s then case when %1$s collate "C" !~ '[^A-Za-z0-9_.:@/+=~-]' then %1$s::text else pgbell.encoded(%1$s, %2$s) end end$q$),
                alias || pgbell.quoted(col.name), most)
            else format('pgbell.scope_value(%s)', col.txt) end, quote_literal(parsed.literals[i + 1])];
    end loop;
    return format(pgbell.pinned(case when checks = '{}' then '%s' else '(select s.s from (select (%s) collate "C") s (s) where ' || array_to_string(checks, ' and ') || ')' end),
        array_to_string(array_remove(parts, $q$''$q$), pgbell.pinned(' || ')));
end $$;
-- +goose StatementEnd

-- All scopes of a row in SQL, joined to the inside of a JSON array.
create function pgbell.scopes_expression(f pgbell.feed, alias text default '') returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(pgbell.pinned(case when count(*) < 90 then 'right(concat(%s), -3) collate "C"' else $q$right(array_to_string(array[%s]::text[], ''), -3) collate "C"$q$ end), -- a function takes 100 arguments
        string_agg(format(pgbell.pinned($q$'","' || %s$q$), pgbell.scope_expression(f, t.t, alias)), ', ' order by t.i))
    from unnest(f.scopes) with ordinality t (t, i)
$$;

-- Text in SQL, of what is in turns a literal and an expression, the first and the last
-- a literal. An expression that is null is left out.
create function pgbell.concat_expression(parts text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format(pgbell.pinned('concat(%s) collate "C"'), string_agg(case when p.i % 2 = 1 then quote_literal(p.p) else p.p end, ', ' order by p.i))
    from unnest(parts) with ordinality p (p, i) where p.p <> ''
$$;

-- One such text after the other.
create function pgbell.joined(a text[], b text[]) returns text[]
language sql immutable
as $$ select a[:cardinality(a) - 1] || (a[cardinality(a)] || b[1]) || b[2:] $$;

-- The same by format, which takes less time to begin.
create function pgbell.format_expression(parts text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format(pgbell.pinned('format(%s) collate "C"'), concat_ws(', ',
        quote_literal(string_agg(case when p.i % 2 = 1 then replace(p.p, '%', '%%') else '%s' end, '' order by p.i)),
        string_agg(p.p, ', ' order by p.i) filter (where p.i % 2 = 0)))
    from unnest(parts) with ordinality p (p, i)
$$;

-- The audience of a row as JSON: null, or an array of user ids.
create function pgbell.audience_parts(f pgbell.feed, alias text default '') returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when f.audience is null then '{"null"}' when count(*) = 0 then '{[]}' else array['[', case when count(*) = 1 then string_agg(c.users, '')
        else format(pgbell.pinned($q$array_to_string(array[%s], ',')$q$), string_agg(format(pgbell.pinned('(%s)::text'), c.users), ', ' order by array_position(f.audience, c.name))) end, ']'] end
    from pgbell.columns(f, alias, f.audience) c
$$;

create function pgbell.audience_expression(f pgbell.feed, alias text default '') returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select case when f.audience is null then pgbell.pinned('null::text') else pgbell.concat_expression(pgbell.audience_parts(f, alias)) end $$;

-- The key of a row as JSON; there must be one. In the quick way no number in it may be null.
create function pgbell.key_parts(f pgbell.feed, alias text default '', quick boolean default false) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(v.v order by k.i, v.i) || '}'::text
    from unnest(f.key) with ordinality k (k, i) join pgbell.columns(f, alias, f.key) c on c.name = k.k,
        lateral (values (1, case k.i when 1 then '{' else ',' end || to_json(k.k) || ':'), (2, case when quick and c.number then c.plain else c.js end)) v (i, v)
$$;

create function pgbell.key_expression(f pgbell.feed, alias text default '') returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select case when f.key = '{}' then pgbell.pinned('null::text') else pgbell.concat_expression(pgbell.key_parts(f, alias)) end $$;

-- All scopes of a row again, more quickly, for who goes another way where this is null: it
-- is where there are none, where a column that was NOT NULL at attach is null, and where
-- the text in one is too long.
create function pgbell.quick_scopes(f pgbell.feed, alias text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(pgbell.pinned(case when (array_agg(t.filled order by t.i))[1] then '(%s)' when bool_or(t.filled) then 'right(%s, -3)' else 'pgbell.some(right(%s, -3))' end || ' collate "C"'),
        string_agg(format(pgbell.pinned(case when t.i = 1 and t.filled then '%s' when t.filled then $q$('","' || %s)$q$ else $q$coalesce('","' || %s, '')$q$ end), t.e), pgbell.pinned(' || ') order by t.i))
    from (
        select t.i, pgbell.scope_expression(f, t.t, alias, true) as e,
            not exists (select from unnest((pgbell.parse_template(t.t)).columns) u (u) join pgbell.columns(f, alias) c on c.name = u.u where not c.filled) as filled
        from unnest(f.scopes) with ordinality t (t, i)
    ) t
$$;

-- The scopes of a row once more, as parts of a text, from '"scopes":["' on: where all of
-- them are made of columns that are plain, and were NOT NULL at attach. Else it is null.
-- +goose StatementBegin
create function pgbell.plain_scopes(f pgbell.feed, alias text) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    cols   constant pgbell.column_sql[] := array(select c from pgbell.columns(f, alias) c);
    parts  text[];
    parsed record;
    col    record;
begin
    for parsed in select p.* from unnest(f.scopes) with ordinality t (t, i), pgbell.parse_template(t.t) p order by t.i loop
        if octet_length(array_to_string(parsed.literals, '')) + 36 * cardinality(parsed.columns) > 256 or pgbell.may_be_reserved(parsed.literals) then
            return null;
        end if;
        parts := pgbell.joined(case when parts is null then array['"scopes":["'] else pgbell.joined(parts, array['","']) end, array[parsed.literals[1]]);
        for i in 1 .. cardinality(parsed.columns) loop
            select c.* into strict col from unnest(cols) c where c.name = parsed.columns[i];
            if col.plain is null or not col.filled then
                return null;
            end if;
            parts := parts || col.plain || parsed.literals[i + 1];
        end loop;
    end loop;
    return parts;
end $$;
-- +goose StatementEnd

-- The payload columns of a row in SQL, as JSON, without values that are too long.
create function pgbell.data_expression(f pgbell.feed, alias text default '') returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(pgbell.pinned(case when count(*) = 0 then 'null::text' else $q$concat('{', array_to_string(array[%s]::text[], ','), '}') collate "C"$q$ end), string_agg(format(
            pgbell.pinned('case when num_nulls(%1$s) = 1 then %2$L when pg_column_size(%1$s) <= 65536 then (select %3$L || j.j from (select %4$s) j (j) where octet_length(j.j) <= 262144) end'),
            alias || pgbell.quoted(c.name), to_json(c.name) || ':null', to_json(c.name) || ':', c.js), ', ' order by p.i))
    from unnest(f.payload) with ordinality p (p, i) join pgbell.columns(f, alias, f.payload) c on c.name = p.p
$$;

-- One side of a change: the columns drifted, scopes (empty if there are none),
-- audience, key (JSON) and data (JSON, without values that are too long) of a
-- subquery. Their collation is explicit, since those of several columns may be at odds.
create function pgbell.side(f pgbell.feed, alias text default '') returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('%s as drifted, %s as scopes, %s as audience, %s as key, %s as data',
        (select coalesce('(' || string_agg(concat_ws(' and ', c.same, c.fits), ' and ') || ') is not true', 'false') from pgbell.columns(f, alias) c),
        pgbell.scopes_expression(f, alias), pgbell.audience_expression(f, alias), pgbell.key_expression(f, alias), pgbell.data_expression(f, alias))
$$;

-- The query that gives the changes of one statement, or of one row: the scopes
-- that hear of it, for the bell, and the change in JSON, null if a column is not
-- as it was. What to select from are the transition tables where fn is null, else
-- old and new of that function.
-- +goose StatementBegin
create function pgbell.changes(f pgbell.feed, op text, fn text, side text, depends text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    olds   constant text := coalesce('(select ' || fn || '.old.*)', 'old_rows');
    news   constant text := coalesce('(select ' || fn || '.new.*)', 'new_rows');
    who    constant text := $q$'{"scopes":' || case when x.scopes = '' then '[]' else '["' || x.scopes || '"]' end || ',"audience":' || coalesce(x.audience, 'null')$q$
        || case when f.key <> '{}' then $q$ || ',"key":' || x.key$q$ else '' end;
    data   constant text := case when f.payload <> '{}' then $q$ || ',"data":' || x.data$q$ else '' end;
    moved  constant text := '(x.old_scopes <> x.scopes or x.old_audience is distinct from x.audience or x.old_key is distinct from x.key)';
    cols   text;   -- all columns of the table that an update may change, as c1, c2 and so on
    differ text;   -- names of those that it did change
    counts text;   -- whether one is among those that count
    gone   text;   -- whether the name of a column is gone, so that there may be another
    size   text;   -- of a row, as it is stored
begin
    if op <> 'update' then
        return format($q$
                select x.scopes, case when not x.drifted then %s end
                from (select %s from %s t offset 0) x
                where feed.alive and %s and (x.drifted or x.scopes <> '')$q$,
            who || data || $q$ || '}'$q$, side, case op when 'insert' then news else olds end, depends);
    end if;

    select string_agg(format(', %s as c%s', pgbell.quoted(c.name), c.i), '' order by c.i),
        string_agg(format('case when %s then %L end', c.differs, substr(to_json(c.name)::text, 2, length(to_json(c.name)::text) - 2)), ', ' order by c.i),
        string_agg(c.differs, ' or ' order by c.i) filter (where c.name = any (f.columns)),
        string_agg(format(' or pgbell.type_of(case when false then %s end) = %L::regtype', pgbell.quoted(c.name), 'pgbell.missing'), '' order by c.i) filter (where not f.types ? c.name),
        concat_ws(' + ', '0::bigint', string_agg(format('coalesce(pg_column_size(%s), 0)', pgbell.quoted(c.name)), ' + ' order by c.i))
    into cols, differ, counts, gone, size
    from (
        select a.attname::text as name, a.attnum as i, format('row(o.c%s)::record *<> row(n.c%1$s)::record', a.attnum) as differs
        from pg_attribute a
        where a.attrelid = f.target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
    ) c;
    -- A whole row may be too large for one value, at the latest once it's decompressed; such a one counts as changed.
    side := case when fn is not null then format('0 as i, %s as size, ', size)
            else format('row_number() over () as i, case when pgbell.has_column(%s, %s)%s then case when %s < 3000000 then row(t.*)::record else row(random())::record end end as r, ',
                f.target::oid, (select c.relnatts + 1 from pg_class c where c.oid = f.target), gone, size) end
        || side || coalesce(cols, '');
    return format($q$
                select concat_ws('","', nullif(x.old_scopes, ''), nullif(case when x.old_scopes <> x.scopes then x.scopes end, '')),
                    case when not x.drifted then %s end
                from (select n.*, o.scopes as old_scopes, o.audience as old_audience, o.key as old_key%s,
                        array_to_string(array[%s]::text[], '","') as changed, %s as counts
                    from (select %s from %s t offset 0) o
                    join (select %s from %s t offset 0) n on n.i = o.i offset 0) x
                where feed.alive and %s and (x.changed <> '' or %s) and (x.drifted
                    or (x.old_scopes <> '' or x.scopes <> '') and (x.counts or %s))$q$,
        who || $q$ || ',"changed":[' || coalesce('"' || nullif(x.changed, '') || '"', '') || ']'$q$ || data
            || format($q$ || case when %s then ',"old":' || $q$, moved) || replace(who, 'x.', 'x.old_') || $q$ || '}' else '' end || '}'$q$,
        case when fn is not null then '' else ', o.r as old_r' end,
        differ, case when f.columns is null then 'true' else coalesce(counts, 'false') end,
        side, olds, side, news, depends,
        case when fn is not null then format('case when x.size < 500000000 then %s.old *<> %1$s.new else true end', fn) else 'feed.restored or x.old_r *<> x.r' end, moved);
end $$;
-- +goose StatementEnd

-- Shortcuts for durable feeds, for statements on a plain table that is as it was
-- attached, so that no care is needed for what is gone, and in which no other trigger
-- has a part. What they don't return from is left to pgbell.changes and its loop.
--   one    for one row, unless an update moves it: what most statements are, at a third of the cost.
--     What costs is to begin a query, step of its expressions by step. Hence one query,
--     which writes the journal, too; format, which looks the types of its arguments up once;
--     which columns changed as flags, whose names the reader puts there; and whether there is
--     a second row asked in a query without a sublink, which Postgres would look through for
--     tables to lock, each time.
--     It pins all its names, and has no variables in queries, for which a plan could be made anew
--   many   for an update of more than 500 rows, at half of it: old and new are joined by the key.
--     If each finds its other, no key has changed, since two rows can't have the same
--     for a moment. Only where no row's JSON can be very long. Null where there is none
-- +goose StatementBegin
create function pgbell.shortcut(f pgbell.feed, op text, out one text, out many text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    rows    constant text := case op when 'delete' then 'old_rows' else 'new_rows' end;
    alias   constant text := case op when 'delete' then 'o.' else 'n.' end;
    scoped  constant text[] := array(select unnest((pgbell.parse_template(t.t)).columns) from unnest(f.scopes) t (t)); -- columns that scopes are made of
    names   constant text[] := f.key || f.audience || scoped;
    depends constant text := format(pgbell.pinned('array[%L::regclass] is not null'), f.target::oid); -- as in pgbell.generate
    sound   constant text := coalesce((select string_agg(concat_ws(' and ', c.same, c.fits), ' and ') from pgbell.columns(f, alias) c), 'true'); -- types that are not built in are asked for by name, each time
    alone   text;  -- all is as it was, and no other trigger has a part in it
    same    text;  -- whether all columns are as they were
    differ  text;  -- names of those that an update changed
    others  text;  -- the names of those that are not in moves, as a JSON array
    differences text; -- whether there is one
    counts  text;  -- whether one is among those that count
    moves   text;  -- whether one is among those that scopes, audience and key are made of, so that it may move the row
    keys    text;  -- whether two rows have the same key; null if that can't be asked for sure
    tables  text;
    flags   text[]; -- parts of a text: whether each of others changed
    simple  constant text[] := pgbell.plain_scopes(f, alias);
    unknown text;   -- whether a column that must not be null is
    parts   text[]; -- of the JSON: what comes after the scopes
    change  text;   -- all of it, as an array of one; null if the update moves the row, or changes nothing that counts
    head    text[] := '{"{"}'; -- what comes before the scopes
    flag    text;
    unmoved text;   -- how the JSON of a row begins that did not change
    whole   text[]; -- parts of all of it, where the scopes are simple
    query   text;   -- that gives it, as x.c
    json    text;   -- of one of many rows
    sides   text;   -- what that is made of
    told    text;   -- whether somebody is to hear of the row
begin
    if op = 'delete' and pgbell.deferrable_key(f.target) then
        return;
    elsif op = 'update' then
        select coalesce(string_agg(pgbell.has_type('(x.r).' || pgbell.quoted(c.name), c.base), ' and '), 'true'),
            format(case when count(*) < 90 then $q$concat_ws('","', %s)$q$ else $q$array_to_string(array[%s]::text[], '","')$q$ end, -- a function takes 100 arguments
                coalesce(string_agg(d.named, ', ' order by c.i), 'null')),
            '[' || coalesce(string_agg(to_json(c.name)::text, ',' order by c.i) filter (where c.name <> all (names)), '') || ']',
            case when count(*) < 50 then array_agg(c.differs order by c.i) filter (where c.name <> all (names))
                else array[format(pgbell.pinned($q$array_to_string(array[%s], '')$q$), coalesce(string_agg(c.differs, ', ' order by c.i) filter (where c.name <> all (names)), 'null'))] end,
            coalesce(string_agg(c.differs, ' or ' order by c.i), 'false'),
            coalesce(string_agg(c.differs, ' or ' order by c.i) filter (where c.name = any (f.columns)), (f.columns is null)::text),
            coalesce(string_agg(c.differs, ' or ' order by c.i) filter (where c.name = any (names)), 'false'),
            string_agg(c.equals, ' and ') filter (where c.name = any (f.key))
        into same, differ, others, flags, differences, counts, moves, keys
        from (
            select a.attname::text as name, a.attnum as i, b.b as base,
                format(pgbell.pinned(case when k.plain or k.text then 'pgbell.differs(o.%s, n.%1$s)' else 'row(o.%s)::record *<> row(n.%1$s)::record' end), pgbell.quoted(a.attname)) as differs,
                format(case when k.plain then 'o.%s = n.%1$s' when k.text then 'o.%s collate "C" = n.%1$s collate "C"' else 'false' end, pgbell.quoted(a.attname)) as equals
            from pg_attribute a, pgbell.base_type(a.atttypid) b (b),
                lateral (select b.b = any ('{smallint,integer,bigint,uuid,boolean,date,timestamp,timestamptz}'::regtype[]) as plain,
                    b.b = any ('{text,character varying}'::regtype[]) as text) k
            where a.attrelid = f.target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
        ) c, lateral (select format('case when %s then %L end', c.differs, substr(to_json(c.name)::text, 2, length(to_json(c.name)::text) - 2)) as named) d;
        same := format('%s and not pgbell.has_column(%s, %s)', same, f.target::oid, (select c.relnatts + 1 from pg_class c where c.oid = f.target));
    else
        same := coalesce((select string_agg(c.same, ' and ') from pgbell.columns(f, '(x.r).') c), 'true');
    end if;

    alone := format(pgbell.pinned($q$%s and pg_trigger_depth() = 1 and (current_setting('pgbell.nested_%s', true) = 'on') is not true and pgbell.intact(%s, %L, %L)$q$),
        depends, f.id, f.target::oid, pgbell.feed_function(f.id, op), same);
    tables := case op when 'insert' then 'new_rows n' when 'delete' then 'old_rows o' else 'old_rows o, new_rows n' end;
    told := format(pgbell.pinned($q$(%s <> '')$q$), pgbell.scopes_expression(f, alias));
    parts := pgbell.joined(array['"],"audience":'], pgbell.audience_parts(f, alias));
    if f.key <> '{}' then
        parts := pgbell.joined(pgbell.joined(parts, array[',"key":']), pgbell.key_parts(f, alias, true));
    end if;
    if op = 'update' then
        told := format(pgbell.pinned($q$(%s) and (%s or %s <> '')$q$), case when f.columns is null then differences else counts || ' or ' || moves end, told, pgbell.scopes_expression(f, 'o.'));
        parts := pgbell.joined(parts, array[',"columns":' || others]);
    end if;
    if f.payload <> '{}' then
        parts := pgbell.joined(parts, array[',"data":', pgbell.data_expression(f, alias), '']);
    end if;
    parts := pgbell.joined(parts, array['}']);
    if op = 'update' then
        head := '{"{\"flags\":\""}';
        foreach flag in array coalesce(flags, '{}') loop
            head := head || flag || ''::text;
        end loop;
        head := pgbell.joined(head, array['",']);
        unmoved := '{"flags":"' || repeat('f', json_array_length(others::json)) || '"';
    end if;
    whole := pgbell.joined(pgbell.joined(head, simple), parts);
    change := case when simple is not null then pgbell.format_expression(pgbell.joined(pgbell.joined(array['['], whole), array[']']))
        else concat_ws(pgbell.pinned(' || '), pgbell.format_expression(pgbell.joined(pgbell.joined(array['['], head), array['"scopes":["'])),
            pgbell.quick_scopes(f, alias), pgbell.format_expression(pgbell.joined(parts, array[']']))) end;
    select case when count(*) > 0 then format(pgbell.pinned('num_nulls(%s) > 0'), string_agg(c.plain, ', ')) end into unknown
    from pgbell.columns(f, alias, names) c
    where c.number and c.name = any (f.key) or simple is not null and c.name = any (scoped);
    unknown := nullif(concat_ws(' or ', moves, unknown), '');
    change := coalesce('case when ' || nullif(concat_ws(' or ', unknown, 'not (' || nullif(counts, 'true') || ')'), '') || ' then null else ' || change || ' end', change);
    query := format('from (select %s as c from %s where %s and %s offset 0) x where %s', change, tables, depends, sound,
        case when op = 'update' then format(pgbell.pinned('not starts_with(x.c, %L)'), '[' || unmoved) else 'x.c is not null' end);
    one := format($q$
    perform from %s limit 1 offset 1;
    if not found and %s then
        quick.orders := pg_catalog.pg_sequence_last_value('pgbell.orders');
        if quick.orders operator(pg_catalog.=) 0 then
            insert into pgbell.journal_0 (tbl, op, origin, changes) select pgbell.name_of(%3$s), %4$L, pgbell.origin(), x.c %5$s;
        elsif quick.orders operator(pg_catalog.=) 1 then
            insert into pgbell.journal_1 (tbl, op, origin, changes) select pgbell.name_of(%3$s), %4$L, pgbell.origin(), x.c %5$s;
        else
            perform pgbell.record(pg_catalog.nextval('pgbell.journal_seq'), 0, pgbell.name_of(%3$s), %4$L, pgbell.origin(), x.c),
                pgbell.ring(pgbell.name_of(%3$s), %4$L, pg_catalog.split_part(pg_catalog.split_part(x.c, '"scopes":["', 2), '"],', 1)) %5$s;
        end if;
        if found then
            return null;
        elsif not exists (select from %6$s where not (%7$s) or (%8$s)) then -- nobody is to hear of it
            return null;
        end if;
    end if;$q$,
        rows, alone, f.target::oid, op, query, tables, sound, told);
    if op = 'update' and f.payload is null and not exists (select from pgbell.columns(f) c where c.fits is not null) and keys is not null and not pgbell.deferrable_key(f.target) then
        json := $q$case when x.changed <> '' and (x.counts or x.moved) and (x.scopes <> '' or x.old[1] <> '') then
                            '{"scopes":' || case when x.scopes = '' then '[]' else '["' || x.scopes || '"]' end || ',"audience":' || coalesce(x.audience, 'null')
                            || ',"key":' || x.key || ',"changed":["' || x.changed || '"]' || case when x.moved then
                                ',"old":{"scopes":' || case when x.old[1] = '' then '[]' else '["' || x.old[1] || '"]' end
                                || ',"audience":' || coalesce(x.old[2], 'null') || ',"key":' || x.key || '}' else '' end || '}' end$q$;
        sides := format($q$from (select x.*, x.old is not null and (x.old[1] <> x.scopes or x.old[2] is distinct from x.audience) as moved
                            from (select %s as changed, %s as counts, %s, case when %s then array[%s, %s] end as old$q$,
            differ, counts, pgbell.side(f, 'n.'), moves, pgbell.scopes_expression(f, 'o.'), pgbell.audience_expression(f, 'o.'));
        query := format('o.%s is not null as paired from new_rows n left join old_rows o on %s offset 0', pgbell.quoted(f.key[1]), keys);
        many := format($q$
            if %s and exists (select from new_rows offset 500) then
                if pg_size_bytes(current_setting('work_mem')) < 33554432 then -- else 100,000 rows are sorted on disk, and take a quarter more time
                    perform set_config('work_mem', '32MB', true);
                end if;
                for feed.change, feed.told in
                    select string_agg(x.change, ',')%s, bool_and(bool_and(x.paired)) over ()
                    from (%s) x
                    group by (x.i - 1) / 500
                loop
                    exit when not feed.told; -- before the first is recorded
                    continue when feed.change is null;
                    feed.seq := coalesce(feed.seq, nextval('pgbell.journal_seq'));
                    perform pgbell.record(feed.seq, feed.part, feed.tbl, 'update', feed.origin, '[' || feed.change || ']');
                    feed.part := feed.part + 1;
                end loop;
                perform set_config('work_mem', feed.kept[5], true);
                if feed.told then
                    if feed.part > 0 then
                        perform pgbell.ring(feed.tbl, 'update', null);
                    end if;
                    exit rest;
                end if;
            end if;$q$,
            alone,
            case when simple is not null then format(' filter (where not starts_with(x.change, %L))', unmoved) else '' end,
            case when simple is null then 'select x.i, x.paired, ' || json || ' as change ' || sides || ', row_number() over () as i, ' || query || ') x offset 0) x offset 0'
            else 'select row_number() over () as i, y.* from (select case when ' || unknown || ' then (select ' || json || ' ' || sides || ' offset 0) x offset 0) x)'
                || coalesce(' when not (' || nullif(counts, 'true') || ') then null', '') || ' else ' || pgbell.format_expression(whole) || ' end as change, ' || query || ') y offset 0' end);
    end if;
end $$;
-- +goose StatementEnd

-- The table's name as it is now, in SQL: it may be another than when it was attached.
create function pgbell.table_expression(f pgbell.feed, fn text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case pgbell.kind(f.target)
        when 'p' then format('coalesce(pg_partition_root(%s.tg_relid)::text, %L)', fn, f.tbl)
        when 'i' then format('coalesce((select f.target::text from pgbell.feed f where f.id = %s), %L)', f.id, f.tbl)
        else (select format($q$case when %1$s.tg_table_schema = %2$L and %1$s.tg_table_name = %3$L then %4$L else quote_ident(%1$s.tg_table_schema) || '.' || quote_ident(%1$s.tg_table_name) end$q$,
            fn, n.nspname, c.relname, f.tbl) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = f.target) end
$$;

-- Whether two rows may have the same key for a while, so that who keeps it can't be
-- told from the order.
create function pgbell.deferrable_key(tbl regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_index x where x.indrelid = tbl and x.indisprimary and not x.indimmediate) $$;

-- The function of a feed's trigger: one for each, since a session takes time to learn
-- them, and a table is often only read, or only inserted into.
create function pgbell.feed_function(feed integer, trg text) returns text
language sql immutable
as $$ select 'pgbell.feed_' || feed || '_' || trg || '()' $$;

create function pgbell.feed_functions(feed integer) returns setof pg_proc
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select p.* from pg_proc p where p.pronamespace = 'pgbell'::regnamespace and p.proname ~ ('^feed_' || feed || '_') $$;

-- What a plan must not depend on: a writer's own settings. Functions have it in a SET
-- each, which those that are called for every small write leave to when it matters.
-- +goose StatementBegin
create function pgbell.take_settings() returns text[]
language plpgsql
as $$
declare
    kept constant pg_catalog.text[] := array[pg_catalog.current_setting('search_path'), pg_catalog.current_setting('enable_nestloop'),
        pg_catalog.current_setting('plan_cache_mode'), pg_catalog.current_setting('jit'), pg_catalog.current_setting('work_mem')];
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), pg_catalog.set_config('enable_nestloop', 'off', true),
        pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true), pg_catalog.set_config('jit', 'off', true);
    return kept;
end $$;
-- +goose StatementEnd

-- Sets them as they were. An error on the way does so, too: they are local to the (sub)transaction.
-- +goose StatementBegin
create function pgbell.leave_settings(kept text[]) returns boolean
language plpgsql
as $$
begin
    perform pg_catalog.set_config('enable_nestloop', kept[2], true), pg_catalog.set_config('plan_cache_mode', kept[3], true),
        pg_catalog.set_config('jit', kept[4], true), pg_catalog.set_config('search_path', kept[1], true);
    return true;
end $$;
-- +goose StatementEnd

-- The text of a feed's trigger function, of the trigger insert, update, delete, row or
-- truncate. It uses names of its own only with the label in front (feed.op), since bare
-- ones are the table's columns.
--
-- The function is STABLE where it writes nothing itself, and saves a snapshot for each
-- query by that; what it calls may write. One with a shortcut writes: it is VOLATILE.
-- +goose StatementBegin
create function pgbell.generate(f pgbell.feed, trg text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generate$
declare
    kind      constant "char" := pgbell.kind(f.target);
    fn        constant text := format('feed_%s_%s', f.id, trg);
    row_level constant boolean := trg = 'row';
    members   constant oid[] := array(select t.t::oid from pgbell.tree(f.target) t (t) where kind = 'i' or t.t = f.target order by 1);
    depends   text; -- true, and makes plans depend on the table: a plan over old and new does not by itself, and would fail once a column's type was changed
    flush     text; -- records the changes so far
    each      text; -- what is done with each change
    loops     text := '';
    one       text; -- shortcuts
    many      text;
    side      constant text := pgbell.side(f);
    op        text;
begin
    if trg = 'truncate' then
        return format($f$
create or replace function pgbell.%s() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as %L$f$, fn, format($body$
begin
    perform pgbell.record_reset(%s, %L, 'truncate', %L);
    return null;
end $body$, pgbell.table_expression(f, fn), f.scopes, f.durable));
    end if;

    depends := format('array[%s] is not null', (select string_agg(format('%L::regclass', m.m), ', ') from unnest(members) m (m)));
    flush := format($q$
                if feed.seq is not null then
                    null;
                elsif current_setting('pgbell.nested_%s', true) = 'on' then
                    feed.since := pgbell.drawn_before(feed.tbl);
                    select p.seq, p.part, p.unsure into feed.seq, feed.part, feed.unsure from pgbell.place(feed.tbl, feed.op, feed.unsure, feed.changes, feed.since) p;
                else
                    feed.seq := nextval('pgbell.journal_seq');
                end if;
                perform pgbell.record(feed.seq, feed.part, feed.tbl, feed.op, feed.origin, '[' || array_to_string(feed.changes, ',') || ']');
                feed.part := feed.part + 1;$q$, f.id);
    each := format($q$
            if feed.change is null then
                perform pgbell.record_reset(feed.tbl, feed.templates, 'definition changed', %L);
                exit rest;
            end if;
            feed.heard := true;$q$, f.durable)
        || case when pgbell.deferrable_key(f.target) then $q$
            feed.unsure := feed.unsure or feed.op = 'delete' or strpos(feed.change, ',"old":') > 0;$q$ else '' end
        || case when f.durable then $q$
            feed.changes := array_append(feed.changes, feed.change);
            feed.size := feed.size + octet_length(feed.change);
            if octet_length(feed.bell) < 7900 and strpos('"' || feed.bell || '"', '"' || feed.scopes || '"') = 0 then
                feed.bell := feed.bell || case when feed.bell = '' then '' else '","' end || feed.scopes;
            end if;
            if cardinality(feed.changes) = 500 or feed.size > 1000000 then$q$ || flush || $q$
                feed.changes := '{}';
                feed.size := 0;
            end if;$q$
        else $q$
            perform pgbell.ring_change(feed.tbl, feed.op, feed.origin, feed.change, feed.templates);$q$ end;

    foreach op in array case when row_level then '{insert,update,delete}' else array[trg] end loop
        -- INTO leaves old and new as they are, and large values in their place; a loop would copy them.
        loops := loops || format(case when row_level then $q$
            %s feed.op = %L then%s
            into feed.scopes, feed.change;$q$
            else $q$
            for feed.scopes, feed.change in%3$s
            loop%4$s
            end loop;$q$ end,
            case when loops = '' then 'if' else 'elsif' end, op, pgbell.changes(f, op, case when row_level then fn end, side, depends), each);
    end loop;
    if row_level then
        loops := loops || format($q$
            end if;
            if %s.found then%s
            end if;$q$, fn, each);
    elsif kind = 'r' and f.durable then
        select q.one, q.many into one, many from pgbell.shortcut(f, trg) q;
    end if;

    return format($f$
create or replace function pgbell.%s() returns trigger
language plpgsql %s security definer%s%s
as %L$f$,
        fn, case when one is null then 'stable' else 'volatile' end,
        case when one is null then $q$
set search_path = pg_catalog, pg_temp
set enable_nestloop = off -- a plan made for one row is kept, and used for a million
set plan_cache_mode = force_generic_plan -- a custom one would take a copy of each large value
set jit = off$q$ else '' end || case when kind <> 'r' then $q$
set quote_all_identifiers = off$q$ else '' end,
        case when exists (select from jsonb_each_text(f.types) t
                where t.value <> all ('{smallint,integer,bigint,uuid,boolean,text,character varying,character,name,numeric}'))
            then $q$
set timezone = 'UTC' -- the text of a value must not depend on the writer's settings
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set extra_float_digits = '1'
set bytea_output = 'hex'
set lc_monetary = 'C'
set array_nulls = on$q$ else '' end,
        format($body$
#variable_conflict use_column
<<quick>>
declare
    orders    bigint;    -- of pgbell.orders
begin%s
    <<feed>>
    declare
    op        pg_catalog.text;
    tbl       pg_catalog.text;
    origin    pg_catalog.text;
    scopes    pg_catalog.text;      -- of one change, joined to the inside of a JSON array
    change    pg_catalog.text;      -- JSON; null: a column is not as it was when the table was attached
    told      boolean;   -- all of it, by a shortcut
    changes   pg_catalog.text[];
    size      integer;   -- of changes, in bytes
    heard     boolean;   -- there are changes
    unsure    boolean;   -- their order is not certain
    bell      pg_catalog.text;      -- scopes of all changes
    seq       bigint;    -- null, and alive true, where a query asks: one without variables would get none, even if columns that are gone have become such
    part      integer;
    since     bigint;    -- the last seq of before the statement
    alive     boolean;
    restored  boolean;   -- from a dump: what the plans ask for tells nothing
    templates pg_catalog.text[];
    kept      pg_catalog.text[];    -- the writer's settings
    begin%s
    <<rest>>
    begin
        feed.op := %s;
        feed.tbl := %s;
        feed.origin := pgbell.origin();
        feed.templates := %L;
        feed.restored := %s.tg_relid <> %s;
        feed.alive := true;
        feed.changes := '{}';
        feed.size := 0;
        feed.heard := false;
        feed.unsure := false;
        feed.bell := '';
        feed.part := 0;%s%s
        <<columns>>
        declare -- for names of columns that were dropped or renamed since
%s
        begin%s
        end;
        exit rest when not feed.heard;%s
        if feed.unsure then
            perform pgbell.record_reset(feed.tbl, feed.templates, 'order not certain', %L);
        end if;
        if pg_trigger_depth() > 1 then
            perform set_config('pgbell.nested_%s', 'on', true);
        end if;
    end;%s
    end;
    return null;
end $body$,
            one || format($q$
    if not exists (select from %s) then
        return null;
    end if;$q$, case trg when 'delete' then 'old_rows' else 'new_rows' end),
            case when one is not null then $q$
    feed.kept := pgbell.take_settings();$q$ end,
            case when row_level then format('lower(%s.tg_op collate "C")', fn) else quote_literal(trg) end,
            pgbell.table_expression(f, fn), f.scopes, fn, f.target::oid,
            case when row_level and kind = 'r' then $q$
        exit rest when current_setting('session_replication_role') <> 'replica'; -- enabled by hand: the statement's triggers tell it$q$ else '' end
            || case when row_level then format($q$
        if %s <> all (%L::oid[]) then -- a dump was restored: plans would not depend on the table
            perform pgbell.record_reset(feed.tbl, feed.templates, 'restored', %L);
            exit rest;
        end if;$q$, format(case kind when 'p' then 'pg_partition_root(%s.tg_relid)' else '%s.tg_relid' end, fn), members, f.durable) else '' end,
            many,
            (select string_agg(format('            %s pgbell.missing;', pgbell.quoted(a.attname)), e'\n' order by a.attnum)
                from pg_attribute a where a.attrelid = f.target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'),
            loops,
            case when f.durable then format($q$
        if feed.changes <> '{}' then%s
        end if;
        feed.bell := pgbell.each_once(feed.bell);
        perform pgbell.ring(feed.tbl, feed.op, feed.bell);$q$, flush)
            else format($q$
        feed.unsure := feed.unsure or coalesce(current_setting('pgbell.nested_%s', true) = 'on', false);$q$, f.id) end,
            f.durable, f.id,
            case when one is not null then $q$
    feed.told := pgbell.leave_settings(feed.kept);$q$ end
        ));
end $generate$;
-- +goose StatementEnd

-------------------------------------------------------------------------------
-- attach
-------------------------------------------------------------------------------

-- A table and those that inherit from it, partitions or not, as far as they are tables of this server.
create function pgbell.tree(root regclass) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive t (relid) as (
        select root::oid
        union
        select i.inhrelid from t join pg_inherits i on i.inhparent = t.relid
    )
    select c.oid::regclass from t join pg_class c on c.oid = t.relid where c.relkind in ('r', 'p')
$$;

create function pgbell.primary_key(tbl regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(a.attname::text order by k.i), '{}')
    from pg_index x, unnest(x.indkey::int2[]) with ordinality k (attnum, i)
    join pg_attribute a on a.attnum = k.attnum
    where x.indrelid = tbl and x.indisprimary and a.attrelid = tbl and k.i <= x.indnkeyatts
$$;

-- Says who may attach and detach a table, to those who may not.
-- +goose StatementBegin
create function pgbell.must_own(tbl regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    owner constant oid := (select c.relowner from pg_class c where c.oid = tbl);
begin
    if not pg_has_role(owner, 'usage') then
        raise exception 'must be owner of table %', pgbell.table_name(tbl)
            using errcode = 'insufficient_privilege', hint = format('Do it as %I or as a superuser.', pg_get_userbyid(owner));
    end if;
end $$;
-- +goose StatementEnd

-- Locks a table for changes to its triggers. To wait longer would make all
-- writers of the table wait behind us.
-- +goose StatementBegin
create function pgbell.lock_table(tbl regclass, mode text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience constant text := current_setting('lock_timeout');
begin
    if patience = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
    execute format('lock table %s in %s mode', tbl, mode);
    perform set_config('lock_timeout', patience, true);
exception when lock_not_available then
    raise exception '% is in use: no lock on it within %', pgbell.table_name(tbl), case patience when '0' then '5s' else patience end
        using errcode = 'lock_not_available', hint = 'Try again once the transactions that use it have ended (see pg_locks), or SET lock_timeout to wait longer: its writers then wait, too.';
end $$;
-- +goose StatementEnd

-- Drops the triggers of a feed except those that are kept.
-- +goose StatementBegin
create function pgbell.drop_triggers(f pgbell.feed, kept text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    trg record;
begin
    for trg in
        select t.tgname, t.tgrelid::regclass as tbl from pg_trigger t
        where t.tgfoid in (select p.oid from pgbell.feed_functions(f.id) p) and t.tgparentid = 0
            and format('%I on %s', t.tgname, t.tgrelid::regclass) <> all (kept)
    loop
        execute format('drop trigger %I on %s', trg.tgname, trg.tbl);
    end loop;
end $$;
-- +goose StatementEnd

-- Drops the functions of a feed except those of the triggers that are kept.
-- +goose StatementBegin
create function pgbell.drop_functions(f pgbell.feed, kept text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    fn text;
begin
    for fn in select p.oid::regprocedure::text from pgbell.feed_functions(f.id) p where p.proname <> all (select format('feed_%s_%s', f.id, k.k) from unnest(kept) k (k)) loop
        execute 'drop function ' || fn;
    end loop;
end $$;
-- +goose StatementEnd

-- Takes an object from everybody but its owner: from PUBLIC, and from those to whom
-- ALTER DEFAULT PRIVILEGES gave what is new.
-- +goose StatementBegin
create function pgbell.close_to_all(kind text, object text, acl aclitem[], owner oid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    who oid;
begin
    for who in select distinct a.grantee from aclexplode(coalesce(acl, case kind when 'function' then acldefault('f', owner) end)) a where a.grantee <> owner loop
        execute format('revoke all on %s %s from %s', kind, object, case who when 0 then 'public' else quote_ident(pg_get_userbyid(who)) end);
    end loop;
end $$;
-- +goose StatementEnd

-- Takes the triggers and the functions of a feed away.
-- +goose StatementBegin
create function pgbell.remove(f pgbell.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgbell.drop_triggers(f, '{}');
    perform pgbell.drop_functions(f, '{}');
    delete from pgbell.feed where id = f.id;
end $$;
-- +goose StatementEnd

-- What is wrong with a feed, or 'ok'.
-- +goose StatementBegin
create function pgbell.state(f pgbell.feed) returns text
language plpgsql stable security definer -- whoever may ask needs no right to what it asks
set search_path = pg_catalog, pg_temp
as $$
declare
    problem text;
begin
    if not exists (select from pg_class c where c.oid = f.target) then
        return 'the table was dropped: select pgbell.detach(' || f.target::oid || ')';
    elsif (select c.relispartition from pg_class c where c.oid = f.target) then
        return format('the table is now a partition: detach it and attach %s', pgbell.table_name(pg_partition_root(f.target)));
    elsif f.made_on <> f.target::oid then
        return 'the table was restored from a dump: attach it again';
    elsif f.key <> pgbell.primary_key(f.target) then
        return 'the primary key is another: attach the table again';
    end if;
    select string_agg(format('column %s %s', quote_ident(e.key), case
            when a.attname is null then 'is gone' else 'was ' || e.value || ', now is ' || format_type(a.atttypid, null) end), '; ' order by e.key)
    into problem
    from jsonb_each_text(f.types) e
    left join pg_attribute a on a.attrelid = f.target and a.attname = e.key and a.attnum > 0 and not a.attisdropped
    where a.attname is null or format_type(a.atttypid, null) <> e.value;
    if problem is not null then
        return problem || ': attach the table again';
    end if;

    select string_agg(p.name || p.what || case when p.tbl <> f.target then ' on ' || pgbell.table_name(p.tbl) else '' end, '; ' order by p.tbl, p.name)
    into problem
    from (
        select w.tbl, w.name, ' is missing' as what
        from pgbell.wanted_triggers(f) w
        left join pg_trigger t on t.tgrelid = w.tbl and t.tgname = w.name and t.tgfoid = to_regprocedure(pgbell.feed_function(f.id, w.trg))
        where t.oid is null
        union all
        select t.tgrelid, t.tgname, case t.tgenabled when 'D' then ' is disabled' else ' was enabled otherwise than attached' end -- of a partition, too
        from pg_trigger t
        left join pgbell.wanted_triggers(f) w on t.tgrelid = w.tbl and t.tgname = w.name
        where t.tgfoid in (select p.oid from pgbell.feed_functions(f.id) p) and t.tgenabled <> coalesce(w.enabled, 'A')
    ) p;
    return coalesce('trigger ' || problem || ': attach the table again', 'ok');
end $$;
-- +goose StatementEnd

-- The triggers of a feed. Statement triggers do the work of a plain table. A
-- statement that names a partition skips those of the root, so that partitioned
-- tables have row triggers, which Postgres clones to every partition, those of
-- later too; only TRUNCATE has none, and each partition gets its own. So it is
-- with inheritance, where nothing is cloned. The row trigger of a plain table
-- fires only where statement triggers don't: in logical replication's apply
-- (enabled R, see ALTER TABLE ... ENABLE REPLICA TRIGGER).
create function pgbell.wanted_triggers(f pgbell.feed,
    out tbl regclass, out trg text, out name name, out definition text, out enabled "char") returns setof record
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.t, w.trg, format('pgbell_%s_%s', w.trg, f.id)::name, w.definition, w.enabled
    from pgbell.kind(f.target) k (k), pgbell.tree(f.target) t (t), (values
        ('r', 'insert', 'after insert on %s referencing new table as new_rows for each statement', 'O'),
        ('r', 'update', 'after update on %s referencing old table as old_rows new table as new_rows for each statement', 'O'),
        ('r', 'delete', 'after delete on %s referencing old table as old_rows for each statement', 'O'),
        ('r', 'row', 'after insert or update or delete on %s for each row', 'R'),
        ('p', 'row', 'after insert or update or delete on %s for each row', 'A'),
        ('i', 'row', 'after insert or update or delete on %s for each row', 'A'),
        (null, 'truncate', 'after truncate on %s for each statement', 'A')
    ) w (kind, trg, definition, enabled)
    where w.kind is null or w.kind = k.k::text and (k.k = 'i' or t.t = f.target)
$$;

-- +goose StatementBegin
create function pgbell.attach(
    target   regclass,
    scopes   text[],
    audience text[] default null,
    columns  text[] default null,
    payload  text[] default null,
    durable  boolean default true
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plpgsql.extra_errors = 'none' -- a column may well be named like a variable
set plpgsql.extra_warnings = 'none'
as $$
declare
    f       pgbell.feed;
    before  pgbell.feed;
    cls     pg_class;
    tbl     text := pgbell.table_name(target);
    owner   name;
    tpl     text;
    att     record;
    names   text[] := '{}';
    trg     record;
    fn      text;
    missed  boolean := false; -- those who listen may have missed something, or will
begin
    select c.* into cls from pg_class c where c.oid = target;
    if tbl is null then
        raise exception 'there is no table with oid %', target::oid using errcode = 'undefined_table';
    elsif cls.relkind in ('v', 'm', 'f') then
        raise exception '% is a %: only tables can be attached', tbl,
            case cls.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'foreign table' end
            using errcode = 'wrong_object_type', hint = case cls.relkind when 'f' then 'Attach the table on the server that holds it.' else 'Attach the tables that it reads.' end;
    elsif cls.relkind not in ('r', 'p') then
        raise exception '% is not a table', tbl using errcode = 'wrong_object_type';
    elsif cls.relispartition then
        raise exception '% is a partition of %', tbl, pgbell.table_name(pg_partition_root(target))
            using errcode = 'wrong_object_type', hint = format('Attach %s: changes of its partitions are reported under its name.', pgbell.table_name(pg_partition_root(target)));
    elsif cls.relpersistence = 't' then
        raise exception '% is a temporary table: nobody else sees its rows', tbl using errcode = 'wrong_object_type';
    elsif cls.relnamespace in ('pgbell'::regnamespace, 'pg_catalog'::regnamespace) then
        raise exception '% is a system table: only tables of your own can be attached', tbl using errcode = 'wrong_object_type';
    end if;
    perform pgbell.must_own(target);
    select r.rolname into owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'pgbell';
    if not pg_has_role(owner, 'usage') then
        raise exception 'must be able to act for %, the owner of schema pgbell', owner
            using errcode = 'insufficient_privilege', hint = format('Attach as %I or as a superuser, or GRANT %1$I TO %I.', owner, current_user);
    end if;

    f.target := target;
    f.tbl := tbl;
    f.scopes := scopes;
    f.audience := audience;
    f.columns := columns;
    f.made_on := target;
    f.payload := nullif(payload, '{}');
    f.durable := coalesce(durable, true);
    if greatest(array_ndims(scopes), array_ndims(audience), array_ndims(columns), array_ndims(payload)) > 1 then
        raise exception 'scopes and columns are given in arrays of one dimension' using errcode = 'array_subscript_error';
    elsif coalesce(cardinality(scopes), 0) = 0 then
        raise exception 'a feed needs at least one scope' using errcode = 'invalid_parameter_value',
            hint = format($h$For example: select pgbell.attach(%L, scopes => array[%L]).$h$, tbl, cls.relname);
    elsif f.payload is not null and not f.durable then
        raise exception 'payload columns travel only through the journal' using errcode = 'invalid_parameter_value',
            hint = 'Leave out payload, or durable => false.';
    end if;
    foreach tpl in array scopes loop
        if tpl is null then
            raise exception 'a scope is null' using errcode = 'null_value_not_allowed';
        end if;
        att := pgbell.parse_template(tpl);
        if octet_length(array_to_string(att.literals, '')) > 256 then
            raise exception 'scope template "%..." is longer than 256 bytes', left(tpl, 40) using errcode = 'invalid_parameter_value';
        elsif att.columns = '{}' and att.literals[1] = any (pgbell.reserved_scopes()) then
            raise exception 'scope "%" is reserved: a stream uses the names open, error, message, ready and close itself', tpl
                using errcode = 'reserved_name', hint = 'Choose another name.';
        end if;
        names := names || att.columns;
    end loop;
    names := names || audience || columns || payload;

    f.key := pgbell.primary_key(target);
    names := names || f.key;

    if array_position(names, null) is not null then
        raise exception 'a column name is null' using errcode = 'null_value_not_allowed';
    end if;
    for att in
        select n.name, a.attgenerated, format_type(a.atttypid, null) as typ, t.typtype,
            coalesce(nullif(t.typelem, 0), t.oid) = any ('{json,jsonb,xml}'::regtype[]) as doc
        from (select distinct n.n as name from unnest(names) n (n)) n
        left join pg_attribute a on a.attrelid = target and a.attname = n.name and a.attnum > 0 and not a.attisdropped
        left join pg_type t on t.oid = pgbell.base_type(a.atttypid)
        order by 1
    loop
        if att.typ is null then
            raise exception 'table % has no column "%"', tbl, att.name using errcode = 'undefined_column',
                hint = 'Its columns are: ' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                    from pg_attribute a where a.attrelid = target and a.attnum > 0 and not a.attisdropped) || '.';
        elsif att.attgenerated = 'v' then
            raise exception 'column "%" of % is a virtual generated column, which triggers cannot read', att.name, tbl
                using errcode = 'feature_not_supported', hint = 'Make it a stored one, or name the columns that it is made of.';
        elsif att.name = any (audience) and (att.doc or att.typtype = 'c') then
            raise exception 'column "%" of % is of type %: an audience column holds one user id, or an array of them', att.name, tbl, att.typ
                using errcode = 'datatype_mismatch';
        end if;
    end loop;
    select coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, null)), '{}') into f.types
    from pg_attribute a
    where a.attrelid = target and a.attname = any (names) and a.attnum > 0 and not a.attisdropped;
    if f.key = '{}' then
        raise warning '% has no primary key: its events carry no key', tbl;
    end if;

    perform pgbell.lock_table(target, 'share row exclusive');

    -- The OIDs of dropped tables come again: what is left of those goes first.
    perform pgbell.remove(x) from pgbell.feed x where not exists (select from pg_class c where c.oid = x.target);
    delete from pgbell.detached d where not exists (select from pg_class c where c.oid = d.target);
    select x.* into before from pgbell.feed x where x.target = attach.target;
    if before.id is null then
        insert into pgbell.feed (target, tbl, scopes, audience, columns, payload, durable, key, types, made_on)
        values (f.target, f.tbl, f.scopes, f.audience, f.columns, f.payload, f.durable, f.key, f.types, f.made_on)
        returning id into f.id;
    else
        f.id := before.id;
        missed := before is distinct from f or pgbell.state(before) <> 'ok';
        update pgbell.feed x
        set (tbl, scopes, audience, columns, payload, durable, key, types, made_on) =
            (f.tbl, f.scopes, f.audience, f.columns, f.payload, f.durable, f.key, f.types, f.made_on)
        where x.id = f.id;
    end if;

    perform pgbell.drop_triggers(f, array(select format('%I on %s', w.name, w.tbl) from pgbell.wanted_triggers(f) w));
    for fn in select distinct w.trg from pgbell.wanted_triggers(f) w loop
        execute pgbell.generate(f, fn);
        execute format('alter function %s owner to %I', pgbell.feed_function(f.id, fn), owner);
    end loop;
    perform pgbell.drop_functions(f, array(select w.trg from pgbell.wanted_triggers(f) w));
    perform pgbell.close_to_all('function', p.oid::regprocedure::text, p.proacl, p.proowner) from pgbell.feed_functions(f.id) p;
    for trg in select * from pgbell.wanted_triggers(f) loop
        execute format('create or replace trigger %I %s execute function %s',
            trg.name, format(trg.definition, pgbell.table_name(trg.tbl)), pgbell.feed_function(f.id, trg.trg));
        execute format('alter table %s enable %s trigger %I', pgbell.table_name(trg.tbl),
            case trg.enabled when 'R' then 'replica' when 'A' then 'always' else '' end, trg.name);
    end loop;

    delete from pgbell.detached d where d.target = f.target;
    missed := missed or found;
    perform pgbell.record(nextval('pgbell.journal_seq'), 0, tbl, 'attach', null, json_build_object(
        'templates', case when missed then before.scopes || f.scopes else '{}' end, 'reason', 'attached again')::text);
    perform pgbell.ring(tbl, 'attach', null);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function pgbell.detach(target regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    f pgbell.feed;
begin
    select x.* into f from pgbell.feed x where x.target = detach.target;
    if f.id is null then
        return false;
    end if;
    if pgbell.table_name(target) is not null then
        perform pgbell.must_own(target);
        perform pgbell.lock_table(target, 'access exclusive');
    end if;
    perform pgbell.remove(f);
    insert into pgbell.detached values (f.target);
    perform pgbell.record(nextval('pgbell.journal_seq'), 0, f.tbl, 'detach', null,
        json_build_object('templates', f.scopes, 'reason', 'detached')::text);
    perform pgbell.ring(f.tbl, 'detach', null);
    return true;
end $$;
-- +goose StatementEnd

create view pgbell.feeds as
select coalesce(pgbell.table_name(f.target), f.tbl) as table_name,
    f.scopes, f.audience, f.columns, f.payload, f.durable, pgbell.state(f) as state
from pgbell.feed f
order by 1;

-------------------------------------------------------------------------------
-- publish
-------------------------------------------------------------------------------

-- +goose StatementBegin
create function pgbell.publish(scope text, data jsonb default null, audience text[] default null) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    canonical text := pgbell.canonical_scope(scope);
begin
    if canonical is null or canonical = any (pgbell.reserved_scopes()) then
        raise exception 'scope "%" is reserved or empty', scope
            using errcode = 'reserved_name', hint = 'A stream uses the names open, error, message, ready and close itself.';
    elsif octet_length(canonical) > 256 then
        raise exception 'scope "%..." is longer than 256 bytes', left(scope, 40) using errcode = 'invalid_parameter_value';
    end if;
    perform pgbell.record(nextval('pgbell.journal_seq'), 0, null, 'publish',
        pgbell.origin(),
        json_build_array(json_build_object('scopes', array[canonical], 'audience', array_remove(audience, null), 'data', data))::text);
    perform pgbell.ring(null, 'publish', canonical);
end $$;
-- +goose StatementEnd

-------------------------------------------------------------------------------
-- disconnect
-------------------------------------------------------------------------------

-- Ends the streams of a user, on all servers, once the transaction commits: all, or
-- those that listen to scope. Through the journal, so that a server which does not
-- hear it now does so when it is back.
-- +goose StatementBegin
create function pgbell.disconnect(user_id text, scope text default null) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if user_id is null or user_id = '' then
        raise exception 'there is no user id: the anonymous cannot be told apart' using errcode = 'invalid_parameter_value';
    end if;
    perform pgbell.record(nextval('pgbell.journal_seq'), 0, null, 'disconnect', null,
        json_build_object('user', user_id, 'scope', pgbell.canonical_scope(scope))::text);
    perform pgbell.ring(null, 'disconnect', null);
end $$;
-- +goose StatementEnd

select pgbell.close_to_all('function', p.oid::regprocedure::text, p.proacl, p.proowner) from pg_proc p where p.pronamespace = 'pgbell'::regnamespace;
select pgbell.close_to_all('table', c.oid::regclass::text, c.relacl, c.relowner) from pg_class c where c.relnamespace = 'pgbell'::regnamespace and c.relkind in ('r', 'p', 'v', 'S');
grant execute on function pgbell.cursor() to public;

-- What the role of a pgbell server needs, to hear of changes, no more:
--
--   grant select on pgbell.journal, pgbell.journal_state, pgbell.feeds, pgbell.journal_0, pgbell.journal_1, pgbell.journal_turn to ...;
--   grant execute on function pgbell.mark_incarnation(), pgbell.arm(text, interval), pgbell.rotate(interval), pgbell.table_name(oid), pgbell.state(pgbell.feed) to ...;

-- +goose Down

-- +goose StatementBegin
do $$
begin
    perform pgbell.remove(f) from pgbell.feed f;
end $$;
-- +goose StatementEnd
drop view pgbell.feeds;
-- +goose StatementBegin
do $$
begin
    execute (select 'drop function ' || string_agg(p.oid::regprocedure::text, ', ') from pg_proc p where p.pronamespace = 'pgbell'::regnamespace);
end $$;
-- +goose StatementEnd
drop type pgbell.missing, pgbell.column_sql;
drop table pgbell.feed, pgbell.detached, pgbell.journal_0, pgbell.journal_1, pgbell.journal, pgbell.journal_state, pgbell.incarnation, pgbell.waiting;
drop sequence pgbell.journal_seq, pgbell.journal_turn, pgbell.orders;
