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
        where (pg_identify_object('pg_class'::regclass, tbl, c.attnum)).identity = pgbell.name_of(tbl) || '.' || quote_ident(c.name)
        order by c.i);
    types oid[];
begin
    if named = '{}' then
        return named; -- the table may be gone
    end if;
    begin -- of the table's row type, for which nobody needs a right
        execute format('select array[%s]::oid[] from (select null::%s as r) x',
            (select string_agg(format('pg_typeof((x.r).%I)', c.name), ', ' order by c.i) from unnest(named) with ordinality c (name, attnum, type, i)),
            pgbell.name_of(tbl)) into types;
    exception when insufficient_privilege then -- to use the table's schema; then as the snapshot has it
        types := array(select a.atttypid from unnest(named) with ordinality c (name, attnum, type, i)
            join pg_attribute a on a.attrelid = tbl and a.attnum = c.attnum order by c.i);
    end;
    return array(
        select named[c.i] from unnest(named) with ordinality c (name, attnum, type, i) where c.type = types[c.i] order by c.i);
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
            select case when pg_catalog.pg_column_toast_chunk_id($1) operator(pg_catalog.=) pg_catalog.pg_column_toast_chunk_id($2) then false
                else row($1)::pg_catalog.record operator(pg_catalog.*<>) row($2)::pg_catalog.record end
        $f$;
    else
        create or replace function pgbell.large_differs(a anyelement, b anyelement) returns boolean
        language sql stable
        as $f$ select row($1)::pg_catalog.record operator(pg_catalog.*<>) row($2)::pg_catalog.record $f$;
    end if;
end $$;

-- IS DISTINCT FROM where names are pinned: Postgres puts the body, whose operators are the system's, in
-- place of the call, unless they say that they are less volatile than it is. Texts are compared byte by byte.
create or replace function pgbell.differs(a smallint, b smallint) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a integer, b integer) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a bigint, b bigint) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a uuid, b uuid) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a boolean, b boolean) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a date, b date) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a timestamp, b timestamp) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a timestamptz, b timestamptz) returns boolean language sql immutable return a is distinct from b;
create or replace function pgbell.differs(a text, b text) returns boolean language sql stable
return case when pg_column_size(a) > 65536 then pgbell.large_differs(a, b) else a is distinct from b collate "C" end;

-- The same for any other type: whether the two are stored otherwise.
create or replace function pgbell.image_differs(a anyelement, b anyelement) returns boolean
language sql stable
as $$
    select case when pg_catalog.pg_column_size($1) operator(pg_catalog.>) 65536 then pgbell.large_differs($1, $2)
        else row($1)::pg_catalog.record operator(pg_catalog.*<>) row($2)::pg_catalog.record end
$$;

-- The text of a value, if it is short enough for a scope or a user id: that is 1024 bytes.
create or replace function pgbell.short(value text) returns text
language sql immutable
return case when octet_length(value) <= 1024 then value end;

-- The same for any type. concat asks the type's output function, and casts nothing.
create or replace function pgbell.text_of(value anyelement, most integer) returns text
language sql stable
as $$
    select case when pg_catalog.num_nulls($1) operator(pg_catalog.=) 0 and pg_catalog.pg_column_size($1) operator(pg_catalog.<=) $2
        then pg_catalog.concat($1) end
$$;

-- The user ids in an array, as a JSON array; empty, which is none, if there are too many to be looked at.
create or replace function pgbell.list_of(value anyarray) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set array_nulls = on
as $$
begin
    return case when value is null then null
        when pg_column_size(value) > 1000000 then ''
        when cardinality(value) > 50000 then ''
        else (select case when octet_length(l.l) <= 4000000 then to_json(l.l::text[])::text else '' end from concat(value) l (l)) end;
end $$;

-- A payload column's value as JSON, null if it is too long to travel. Only values of the system's types
-- are given to to_json, which looks for a cast.
create or replace function pgbell.json_of(value anyelement) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    json constant text := case when num_nulls(value) = 1 then 'null' when pg_column_size(value) <= 65536 then to_json(value)::text end;
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
        select c.name, c.attnum, b.oid as base, b.oid < 16384 as builtin, b.typinput = 'array_in'::regproc as list, c.name = any (f.key) as key,
            c.name = any ((select s.names from scoped s)::text[]) as scope,
            coalesce(c.name = any (f.audience), false) as owner, coalesce(c.name = any (f.payload), false) as payload,
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
                when r.builtin then 'pgbell.json_of(%s)' when r.list then 'pgbell.json_of_other(%s, true)' else 'pgbell.json_of_other(%s, false)' end)
        ) x (i, kind, wanted, sql)
        where x.wanted
        union all
        select 0, 0, '', 'none', 'null' -- there is always one, since Postgres doesn't gather empty arrays
        where not exists (select from roles r where r.key or r.scope or r.owner or r.payload)
    ) x
    order by x.attnum, x.i
$$;

-- The values that are recorded of a row, in SQL.
create or replace function pgbell.values_of(f pgbell.feed, alias text) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(select format(x.sql, alias || '.' || quote_ident(x.name)) from unnest(f.fields) x);
end $$;

-- The scopes of a row r, in SQL, for a writer that rings.
create or replace function pgbell.scopes_of(f pgbell.feed, alias text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    made text[];
begin
    select array_agg(case when p.columns = '{}' then quote_literal(p.literals[1]) else format('pgbell.scope(%s)', (
            select string_agg(concat_ws(', ', quote_literal(l.l), format(x.sql, alias || '.' || quote_ident(x.name))), ', ' order by l.i)
            from unnest(p.literals, p.columns) with ordinality l (l, c, i)
            left join unnest(f.fields) x on x.name = l.c and x.kind in ('text', 'number', 'boolean'))) end order by t.i)
    into made
    from unnest(f.scopes) with ordinality t (t, i), pgbell.parse_template(t.t) p;
    return format('array[%s]::pg_catalog.text[]', pgbell.wrapped(made, ', ', 16));
end $$;

-- The facts of a write in SQL, and the query that they come from. What is recorded of an update is the
-- values before, the values after, and the names of those of columns that it changed. What the query
-- selects from depends on the shape:
--   one   a statement's only row
--   many  its rows, old and new paired by their position. FULL, since such a join is never a nested loop:
--         a plan made for two rows is kept, and used for a million. No column can be called ctid
--   row   a row trigger's old and new
--   now   the same, as $1 and, of an update, $2
-- there: those of columns that are as they were; the others are left out, and rows compared as a whole.
create or replace function pgbell.facts(f pgbell.feed, op text, shape text, columns pgbell.known_column[],
    there pgbell.known_column[], indent integer, out facts text, out source text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    pad     constant text := e'\n' || repeat(' ', indent);
    olds    constant text := case shape when 'one' then 'old_rows' when 'row' then '(select old.*)' when 'now' then '(select ($1).*)'
        else '(select pg_catalog.row_number() over () as ctid, r.* from old_rows r)' end || ' o';
    news    constant text := case shape when 'one' then 'new_rows' when 'row' then '(select new.*)'
        when 'now' then format('(select ($%s).*)', case op when 'update' then 2 else 1 end)
        else '(select pg_catalog.row_number() over () as ctid, r.* from new_rows r)' end || ' n';
    counting text[];
    changed text[];
    counts  text[];
    last    integer;
begin
    if op <> 'update' then
        facts := pgbell.wrapped(pgbell.values_of(f, case op when 'insert' then 'n' else 'o' end), ', ', indent + 4);
        source := 'from ' || case op when 'insert' then news else olds end;
    else
        if f.columns is not null then
            counting := f.columns || f.key || f.audience
                || array(select unnest(p.columns) from unnest(f.scopes) t (t), pgbell.parse_template(t.t) p);
        end if;
        select array_agg(case when d.there then format('case when %s then %L end', d.sql, d.name) else 'null' end order by d.attnum),
            array_agg(d.sql order by d.attnum) filter (where d.there and (f.columns is null or d.name = any (counting))), max(d.attnum)
        into changed, counts, last
        from (
            select c.name, c.attnum, c = any (there) as there, format('pgbell.%s(o.%s, n.%2$s)', case when pgbell.base_type(c.type) = any (
                    '{smallint,integer,bigint,uuid,boolean,date,timestamp,timestamptz,text,character varying}'::regtype[])
                then 'differs' else 'image_differs' end, quote_ident(c.name)) as sql
            from unnest(columns) c
        ) d;
        if f.columns is null then -- a column that was added since, or that a child has, counts, too
            counts := array_append(counts, concat(case when there = columns and pgbell.kind(f.target) <> 'i' then format('pgbell.has_column(%L, %s) and ', f.target::oid, coalesce(last, 0) + 1) end,
                '(o.*) operator(pg_catalog.*<>) (n.*)'));
        end if;
        facts := concat_ws(',' || pad || '    ', pgbell.wrapped(pgbell.values_of(f, 'o'), ', ', indent + 4),
            pgbell.wrapped(pgbell.values_of(f, 'n'), ', ', indent + 4), nullif(pgbell.wrapped(changed, ', ', indent + 4), ''));
        source := 'from ' || olds || case shape when 'many' then pad || 'full join ' || news || pad || '    on n.ctid operator(pg_catalog.=) o.ctid'
            else ', ' || news end || pad || 'where ' || pgbell.wrapped(coalesce(counts, '{false}'), ' or ', indent + 4);
    end if;
    facts := 'array[' || pad || '    ' || facts || ']::pg_catalog.text[]';
end $$;

-- The part of a statement that a row belongs to: of at most 500 rows.
create or replace function pgbell.part(row_number bigint) returns integer
language sql immutable
return ((row_number - 1) / 500)::integer;

-- The same where rows may be long, of no more than a megabyte and a row: not dense, but in order. bytes
-- counts those of the same 500 rows up to this one.
create or replace function pgbell.part(row_number bigint, bytes bigint) returns bigint
language sql immutable
return (row_number - 1) / 500 * 1000000 + bytes / 1000000;

-- Records, or rings, many rows, or any number of them in what columns there are now.
create or replace function pgbell.many(f pgbell.feed, op text, shape text, columns pgbell.known_column[], there pgbell.known_column[],
    indent integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    pad  constant text := e'\n' || repeat(' ', indent);
    row  constant text := case op when 'delete' then 'o' else 'n' end;
    what constant text := format('%s, pgbell.name_of(%L), %L', f.definition, f.target::oid, op);
    long constant boolean := exists (select from unnest(f.fields) x where x.kind in ('list', 'json'));
    q    record;
begin
    if not f.durable then
        q := pgbell.facts(f, op, shape, columns, there, indent);
        return format('pgbell.ring_facts(%s,', what) || pad || '    ' || case op when 'insert' then pgbell.scopes_of(f, 'n')
                when 'delete' then pgbell.scopes_of(f, 'o') else pgbell.scopes_of(f, 'o') || ' operator(pg_catalog.||)' || pad || '    ' || pgbell.scopes_of(f, 'n') end
            || ',' || pad || '    ' || q.facts || ')' || pad || q.source;
    elsif shape = 'now' then
        q := pgbell.facts(f, op, shape, columns, there, indent);
        return format('pgbell.record(%s,', what) || pad || '    ' || q.facts || ')' || pad || q.source;
    end if;
    q := pgbell.facts(f, op, shape, columns, there, indent + 4);
    return format('pgbell.record(%s, pg_catalog.array_agg(x.facts order by x.ctid),', what)
        || pad || '    (select pg_catalog.pg_current_wal_insert_lsn()), x.part)' || pad || 'from ('
        || case when long then pad || '    select r.ctid, r.facts, pg_catalog.int8mi(pg_catalog.dense_rank() over (order by r.part), 1)::pg_catalog.int4 as part from ('
            || pad || '    select r.ctid, r.facts, pgbell.part(r.ctid,'
            || pad || '        pg_catalog.sum(pg_catalog.pg_column_size(r.facts)) over (partition by pgbell.part(r.ctid) order by r.ctid)) as part from (' else '' end
        || pad || format('    select %s.ctid, ', row) || case when long then '' else format('pgbell.part(%s.ctid) as part, ', row) end
        || q.facts || ' as facts' || pad || '    ' || q.source || pad || case when long then ') r) r' else '' end || ') x' || pad || 'group by x.part';
end $$;

-- What a trigger does whose table is not as it was when it was attached. Nothing, if it is another table:
-- a copy, or one of a dump. A reset, if a column is not as it was that the feed names. Else the same as
-- ever, in the columns that there are. tbl is the table that the trigger found itself on.
create or replace function pgbell.statement_of_now(definition integer, trg text, durable boolean, target oid, tbl oid) returns text
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
    select x.* into f from pgbell.feed x where x.definition = statement_of_now.definition; -- none in a snapshot of before
    there := pgbell.still_there(target, f.known);
    if f.id is null or exists (
        select from jsonb_object_keys(f.types) k (k) where not exists (select from unnest(there) c where c.name = k.k))
    then
        return format('select pgbell.record_reset(%s, pgbell.name_of(%L), ''definition changed'', %L)', definition, target, durable)
            || case when trg = op then format(' where exists (select from %s)', case op when 'delete' then 'old_rows' else 'new_rows' end) else '' end;
    end if;
    return 'select ' || pgbell.many(f, op, case when trg = op then 'many' else 'now' end, f.known, there, 4)
        || case when durable then format('; select pgbell.ring(pgbell.name_of(%L), %L, null)', target, op) else '' end;
end $$;

-- The text of a feed's trigger function: insert, update and delete for statements, row_insert and so on
-- for rows, and truncate.
create or replace function pgbell.generate(f pgbell.feed, trg text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generate$
declare
    kind    constant "char" := pgbell.kind(f.target);
    target  constant oid := f.target;
    op      constant text := regexp_replace(trg, '^row_', '');
    level   constant text := case when trg = op then 'one' else 'row' end;
    name    constant text := format('pgbell.name_of(%L)', target);
    mine    constant text := case kind
        when 'r' then format('pg_catalog.oideq(tg_relid, %s)', target)
        when 'p' then format('pg_catalog.oideq(pg_catalog.pg_partition_root(tg_relid), %s)', target)
        else format('tg_relid operator(pg_catalog.=) any (%L::pg_catalog.oid[])', array(select t.t::oid from pgbell.tree(f.target) t (t) order by 1)) end;
    found_on constant text := case kind when 'r' then 'tg_relid' when 'p' then 'pg_catalog.pg_partition_root(tg_relid)'
        else format('case when %s then %s else 0 end', mine, target) end;
    columns pgbell.known_column[] := pgbell.columns_of(f.target);
    shown   constant text := regexp_replace(f.tbl, '[^[:print:]]', '?', 'g'); -- in a comment
    rows    constant text := case op when 'delete' then 'old_rows' else 'new_rows' end;
    q       record;
    body    text;
    insertion text;
    by_hand text := '';
begin
    if trg = 'truncate' then
        return format($f$create or replace function pgbell.feed_%s_truncate() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as %L$f$, f.id, format($body$
-- Those who listen to %s are to fetch again. Made by pgbell.attach; see docs/sql.md.
begin
    if %s then
        perform pgbell.record_reset(%s, %s, 'truncate', %L);
    end if;
    return null;
end $body$, shown, mine, f.definition, name, f.durable));
    end if;

    if op <> 'update' then -- what it does not name need not be as it was
        columns := array(select c from unnest(columns) c where f.types ? c.name);
    end if;
    q := pgbell.facts(f, op, level, columns, columns, 8);
    if level = 'row' and kind = 'r' then
        by_hand := $body$
    if pg_catalog.current_setting('session_replication_role') operator(pg_catalog.<>) 'replica' then
        return null; -- enabled by hand: the statement's trigger records it
    end if;$body$;
    end if;
    body := format($body$
-- What %1$s of %2$s changed: values of the columns that its feed names, before (o) and after (n), and
-- names of those that changed. Made by pgbell.attach: see docs/sql.md. It qualifies names, for it runs with its owner's rights.
declare
    gate bigint := pg_catalog.pg_sequence_last_value('pgbell.gate');
begin%11$s
    if not (%3$s and pgbell.intact(%4$L,
        %5$L)) then
        execute pgbell.statement_of_now(%6$s, %7$L, %8$L, %4$s, %9$s)%10$s;
        return null;
    end if;
$body$, case op when 'insert' then 'an INSERT' when 'update' then 'an UPDATE' else 'a DELETE' end, shown, mine, target, columns,
        f.definition, trg, f.durable, found_on, case trg when 'row_insert' then ' using new' when 'row_update' then ' using old, new' when 'row_delete' then ' using old' else '' end, by_hand);
    if not f.durable then
        body := body || '    perform ' || pgbell.many(f, op, case level when 'one' then 'many' else 'row' end, columns, columns, 4) || ';';
    else
        insertion := format($q$(definition, tbl, op, facts)
        select %s, %s, %L, %s
        %s;$q$, f.definition, name, op, q.facts, q.source);
        body := body || case level when 'one' then format($q$
    perform from %s limit 1 offset 1;
    if found then
        perform %s;
    elsif$q$, rows, pgbell.many(f, op, 'many', columns, columns, 8)) else '    if' end
            || format($q$ pg_catalog.mod(gate, 2) operator(pg_catalog.=) 0 then
        insert into pgbell.journal_0 %1$s
    else
        insert into pgbell.journal_1 %1$s
    end if;

    if found and gate operator(pg_catalog.>) 1 then -- a server waits to be rung
        perform pgbell.ring(%2$s, %3$L, pg_catalog.array_agg(x.scopes)) from (
            %4$s limit 101
        ) x (scopes);
    end if;$q$, insertion, name, op, array_to_string(array[
                case when op <> 'insert' then format(e'select %s\n            from %s r', pgbell.scopes_of(f, 'r'), case level when 'one' then 'old_rows' else '(select old.*)' end) end,
                case when op <> 'delete' then format(e'select %s\n            from %s r', pgbell.scopes_of(f, 'r'), case level when 'one' then 'new_rows' else '(select new.*)' end) end],
                e'\n            union all '));
    end if;
    return format($f$create or replace function pgbell.feed_%s_%s() returns trigger
language plpgsql security definer%s%s
as %L$f$, f.id, trg,
        case when level = 'row' then e'\nset plan_cache_mode = force_generic_plan -- a custom one would take a copy of each large value' else '' end,
        case when exists (select from jsonb_each_text(f.types) t
                where t.value <> all ('{smallint,integer,bigint,uuid,boolean,text,character varying,character,name,numeric}'))
            then $q$
set timezone = 'UTC' -- the text of a value must not depend on the writer's settings
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set extra_float_digits = '1'
set bytea_output = 'hex'
set lc_monetary = 'C'
set quote_all_identifiers = off
set search_path = pg_catalog, pg_temp$q$ when level = 'row' then e'\nset search_path = pg_catalog, pg_temp' else '' end,
        body || e'\n    return null;\nend ');
end $generate$;
