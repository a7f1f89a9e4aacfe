-- What becomes of attached tables and fires no trigger: a server looks at the catalog for that.

-- Another text, as a rule, once the catalog says otherwise what the attached tables are, and the schema
-- that it's of.
create or replace function pgbell.catalog_mark(out home text, out mark text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with recursive t (relid) as (
        select f.target from pgbell.feed f
        union
        select i.inhrelid from t join pg_inherits i on i.inhparent = t.relid
    ), a as materialized (select array_agg(t.relid) as tables from t)
    select pgbell.home(), md5(concat_ws('/', (
        select sum(hashtextextended(concat_ws('/', x.*), 0)) from (
            select c.oid, 0, c.xmin from pg_class c, a where c.oid = any (a.tables)
            union all select c.attrelid, c.attnum, c.xmin from pg_attribute c, a where c.attrelid = any (a.tables)
            union all select c.tgrelid, 0, c.xmin from pg_trigger c, a where c.tgrelid = any (a.tables)
            union all select c.indrelid, 0, c.xmin from pg_index c, a where c.indrelid = any (a.tables)
            union all select f.id::oid, 0, f.xmin from pgbell.feed f -- of a table that came and went since
        ) x)))
$$;

-- The tables that a partitioned table's rows are in, each with its file if a TRUNCATE of it, which changes
-- that, has no trigger. Null for any other table.
create or replace function pgbell.parts_of(f pgbell.feed) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_object_agg(c.oid, case when d.d is not null then c.relfilenode else 0 end)
    from pgbell.tree(f.target) t (t) join pg_class c on c.oid = t.t
    left join pgbell.deaf_parts(f) d (d) on d.d = c.oid
    where pgbell.kind(f.target) <> 'r' and c.relkind = 'r'
$$;

-- Resets the scopes of a table whose partitions are others: rows came with one, or went. One that is empty
-- brings none. Of several servers that look, one does so.
create or replace function pgbell.look_at_parts() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    f   pgbell.feed;
    now jsonb;
begin
    for f in
        select x.* from pgbell.feed x
        where x.home = pgbell.home() and pgbell.parts_of(x) is distinct from x.parts for update skip locked
    loop
        now := pgbell.parts_of(f);
        update pgbell.feed x set parts = now where x.id = f.id;
        if exists (select from jsonb_each(f.parts) b where now -> b.key is distinct from b.value)
            or exists (select from jsonb_object_keys(now) n (n)
                where not coalesce(f.parts, '{}') ? n.n and pg_relation_size(n.n::oid) > 0)
        then
            perform pgbell.record_reset(f.definition, pgbell.table_name(f.target), 'partitions changed', f.durable);
        end if;
    end loop;
end $$;
