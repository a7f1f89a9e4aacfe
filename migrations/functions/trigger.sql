-- What runs inside a user's write: the trigger functions of a feed, which pgbell.generate makes, and what
-- they call. Their cost is the writer's, and so are their errors, so they only record facts: the values
-- of the columns that the feed names, as they were and as they became, and the names of the columns that
-- changed. What that means, pgbell says when it reads them.
--
-- They run with the rights of pgbell's owner and under the writer's own search_path, for to pin it costs
-- as much as a third of the rest. So their names mean the system's in another way: each is qualified,
-- operators too; the bodies of SQL functions that are no text have their names looked up when they are
-- installed; and no value is cast whose type is not the system's own, since what a cast does is up to
-- the owner of the type.

-------------------------------------------------------------------------------
-- Asked when a plan is made
-------------------------------------------------------------------------------

-- Called with constants, these give their answer when the plan is made, and anew once a change of the
-- table has undone it (a regclass constant makes a plan depend on the table). For that they say IMMUTABLE.
-- They ask the catalog's cache, since a transaction's snapshot may be older than the table.

-- The name of a table as it is now, quoted where needed and with its schema.
create or replace function pgbell.name_of(tbl regclass) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$ select (pg_identify_object('pg_class'::regclass, tbl, 0)).identity $$;

-- Those of columns that still have their number and their type.
create or replace function pgbell.still_there(tbl regclass, columns pgbell.known_column[]) returns pgbell.known_column[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
    named pgbell.known_column[] := array(
        select columns[c.i] from unnest(columns) with ordinality c (name, attnum, type, i)
        where (pg_identify_object('pg_class'::regclass, tbl, c.attnum)).identity
            = pgbell.name_of(tbl) || '.' || quote_ident(c.name)
        order by c.i);
    types oid[];
begin
    if named = '{}' then
        return named; -- the table may be gone
    end if;
    begin -- of the table's row type, for which nobody needs a right
        execute format('select array[%s]::oid[] from (select null::%s as r) x',
            (select string_agg(format('pg_typeof((x.r).%I)', c.name), ', ' order by c.i)
                from unnest(named) with ordinality c (name, attnum, type, i)),
            pgbell.name_of(tbl)) into types;
    exception when insufficient_privilege then -- to use the table's schema; then as the snapshot has it
        types := array(select a.atttypid from unnest(named) with ordinality c (name, attnum, type, i)
            join pg_attribute a on a.attrelid = tbl and a.attnum = c.attnum order by c.i);
    end;
    return array(
        select named[c.i] from unnest(named) with ordinality c (name, attnum, type, i)
        where c.type = types[c.i] order by c.i);
end $$;

-- Whether all of columns are as they were.
create or replace function pgbell.intact(tbl regclass, columns pgbell.known_column[]) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select cardinality(pgbell.still_there(tbl, columns)) = cardinality(columns) $$;

create or replace function pgbell.has_column(tbl regclass, attnum integer) returns boolean
language sql immutable
return pg_describe_object('pg_catalog.pg_class'::regclass, tbl, attnum) is not null;

-------------------------------------------------------------------------------
-- Asked of each row
-------------------------------------------------------------------------------

-- Whether a value of more than 64 kB as stored is another. One that is still stored where it was is the
-- same, which can be asked since PostgreSQL 17; before, both are decompressed.
do $$
begin
    if current_setting('server_version_num')::integer >= 170000 then
        create or replace function pgbell.large_differs(a anyelement, b anyelement) returns boolean
        language sql stable
        as $f$
            select case when pg_catalog.pg_column_toast_chunk_id($1)
                    operator(pg_catalog.=) pg_catalog.pg_column_toast_chunk_id($2) then false
                else row($1)::pg_catalog.record operator(pg_catalog.*<>) row($2)::pg_catalog.record end
        $f$;
    else
        create or replace function pgbell.large_differs(a anyelement, b anyelement) returns boolean
        language sql stable
        as $f$ select row($1)::pg_catalog.record operator(pg_catalog.*<>) row($2)::pg_catalog.record $f$;
    end if;
end $$;

-- The name of a column whose value b is another than a. Postgres puts the body, whose operators are the
-- system's, in place of the call, unless one says that it is less volatile than it is. Texts are compared
-- byte by byte.
create or replace function pgbell.changed(name text, a smallint, b smallint) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a integer, b integer) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a bigint, b bigint) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a uuid, b uuid) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a boolean, b boolean) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a date, b date) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a timestamp, b timestamp) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a timestamptz, b timestamptz) returns text language sql immutable
    return case when a is distinct from b then name end;
create or replace function pgbell.changed(name text, a text, b text) returns text language sql stable
    return case when case
        when pg_column_size(a) > 65536 then pgbell.large_differs(a, b)
        else a is distinct from b collate "C" end then name end;

-- The same for any other type: where the two are stored otherwise.
create or replace function pgbell.image_changed(name text, a anyelement, b anyelement) returns text
language sql stable
as $$
    select case when case
        when pg_catalog.pg_column_size($2) operator(pg_catalog.>) 65536 then pgbell.large_differs($2, $3)
        else row($2)::pg_catalog.record operator(pg_catalog.*<>) row($3)::pg_catalog.record end then $1 end
$$;

-- The text of a value, if it is short enough for a scope or a user id: that is 1024 bytes.
create or replace function pgbell.short(value text) returns text
language sql immutable
return case when octet_length(value) <= 1024 then value end;

-- The same for any type, of at most so many bytes. concat asks the type's output function, and casts
-- nothing. What is stored in a few bytes may have a long text, as the number 1e131071 has.
create or replace function pgbell.text_of(value anyelement, most integer) returns text
language sql stable
as $$
    select case when pg_catalog.num_nulls($1) operator(pg_catalog.=) 0
            and pg_catalog.pg_column_size($1) operator(pg_catalog.<=) $2
            and pg_catalog.octet_length(pg_catalog.concat($1)) operator(pg_catalog.<=) $2
        then pg_catalog.concat($1) end
$$;

-- The user ids in an array, as a JSON array; empty, which is none, if there are too many to be looked at.
-- Postgres puts the body in place of the call, so that PL/pgSQL, which decompresses an array that it is
-- given, gets none that is too long as it is stored.
create or replace function pgbell.list_of(value anyarray) returns text
language sql stable
as $$
    select case when pg_catalog.pg_column_size($1) operator(pg_catalog.>) 1000000 then '' else pgbell.users_of($1) end
$$;

create or replace function pgbell.users_of(value anyarray) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set array_nulls = on
as $$
begin
    return case when value is null then null
        when pg_column_size(value) > 1000000 then '' -- decompressed
        when cardinality(value) > 50000 then ''
        else (select case when octet_length(l.l) <= 4000000 then to_json(l.l::text[])::text else '' end
            from concat(value) l (l)) end;
end $$;

-- A payload column's value as JSON, null if it is too long to travel. Only values of the system's types
-- are given to to_json, which looks for a cast.
create or replace function pgbell.json_of(value anyelement) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    json constant text := case when num_nulls(value) = 1 then 'null'
        when pg_column_size(value) <= 65536 then to_json(value)::text end;
begin
    return case when octet_length(json) <= 262144 then json end;
end $$;

create or replace function pgbell.json_of_other(value anyelement, list boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set array_nulls = on
as $$
begin
    return case when num_nulls(value) = 1 then 'null'
        when pg_column_size(value) > 65536 then null
        when list then pgbell.json_of(concat(value)::text[])
        else pgbell.json_of(concat(value)) end;
end $$;

-------------------------------------------------------------------------------
-- The generator
-------------------------------------------------------------------------------

-- Items joined by commas or else, in lines of at most 118 characters.
create or replace function pgbell.wrapped(items text[], separator text, indent integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    made text := '';
    line integer := indent;
begin
    for i in 1 .. coalesce(cardinality(items), 0) loop
        if i > 1 then
            made := made || separator;
            if line + length(separator || items[i]) > 118 then
                made := rtrim(made) || e'\n' || repeat(' ', indent);
                line := indent;
            else
                line := line + length(separator);
            end if;
        end if;
        made := made || items[i];
        line := line + length(items[i]);
    end loop;
    return made;
end $$;

-- The columns of a table that may change, as they are now.
create or replace function pgbell.columns_of(tbl regclass) returns pgbell.known_column[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg((a.attname, a.attnum, a.atttypid)::pgbell.known_column order by a.attnum), '{}')
    from pg_attribute a
    where a.attrelid = tbl and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
$$;

-- What is recorded of a row. A column whose text says all is recorded once; one that is both in a scope
-- and an array of user ids, or whose JSON is no matter of its text, more than once.
create or replace function pgbell.fields_of(f pgbell.feed) returns setof pgbell.field
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with scoped as materialized (
        select array(select unnest(p.columns) from unnest(f.scopes) t (t), pgbell.parse_template(t.t) p) as names
    ), roles as (
        select c.name, c.attnum, b.oid as base, b.oid < 16384 as builtin, b.typinput = 'array_in'::regproc as list,
            c.name = any (f.key) as key, c.name = any ((select s.names from scoped s)::text[]) as scope,
            coalesce(c.name = any ((select pgbell.columns_in(f.audience) || f.regroup)::text[]), false) as owner,
            coalesce(c.name = any (f.payload), false) as payload,
            case when b.oid = any ('{smallint,integer,bigint,numeric,real,double precision}'::regtype[]) then 'number'
                when b.oid = 'boolean'::regtype then 'boolean' else 'text' end as kind,
            b.oid = any ('{text,character varying,character,name}'::regtype[]) as words,
            b.oid = any ('{smallint,integer,bigint,real,double precision,boolean,uuid,date,oid}'::regtype[]) as brief
        from unnest(pgbell.columns_of(f.target)) c join pg_type b on b.oid = pgbell.base_type(c.type)
    )
    select x.name, x.kind, x.sql
    from (
        select r.attnum, x.i, r.name, x.kind, x.sql
        from roles r, lateral (values
            (1, r.kind, r.scope or r.owner and not r.list or r.key and not r.list, case
                when r.brief or r.words and r.key then '%s::pg_catalog.text'
                when r.words then 'pgbell.short(%s)'
                else format('pgbell.text_of(%%s, %s)', case when r.key then 1000000 else 1028 end) end),
            (2, 'list', r.owner and r.list, 'pgbell.list_of(%s)'),
            (3, 'json', r.payload or r.key and not (r.words or r.brief or r.base = 'numeric'::regtype), case
                when r.builtin then 'pgbell.json_of(%s)'
                when r.list then 'pgbell.json_of_other(%s, true)'
                else 'pgbell.json_of_other(%s, false)' end)
        ) x (i, kind, wanted, sql)
        where x.wanted
        union all
        select 0, 0, '', 'none', 'null' -- there is always one, since Postgres doesn't gather empty arrays
        where not exists (select from roles r where r.key or r.scope or r.owner or r.payload)
    ) x
    order by x.attnum, x.i
$$;

-- quote_ident, for PL/pgSQL, too: it knows no new.begin.
create or replace function pgbell.quoted(name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when name = any ('{begin,by,declare,execute,foreach,if,loop,strict,while}') then '"' || name || '"'
        else quote_ident(name) end
$$;

-- The values that are recorded of a row, in SQL.
create or replace function pgbell.values_of(f pgbell.feed, alias text) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(select format(x.sql, alias || '.' || pgbell.quoted(x.name)) from unnest(f.fields) x);
end $$;

-- The scopes of a row r, in SQL, for a writer that rings.
create or replace function pgbell.scopes_of(f pgbell.feed, alias text, indent integer default 0) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    made text[];
begin
    select array_agg(case when p.columns = '{}' then quote_literal(p.literals[1]) else format('pgbell.scope(%s)', (
            select string_agg(nullif(concat_ws(', ', case when l.l <> '' or l.c is not null then quote_literal(l.l) end,
                format(x.sql, alias || '.' || pgbell.quoted(x.name))), ''), ', ' order by l.i)
            from unnest(p.literals, p.columns) with ordinality l (l, c, i)
            left join unnest(f.fields) x on x.name = l.c and x.kind in ('text', 'number', 'boolean'))) end order by t.i)
    into made
    from unnest(f.scopes) with ordinality t (t, i), pgbell.parse_template(t.t) p;
    return format(e'array[\n%s%s]', repeat(' ', indent), pgbell.wrapped(made, ', ', indent));
end $$;

-- The facts of a write in SQL, what they come from, and how many columns they say an update changed.
-- Recorded of an update are the values before, the values after, and the names of the columns that it
-- changed, '' for one that the feed doesn't know. There are these shapes:
--   one   a statement's only row
--   many  its rows, old and new paired by their position. FULL, since such a join is never a nested loop:
--         a plan made for two rows is kept, and used for a million. No column can be called ctid
--   row   a row trigger's old and new: they come from nothing
--   now   the same, as $1 and, of an update, $2
-- there: those of columns that are as they were; the others are left out, and rows compared as a whole.
create or replace function pgbell.facts(f pgbell.feed, op text, shape text, columns pgbell.known_column[],
    there pgbell.known_column[], indent integer, out facts text, out source text, out changes text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    pad   constant text := e'\n' || repeat(' ', indent);
    o     constant text := case shape when 'row' then 'old' else 'o' end;
    n     constant text := case shape when 'row' then 'new' else 'n' end;
    olds  constant text := 'from ' || case shape when 'one' then 'old_rows' when 'now' then '(select ($1).*)'
        when 'many' then '(select pg_catalog.row_number() over () as ctid, r.* from old_rows r)' end || ' o';
    news  constant text := case shape when 'one' then 'new_rows'
        when 'now' then format('(select ($%s).*)', case op when 'update' then 2 else 1 end)
        when 'many' then '(select pg_catalog.row_number() over () as ctid, r.* from new_rows r)' end || ' n';
    first constant integer := 2 * cardinality(f.fields) + 1; -- of the names
    names text[];
    last  integer;
    counting text; -- those of the columns that an update is to change to count
begin
    if op <> 'update' then
        facts := pgbell.wrapped(pgbell.values_of(f, case op when 'insert' then n else o end), ', ', indent + 4);
        source := case op when 'insert' then 'from ' || news else olds end;
    else
        select array_agg(case when (c.name, c.attnum, c.type)::pgbell.known_column = any (there)
                then format('pgbell.%s(%L, %s.%s, %s.%4$s)', case when pgbell.base_type(c.type) = any (
                        '{smallint,integer,bigint,uuid,boolean,date,timestamp,timestamptz,text,varchar}'::regtype[])
                    then 'changed' else 'image_changed' end, c.name, o, pgbell.quoted(c.name), n)
                else 'null' end order by c.i), max(c.attnum),
            string_agg(format('facts[%s]', first - 1 + c.i), ', ' order by c.i)
                filter (where c.name = any (f.columns || f.key || (select pgbell.columns_in(f.audience)) || array(
                    select unnest(p.columns) from unnest(f.scopes) t (t), pgbell.parse_template(t.t) p)))
        into names, last, counting
        from unnest(columns) with ordinality c (name, attnum, type, i);
        -- One that was added since, or that a child has, matters, too.
        names := array_append(names, case when f.columns is null then
            format('case when %s(%s.*) operator(pg_catalog.*<>) (%s.*) then '''' end',
                case when there = columns and pgbell.kind(f.target) <> 'i'
                    then format('pgbell.has_column(%L, %s) and ', f.target::oid, coalesce(last, 0) + 1) end, o, n)
            else 'null' end);
        facts := concat_ws(',' || pad || '    ', pgbell.wrapped(pgbell.values_of(f, o), ', ', indent + 4),
            pgbell.wrapped(pgbell.values_of(f, n), ', ', indent + 4), pgbell.wrapped(names, ', ', indent + 4));
        source := olds || case when shape <> 'many' then ', ' || news
            else pad || 'full join ' || news || pad || '    on n.ctid operator(pg_catalog.=) o.ctid' end;
        changes := format('pg_catalog.num_nonnulls(%s)',
            case when f.columns is null then format('variadic facts[%s:]', first)
                else coalesce('variadic array[' || counting || ']', 'null') end);
    end if;
    facts := 'array[' || pad || '    ' || facts || ']';
end $$;

-- The part of a statement that a row belongs to: of at most 500 rows.
create or replace function pgbell.part(row_number bigint) returns bigint
language sql immutable
return (row_number - 1) / 500;

-- The same where rows may be long, of no more than a megabyte and a row: not dense, but in order. bytes
-- counts those of the same 500 rows up to this one.
create or replace function pgbell.part(row_number bigint, bytes bigint) returns bigint
language sql immutable
return (row_number - 1) / 500 * 1000000 + bytes / 1000000;

-- Records, or rings, many rows, or any number of them in what columns there are now.
create or replace function pgbell.many(f pgbell.feed, op text, shape text, columns pgbell.known_column[],
    there pgbell.known_column[], indent integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    pad  constant text := e'\n' || repeat(' ', indent);
    row  constant text := case op when 'delete' then 'o' else 'n' end;
    -- Whether a row's facts may be: by a text in the key, too, which an index compresses.
    long constant boolean := exists (select from unnest(f.fields) x where x.kind in ('list', 'json')
        or x.kind = 'text' and x.name = any (f.key) and f.types ->> x.name <> all ('{uuid,date,oid}'));
    what constant text := format('%s, pgbell.name_of(%L), %L', f.definition, f.target::oid, op);
    q    constant record := pgbell.facts(f, op, shape, columns, there, indent + 4);
    -- The facts are made once: without offset, Postgres would put them in place of their name.
    rest constant text := q.facts || ' as facts' || coalesce(pad || '    ' || q.source, '')
        || pad || '    offset 0) x'
        || coalesce(pad || 'where ' || replace(q.changes, 'facts', 'x.facts') || ' operator(pg_catalog.>) 0', '');
begin
    if not f.durable then
        return format('pgbell.ring_facts(%s, x.scopes, x.facts)', what) || pad || 'from (' || pad || '    select '
            || array_to_string(array[
                case when op <> 'insert' then
                    pgbell.scopes_of(f, case shape when 'row' then 'old' else 'o' end, indent + 8) end,
                case when op <> 'delete' then
                    pgbell.scopes_of(f, case shape when 'row' then 'new' else 'n' end, indent + 8) end],
                ' operator(pg_catalog.||)' || pad || '    ')
            || ' as scopes,' || pad || '    ' || rest;
    elsif shape = 'now' then
        return format('pgbell.record(%s, x.facts)', what) || pad || 'from (' || pad || '    select ' || rest;
    end if;
    return format('pgbell.record(%s, pg_catalog.array_agg(x.facts order by x.ctid),', what)
        || pad || '    (select pg_catalog.pg_current_wal_insert_lsn()), ' || case when long
            then 'pg_catalog.int8mi(pg_catalog.row_number() over (order by x.part), 1)' else 'x.part' end || ')'
        || pad || 'from (' || pad || '    select ' || case when long
            then 'x.ctid, x.facts, pgbell.part(x.ctid, pg_catalog.sum(pg_catalog.pg_column_size(x.facts))'
            || pad || '        over (partition by pgbell.part(x.ctid) order by x.ctid)) as part'
            || pad || '    from (select ' || row || '.ctid, ' || rest || pad || ') x'
        else format('%s.ctid, pgbell.part(%1$s.ctid) as part, ', row) || rest end
        || pad || 'group by x.part';
end $$;

-- What a trigger does whose table is not as it was when it was attached. Nothing, if it is another table:
-- a copy, or one of a dump. A reset, if a column is not as it was that the feed names. Else the same as
-- ever, in the columns that there are. tbl is the table that the trigger found itself on.
create or replace function pgbell.statement_of_now(definition integer, trg text, durable boolean, target oid, tbl oid)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    op    constant text := regexp_replace(trg, '^row_', '');
    there pgbell.known_column[];
    f     pgbell.feed;
begin
    if tbl <> target then
        return 'select';
    end if;
    -- There is none in a snapshot of before.
    select x.* into f from pgbell.feed x where x.definition = statement_of_now.definition;
    there := pgbell.still_there(target, f.known);
    if f.id is null or exists (
        select from jsonb_object_keys(f.types) k (k) where not exists (select from unnest(there) c where c.name = k.k))
    then
        return format('select pgbell.record_reset(%s, pgbell.name_of(%L), ''definition changed'', %L)',
                definition, target, durable)
            || case when trg <> op then '' when op = 'delete' then ' where exists (select from old_rows)'
                else ' where exists (select from new_rows)' end;
    end if;
    return 'select ' || pgbell.many(f, op, case when trg = op then 'many' else 'now' end, f.known, there, 4)
        || case when durable then format('; select pgbell.ring(pgbell.name_of(%L), %L, null)', target, op) else '' end;
end $$;

-- Writes the facts of one row to the half of the journal that is written now.
create or replace function pgbell.insertion(f pgbell.feed, op text, indent integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select concat_ws(e'\n' || repeat(' ', indent),
        'if pg_catalog.mod(gate, 2) operator(pg_catalog.=) 0 then',
        '    insert into pgbell.journal_0 (definition, tbl, op, facts)',
        '    values ' || facts,
        'else',
        '    insert into pgbell.journal_1 (definition, tbl, op, facts)',
        '    values ' || facts,
        'end if;')
    from format('(%s, pgbell.name_of(%L), %L, facts);', f.definition, f.target::oid, op) as facts
$$;

-- What a statement's trigger does, of a table that is as it was.
create or replace function pgbell.for_statement(f pgbell.feed, op text, columns pgbell.known_column[]) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    rows constant text := case op when 'delete' then 'old_rows' else 'new_rows' end;
    q    constant record := pgbell.facts(f, op, 'one', columns, columns, 8);
begin
    if not f.durable then
        return '    perform ' || pgbell.many(f, op, 'many', columns, columns, 4) || ';';
    end if;
    return concat_ws(e'\n',
        '    perform from ' || rows || ' limit 1 offset 1;',
        '    if found then',
        '        perform ' || pgbell.many(f, op, 'many', columns, columns, 8) || ';',
        '    else',
        '        select ' || q.facts,
        '        into facts ' || q.source || ';',
        '        if not found' || coalesce(' or ' || q.changes || ' operator(pg_catalog.=) 0', '') || ' then',
        '            return null;',
        '        els' || pgbell.insertion(f, op, 8),
        '    end if;',
        '    if found and gate operator(pg_catalog.>) 1 then -- a server waits to be rung',
        format('        perform pgbell.ring(pgbell.name_of(%L), %L, pg_catalog.array_agg(%s))',
            f.target::oid, op, pgbell.scopes_of(f, 'r', 12)),
        format('        from (%s limit 101) r;', case op
            when 'insert' then 'select n.* from new_rows n'
            when 'delete' then 'select o.* from old_rows o'
            else 'select o.* from old_rows o union all select n.* from new_rows n' end),
        '    end if;');
end $$;

-- The same, of a row's trigger.
create or replace function pgbell.for_row(f pgbell.feed, op text, columns pgbell.known_column[]) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    q constant record := pgbell.facts(f, op, 'row', columns, columns, 4);
begin
    if not f.durable then
        return '    perform ' || pgbell.many(f, op, 'row', columns, columns, 4) || ';';
    end if;
    return concat_ws(e'\n',
        '    facts := ' || q.facts || ';',
        '    if ' || q.changes || e' operator(pg_catalog.=) 0 then\n        return null;',
        case when op = 'update' then '    els' else '    ' end || pgbell.insertion(f, op, 4),
        '    if gate operator(pg_catalog.>) 1 then -- a server waits to be rung',
        format('        perform pgbell.ring(pgbell.name_of(%L), %L, array[%s]);', f.target::oid, op, concat_ws(', ',
            case when op <> 'insert' then pgbell.scopes_of(f, 'old', 12) end,
            case when op <> 'delete' then pgbell.scopes_of(f, 'new', 12) end)),
        '    end if;');
end $$;

-- The text of a feed's trigger function: insert, update and delete for statements, row_insert and so on
-- for rows, and truncate.
create or replace function pgbell.generate(f pgbell.feed, trg text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    kind    constant "char" := pgbell.kind(f.target);
    target  constant oid := f.target;
    op      constant text := regexp_replace(trg, '^row_', '');
    by_row  constant boolean := trg <> op;
    -- Whether the trigger is on the table, or on a partition or a child of it.
    mine    constant text := case kind
        when 'r' then format('pg_catalog.oideq(tg_relid, %s)', target)
        when 'p' then format('pg_catalog.oideq(pg_catalog.pg_partition_root(tg_relid), %s)', target)
        else format('tg_relid operator(pg_catalog.=) any (%L::pg_catalog.oid[])',
            array(select t.t::oid from pgbell.tree(f.target) t (t) order by 1)) end;
    on_tbl  constant text := case kind when 'r' then 'tg_relid' when 'p' then 'pg_catalog.pg_partition_root(tg_relid)'
        else format('case when %s then %s else 0 end', mine, target) end;
    shown   constant text := regexp_replace(f.tbl, '[^[:print:]]', '?', 'g'); -- in a comment
    -- Whether the text of a value depends on settings.
    formatted constant boolean := exists (select from jsonb_each_text(f.types) t where t.value <> all (
        '{smallint,integer,bigint,uuid,boolean,text,character varying,character,name,numeric}'));
    columns pgbell.known_column[] := pgbell.columns_of(f.target);
    settings text;
    body    text;
begin
    if trg = 'truncate' then
        settings := e'\nset search_path = pg_catalog, pg_temp';
        body := concat_ws(e'\n', '',
            '-- TRUNCATE ' || shown || ': who listens to it is to fetch again. Made by pgbell.attach, see docs/sql.md.',
            'begin',
            '    if ' || mine || ' then',
            format('        perform pgbell.record_reset(%s, pgbell.name_of(%L), ''truncate'', %L);',
                f.definition, target, f.durable),
            '    end if;',
            '    return null;',
            'end ');
    else
        if op <> 'update' then -- what it does not name need not be as it was
            columns := array(select c from unnest(columns) c where f.types ? c.name);
        end if;
        settings := concat(
            case when by_row then
                e'\nset plan_cache_mode = force_generic_plan -- a custom one would take a copy of each large value' end,
            case when formatted then concat_ws(e'\n', '',
                'set timezone = ''UTC'' -- the text of a value must not depend on the writer''s settings',
                'set datestyle = ''ISO, YMD''',
                'set intervalstyle = ''postgres''',
                'set extra_float_digits = ''1''',
                'set bytea_output = ''hex''',
                'set lc_monetary = ''C''',
                'set quote_all_identifiers = off') end,
            case when by_row or formatted then
                e'\nset search_path = pg_catalog, pg_temp' end);
        body := concat_ws(e'\n', '',
            format('-- %s %s: records the values of columns that its feed names%s.',
                case op when 'insert' then 'INSERT INTO' when 'update' then 'UPDATE' else 'DELETE FROM' end, shown,
                case op when 'update' then ', before (o) and after (n), and which changed' else '' end),
            '-- Made by pgbell.attach, see docs/sql.md. It qualifies names, for it runs with its owner''s rights.',
            case when f.durable then concat_ws(e'\n',
                'declare',
                '    gate  bigint := pg_catalog.pg_sequence_last_value(''pgbell.gate'');',
                '    facts pg_catalog.text[];') end,
            'begin',
            case when by_row and kind = 'r' then concat_ws(e'\n',
                '    if pg_catalog.current_setting(''session_replication_role'')'
                    || ' operator(pg_catalog.<>) ''replica'' then',
                '        return null; -- enabled by hand: the statement''s trigger records it',
                '    end if;') end,
            format('    if not (%s and pgbell.intact(%L,', mine, target),
            format('        %L)) then', columns),
            format('        execute pgbell.statement_of_now(%s, %L, %L, %s, %s)%s;',
                f.definition, trg, f.durable, target, on_tbl, case trg when 'row_insert' then ' using new'
                    when 'row_update' then ' using old, new' when 'row_delete' then ' using old' else '' end),
            '        return null;',
            '    end if;',
            case when by_row then pgbell.for_row(f, op, columns) else pgbell.for_statement(f, op, columns) end,
            '    return null;',
            'end ');
    end if;
    return format('create or replace function pgbell.feed_%s_%s() returns trigger', f.id, trg)
        || e'\nlanguage plpgsql security definer' || settings
        || e'\nas ' || case when strpos(body, '$function') = 0 then '$function$' || body || '$function$'
            else quote_literal(body) end;
end $$;
