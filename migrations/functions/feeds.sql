-- What is known of attached tables, and the view that tells it.

-- The name of a table as one would write it: quoted where needed, with its schema.
create or replace function pgbell.table_name(tbl oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = tbl
$$;

-- p: partitioned; i: has parents or children by inheritance; r: a table like any other.
create or replace function pgbell.kind(tbl regclass) returns "char"
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when c.relkind = 'p' then 'p'
        when exists (select from pg_inherits i where tbl in (i.inhparent, i.inhrelid)) then 'i' else 'r' end::"char"
    from pg_class c where c.oid = tbl
$$;

-- A type without its domains.
create or replace function pgbell.base_type(typ oid) returns oid
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

-- A table and those that inherit from it, partitions or not, as far as they are tables of this server.
create or replace function pgbell.tree(root regclass) returns setof regclass
language sql stable rows 4
set search_path = pg_catalog, pg_temp
as $$
    with recursive t (relid) as (
        select root::oid
        union
        select i.inhrelid from t join pg_inherits i on i.inhparent = t.relid
    )
    select c.oid::regclass from t join pg_class c on c.oid = t.relid where c.relkind in ('r', 'p')
$$;

create or replace function pgbell.primary_key(tbl regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(a.attname::text order by k.i), '{}')
    from pg_index x, unnest(x.indkey::int2[]) with ordinality k (attnum, i)
    join pg_attribute a on a.attnum = k.attnum
    where x.indrelid = tbl and x.indisprimary and a.attrelid = tbl and k.i <= x.indnkeyatts
$$;

-- Whether two rows may have the same key for a while.
create or replace function pgbell.deferrable_key(tbl regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_index x where x.indrelid = tbl and x.indisprimary and not x.indimmediate) $$;

-- literals has one element more than columns: literal, column, literal, ...
create or replace function pgbell.parse_template(template text, out literals text[], out columns text[])
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
            raise exception 'scope template "%": the brace in front of "%" is not closed or closes nothing',
                template, left(substr(rest, 2), 20) using errcode = 'invalid_parameter_value',
                hint = 'A column stands in braces, {project_id}; a literal brace is written twice, {{ or }}.';
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

-- The functions of a feed's triggers.
create or replace function pgbell.feed_function(feed integer, trg text) returns text
language sql immutable
as $$ select 'pgbell.feed_' || feed || '_' || trg || '()' $$;

create or replace function pgbell.feed_functions(feed integer) returns setof pg_proc
language sql stable rows 8
set search_path = pg_catalog, pg_temp
as $$
    select p.* from pg_proc p
    where p.pronamespace = 'pgbell'::regnamespace and p.proname in (
        select 'feed_' || feed || '_' || x.x
        from unnest('{insert,update,delete,row_insert,row_update,row_delete,truncate}'::text[]) x (x))
$$;

-- The triggers that call a function, on whatever table. pg_trigger has no index for that.
create or replace function pgbell.triggers_that_call(fn oid) returns setof pg_trigger
language sql stable rows 4
set search_path = pg_catalog, pg_temp
as $$
    select t.* from pg_depend d join pg_trigger t on t.oid = d.objid
    where d.refclassid = 'pg_proc'::regclass and d.refobjid = fn and d.classid = 'pg_trigger'::regclass
$$;

-- The triggers of a feed. Statement triggers do the work of a plain table. A statement that names a
-- partition skips those of the root, so that partitioned tables have row triggers, which Postgres clones
-- to every partition, those of later too; only TRUNCATE has none, and each partition gets its own. So it
-- is with inheritance, where nothing is cloned. The row triggers of a plain table fire only where
-- statement triggers don't: in logical replication's apply (enabled R, see ALTER TABLE ... ENABLE REPLICA
-- TRIGGER).
create or replace function pgbell.wanted_triggers(f pgbell.feed,
    out tbl regclass, out trg text, out name name, out definition text, out enabled "char") returns setof record
language sql stable rows 8
set search_path = pg_catalog, pg_temp
as $$
    select t.t, w.trg, format('pgbell_%s_%s', w.trg, f.id)::name, w.definition, w.enabled
    from pgbell.kind(f.target) k (k), pgbell.tree(f.target) t (t), (values
        ('r', 'insert', 'after insert on %s referencing new table as new_rows for each statement', 'O'),
        ('r', 'update', 'after update on %s referencing old table as old_rows new table as new_rows'
            ' for each statement', 'O'),
        ('r', 'delete', 'after delete on %s referencing old table as old_rows for each statement', 'O'),
        ('r', 'row_insert', 'after insert on %s for each row', 'R'),
        ('r', 'row_update', 'after update on %s for each row', 'R'),
        ('r', 'row_delete', 'after delete on %s for each row', 'R'),
        ('p', 'row_insert', 'after insert on %s for each row', 'A'),
        ('p', 'row_update', 'after update on %s for each row', 'A'),
        ('p', 'row_delete', 'after delete on %s for each row', 'A'),
        ('i', 'row_insert', 'after insert on %s for each row', 'A'),
        ('i', 'row_update', 'after update on %s for each row', 'A'),
        ('i', 'row_delete', 'after delete on %s for each row', 'A'),
        (null, 'truncate', 'after truncate on %s for each statement', 'A')
    ) w (kind, trg, definition, enabled)
    where w.kind is null or w.kind = k.k::text and (k.k = 'i' or t.t = f.target)
$$;

-- The partitions that were added since the table was attached, or its children, and have no trigger of
-- their own: PostgreSQL clones those for rows only.
create or replace function pgbell.deaf_parts(f pgbell.feed) returns setof regclass
language sql stable rows 2
set search_path = pg_catalog, pg_temp
as $$
    select t.t from pgbell.tree(f.target) t (t)
    where pgbell.kind(f.target) = 'p' and t.t <> f.target and not exists (
        select from pg_trigger g where g.tgrelid = t.t and g.tgname = format('pgbell_truncate_%s', f.id))
$$;

-- What is wrong with a feed, or 'ok'.
create or replace function pgbell.state(f pgbell.feed) returns text
language plpgsql stable security definer -- whoever may ask needs no right to what it asks
set search_path = pg_catalog, pg_temp
as $$
declare
    here    constant boolean := f.home = pgbell.home();
    found   constant regclass := pgbell.table_of(f);
    problem text;
begin
    if found is null and here then
        return 'the table was dropped: select pgbell.detach(' || f.target || ')';
    elsif found is null then
        return 'the table is not in this copy of the database: run pgbell migrate';
    elsif found <> f.target and here then
        return 'the table is a copy of the one that was attached and dropped: attach it again';
    elsif found <> f.target then
        return 'the table was restored from a dump: attach it again, or run pgbell migrate, which does so for all';
    elsif (select c.relispartition from pg_class c where c.oid = f.target) then
        return format('the table is now a partition: detach it and attach %s',
            pgbell.table_name(pg_partition_root(f.target)));
    end if;
    select string_agg(pgbell.table_name(t.t), ', ' order by t.t) into problem
    from pgbell.tables_with_triggers(f.id) t (t)
    where t.t not in (select a.a from pgbell.tree(f.target) a (a));
    if problem is not null then
        return format('%s has its triggers, too, which do nothing there: attach that table, or detach it', problem);
    elsif f.tbl <> pgbell.table_name(f.target) and exists (
        select from pg_class c where pgbell.table_name(c.oid) = f.tbl and c.relkind in ('r', 'p'))
    then
        return format('another table is called %s now: attach that one, and this one again or detach it', f.tbl);
    elsif f.key <> pgbell.primary_key(f.target) then
        return 'the primary key is another: attach the table again';
    end if;
    select string_agg(format('column %s %s', quote_ident(c.name), case
            when a.attname is null then 'is gone'
            when a.atttypid <> c.type
                then 'was ' || (f.types ->> c.name) || ', now is ' || format_type(a.atttypid, null)
            else 'is another one of the same name' end), '; ' order by c.name)
    into problem
    from unnest(f.known) c
    left join pg_attribute a on a.attrelid = f.target and a.attname = c.name and a.attnum > 0 and not a.attisdropped
    where f.types ? c.name and (a.attname is null or a.atttypid <> c.type or a.attnum <> c.attnum);
    if problem is not null then
        return problem || ': attach the table again';
    end if;

    with w as materialized (
        select w.* from pgbell.wanted_triggers(f) w
    ), t as materialized (
        select t.* from pgbell.feed_functions(f.id) p, pgbell.triggers_that_call(p.oid) t
    )
    select string_agg(p.name || p.what
        || case when p.tbl <> f.target then ' on ' || pgbell.table_name(p.tbl) else '' end, '; ' order by p.tbl, p.name)
    into problem
    from (
        select w.tbl, w.name, ' is missing' as what
        from w
        where w.tbl not in (select d.d from pgbell.deaf_parts(f) d (d)) and not exists (
            select from t where t.tgrelid = w.tbl and t.tgname = w.name
                and t.tgfoid = to_regprocedure(pgbell.feed_function(f.id, w.trg)))
        union all
        select t.tgrelid, t.tgname, -- of a partition, too
            case t.tgenabled when 'D' then ' is disabled' else ' was enabled otherwise than attached' end
        from t left join w on t.tgrelid = w.tbl and t.tgname = w.name
        where t.tgenabled <> coalesce(w.enabled, 'A')
    ) p;
    if problem is not null then
        return 'trigger ' || problem || ': attach the table again';
    end if;
    select string_agg(pgbell.table_name(d.d), ', ' order by pgbell.table_name(d.d)) into problem
    from pgbell.deaf_parts(f) d (d);
    return coalesce('TRUNCATE of ' || problem || ' alone is heard late: attach the table again', 'ok');
end $$;

-- The rows of the view, for whom may read that: a feed, or what is to be said of triggers without one.
create or replace function pgbell.listed(out table_name text, out feed pgbell.feed, out stray text)
returns setof record
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(pgbell.table_name(pgbell.table_of(f)), f.tbl), f, null from pgbell.feed f
    union all
    select distinct pgbell.table_name(s.tbl), null::pgbell.feed, case
        when exists (select from pgbell.feed f where f.id = s.feed)
            then 'it has triggers of another table''s feed, which do nothing: attach it, or detach it'
        else 'its feed is not in this copy of the database: run pgbell migrate, or attach it again' end
    from pgbell.strays() s
    where s.tbl in (select t.t from pgbell.tables_with_triggers(s.feed) t (t))
$$;

create or replace view pgbell.feeds as
select l.table_name, coalesce((l.feed).scopes, '{}') as scopes, (l.feed).audience, (l.feed).columns, (l.feed).payload,
    coalesce((l.feed).durable, true) as durable, coalesce(l.stray, pgbell.state(l.feed)) as state, (l.feed).regroup
from pgbell.listed() l
order by l.table_name;
