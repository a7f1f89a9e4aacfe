-- Attach and detach.

-- Says who may attach and detach a table, to those who may not.
create or replace function pgbell.must_own(tbl regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    owner constant oid := (select c.relowner from pg_class c where c.oid = tbl);
begin
    if not pg_has_role(owner, 'usage') then
        raise exception 'must be owner of table %', pgbell.table_name(tbl)
            using errcode = 'insufficient_privilege',
            hint = format('Do it as %I or as a superuser.', pg_get_userbyid(owner));
    end if;
end $$;

-- Locks a table for changes to its triggers. To wait longer would make all
-- writers of the table wait behind us. The limit holds on for what else there is to wait for
-- while they do; whoever calls it puts lock_timeout back in the end.
create or replace function pgbell.lock_table(tbl regclass, mode text) returns void
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
exception when lock_not_available then
    raise exception '% is in use: no lock on it within %', pgbell.table_name(tbl),
            case patience when '0' then '5s' else patience end
        using errcode = 'lock_not_available', hint = 'Try again once the transactions that use it have ended'
            ' (see pg_locks), or SET lock_timeout to wait longer: its writers then wait, too.';
end $$;

-- Drops the triggers of a feed except those that are kept.
create or replace function pgbell.drop_triggers(f pgbell.feed, kept text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    trg record;
begin
    for trg in
        select t.tgname, t.tgrelid::regclass as tbl
        from pgbell.feed_functions(f.id) p, pgbell.triggers_that_call(p.oid) t
        where t.tgparentid = 0 and format('%I on %s', t.tgname, t.tgrelid::regclass) <> all (kept)
    loop
        perform pgbell.run(format('drop trigger %I on %s', trg.tgname, trg.tbl));
    end loop;
end $$;

-- Drops the functions of a feed except those of the triggers that are kept.
create or replace function pgbell.drop_functions(f pgbell.feed, kept text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    fn text;
begin
    for fn in
        select p.oid::regprocedure::text from pgbell.feed_functions(f.id) p
        where p.proname <> all (select format('feed_%s_%s', f.id, k.k) from unnest(kept) k (k))
    loop
        perform pgbell.run('drop function ' || fn);
    end loop;
end $$;

-- Takes the triggers and the functions of a feed away. What its facts meant goes with the journal.
create or replace function pgbell.remove(f pgbell.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgbell.drop_triggers(f, '{}');
    perform pgbell.drop_functions(f, '{}');
    perform pgbell.replaced(f.definition);
    delete from pgbell.feed where id = f.id;
end $$;

-- Notes that nobody writes under a definition any more: those who did are over, since the table is locked.
create or replace function pgbell.replaced(definition integer) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update pgbell.definition d
    set replaced = greatest(pg_current_xact_id(), pg_snapshot_xmax(pg_current_snapshot()))
    where d.id = $1
$$;

-- Writes down what the facts of a feed mean from now on, and returns the number of that.
create or replace function pgbell.define(f pgbell.feed) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    made integer;
begin
    perform pgbell.replaced(f.definition);
    insert into pgbell.definition (spec) values (jsonb_build_object(
        'version', pgbell.schema_version(), 'scopes', f.scopes, 'audience', f.audience, 'payload', f.payload,
        'key', f.key, 'durable', f.durable, 'regroup', f.regroup,
        'fields', (select jsonb_agg(jsonb_build_array(x.name, x.kind)) from unnest(f.fields) x),
        'columns', cardinality(f.known) + 1, 'deferrable', pgbell.deferrable_key(f.target)))
    returning id into made;
    return made;
end $$;

-- The texts of a feed's trigger functions, and a hash of all that its triggers are.
create or replace function pgbell.texts_of(f pgbell.feed, out texts text[], out hash text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    texts := array(
        select pgbell.generate(f, w.trg)
        from (select distinct w.trg from pgbell.wanted_triggers(f) w) w order by w.trg);
    hash := md5(array_to_string(texts, e'\n') || (
        select string_agg(format('%s %s %s', w.tbl, w.definition, w.enabled), ';' order by w.tbl, w.trg)
        from pgbell.wanted_triggers(f) w));
end $$;

-- The statements that make a feed's triggers, once their functions are there.
create or replace function pgbell.trigger_statements(f pgbell.feed) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select x.x
    from pgbell.wanted_triggers(f) w, lateral (values
        (format('create or replace trigger %I %s execute function %s',
            w.name, format(w.definition, pgbell.table_name(w.tbl)), pgbell.feed_function(f.id, w.trg))),
        (format('alter table %s enable %s trigger %I', pgbell.table_name(w.tbl),
            case w.enabled when 'R' then 'replica' when 'A' then 'always' else '' end, w.name))
    ) x (x)
$$;

-- Makes the functions and the triggers of a feed, and takes those away that it has no more.
create or replace function pgbell.make_triggers(f pgbell.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plpgsql.extra_errors = 'none' -- a column may well be named like a variable
set plpgsql.extra_warnings = 'none'
as $$
declare
    owner name;
    trg   record;
    fn    text;
    made  record := pgbell.texts_of(f);
begin
    select r.rolname into owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'pgbell';
    perform pgbell.drop_triggers(f, array(select format('%I on %s', w.name, w.tbl) from pgbell.wanted_triggers(f) w));
    foreach fn in array made.texts loop
        perform pgbell.run(fn);
    end loop;
    for fn in select distinct w.trg from pgbell.wanted_triggers(f) w loop
        perform pgbell.run(format('alter function %s owner to %I', pgbell.feed_function(f.id, fn), owner));
    end loop;
    perform pgbell.drop_functions(f, array(select w.trg from pgbell.wanted_triggers(f) w));
    perform pgbell.close_to_all('function', p.oid::regprocedure::text, p.proacl, p.proowner)
    from pgbell.feed_functions(f.id) p;
    for fn in select * from pgbell.trigger_statements(f) loop
        perform pgbell.run(fn);
    end loop;
    update pgbell.feed x set made = made.hash, parts = pgbell.parts_of(f) where x.id = f.id;
    -- For a copy of the database without this row.
    perform pgbell.run(format('comment on function %s is %L', pgbell.feed_function(f.id, 'truncate'),
        jsonb_build_object('scopes', f.scopes, 'audience', f.audience, 'columns', f.columns, 'payload', f.payload,
            'durable', f.durable, 'regroup', f.regroup)));
    -- Whoever makes a partition must have the right to the functions of the triggers that it gets.
    for trg in
        select w.trg, pg_get_userbyid(c.relowner) as owner
        from pgbell.wanted_triggers(f) w join pg_class c on c.oid = w.tbl
        where c.relkind = 'p' and c.oid = f.target and w.trg <> 'truncate'
    loop
        perform pgbell.run(format('grant execute on function %s to %I',
            pgbell.feed_function(f.id, trg.trg), trg.owner));
    end loop;
end $$;

-- Removes the feeds whose table is gone, for its number may come again: their scopes are reset. Those that
-- another session has are left to it.
create or replace function pgbell.forget() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    f pgbell.feed;
begin
    for f in select x.* from pgbell.feed x where pgbell.table_of(x) is null for update skip locked loop
        perform pgbell.remove(f);
        perform pgbell.record(f.definition, f.tbl, 'detach', array[
            json_build_object('templates', f.scopes, 'reason', 'the table was dropped',
                'regroup', f.regroup is not null)::text]);
    end loop;
    delete from pgbell.detached d where d.target in (
        select d.target from pgbell.detached d
        where not exists (select from pg_class c where c.oid = d.target) for update skip locked);
end $$;

-- In a copy of the database, attaches again what was attached in the one that it was made of, as its row
-- says or, if that was not copied, the comment on a function of its triggers. What can't be attached as it
-- was stays behind: it takes a decision, and the others are not to wait.
create or replace function pgbell.attach_copies() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    f record;
begin
    if exists (select from pgbell.feed x where x.home <> pgbell.home()) then
        perform pgbell.forget();
    end if;
    for f in
        select pgbell.table_of(x) as tbl, x.scopes, x.audience, x.columns, x.payload, x.durable, x.regroup
        from pgbell.feed x
        where x.home <> pgbell.home()
        union all
        select pgbell.table_with_triggers(s.feed, 0, ''), x.*
        from (select distinct s.feed from pgbell.strays() s) s, jsonb_to_record(obj_description(
                to_regprocedure(pgbell.feed_function(s.feed, 'truncate')), 'pg_proc')::jsonb)
            x (scopes text[], audience text[], columns text[], payload text[], durable boolean, regroup text)
        where not exists (select from pgbell.feed x where x.id = s.feed)
            and exists (select from pgbell.tables_with_triggers(s.feed))
        order by 1
    loop
        begin
            perform pgbell.attach(f.tbl, f.scopes, f.audience, f.columns, f.payload, f.durable, f.regroup);
            raise warning 'this database is a copy: % is attached again', pgbell.table_name(f.tbl);
        exception
            when lock_not_available or deadlock_detected then
                raise; -- to migrate again is all it takes
            when others then
                raise warning '% is not attached again: %', pgbell.table_name(f.tbl), sqlerrm
                    using hint = 'Put that right, then attach it.';
        end;
    end loop;
end $$;

-- Makes those feeds anew whose triggers another version of pgbell made, or for other columns of the table.
-- What is wrong with a feed stays so: to attach it again may take a decision.
create or replace function pgbell.remake() returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience constant text := current_setting('lock_timeout');
    f        pgbell.feed;
begin
    perform pgbell.attach_copies();
    for f in select x.* from pgbell.feed x where pgbell.state(x) = 'ok' order by x.id loop
        f.fields := array(select x from pgbell.fields_of(f) x);
        continue when f.made = (pgbell.texts_of(f)).hash;
        perform pgbell.lock_table(f.target, 'share row exclusive');
        f.known := pgbell.columns_of(f.target);
        f.definition := pgbell.define(f);
        update pgbell.feed x set known = f.known, fields = f.fields, definition = f.definition where x.id = f.id;
        perform pgbell.make_triggers(f);
        perform pgbell.record(f.definition, pgbell.table_name(f.target), 'attach', array['{"templates":[],"reason":""}',
            (select d.spec::text from pgbell.definition d where d.id = f.definition)]);
        perform set_config('lock_timeout', patience, true);
        return next pgbell.table_name(f.target);
    end loop;
end $$;

-- A feed as it is asked for, or an error that says what is wrong with it, and what to do.
create or replace function pgbell.feed_of(
    target   regclass,
    scopes   text[],
    audience text[] default null,
    columns  text[] default null,
    payload  text[] default null,
    durable  boolean default true,
    regroup  text    default null
) returns pgbell.feed
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plpgsql.extra_errors = 'none' -- a column may well be named like a variable
set plpgsql.extra_warnings = 'none'
as $$
declare
    f       pgbell.feed;
    cls     pg_class;
    tbl     text := pgbell.table_name(target);
    owner   name;
    tpl     text;
    att     record;
    names   text[] := '{}';
begin
    select c.* into cls from pg_class c where c.oid = target;
    if tbl is null then
        raise exception 'there is no table with oid %', target::oid using errcode = 'undefined_table';
    elsif cls.relkind in ('v', 'm', 'f') then
        raise exception '% is a %: only tables can be attached', tbl,
            case cls.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'foreign table' end
            using errcode = 'wrong_object_type', hint = case cls.relkind when 'f'
                then 'Attach the table on the server that holds it.' else 'Attach the tables that it reads.' end;
    elsif cls.relkind not in ('r', 'p') then
        raise exception '% is not a table', tbl using errcode = 'wrong_object_type';
    elsif cls.relispartition then
        raise exception '% is a partition of %', tbl, pgbell.table_name(pg_partition_root(target))
            using errcode = 'wrong_object_type',
            hint = format('Attach %s: changes of its partitions are reported under its name.',
                pgbell.table_name(pg_partition_root(target)));
    elsif cls.relpersistence = 't' then
        raise exception '% is a temporary table: nobody else sees its rows', tbl using errcode = 'wrong_object_type';
    elsif cls.relnamespace in ('pgbell'::regnamespace, 'pg_catalog'::regnamespace) then
        raise exception '% is a system table: only tables of your own can be attached', tbl
            using errcode = 'wrong_object_type';
    end if;
    perform pgbell.must_own(target);
    select r.rolname into owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'pgbell';
    if not pg_has_role(owner, 'usage') then
        raise exception 'must be able to act for %, the owner of schema pgbell', owner
            using errcode = 'insufficient_privilege',
            hint = format('Attach as %I or as a superuser, or GRANT %1$I TO %I.', owner, current_user);
    end if;

    perform pgbell.must_have_one_owner();

    f.target := target;
    f.tbl := tbl;
    f.scopes := scopes;
    f.audience := audience;
    f.columns := columns;
    f.home := pgbell.home();
    f.payload := nullif(payload, '{}');
    f.durable := coalesce(durable, true);
    f.regroup := regroup;
    if greatest(array_ndims(scopes), array_ndims(audience), array_ndims(columns), array_ndims(payload)) > 1 then
        raise exception 'scopes and columns are given in arrays of one dimension'
            using errcode = 'array_subscript_error';
    elsif coalesce(cardinality(scopes), 0) = 0 then
        raise exception 'a feed needs at least one scope' using errcode = 'invalid_parameter_value',
            hint = format($h$For example: select pgbell.attach(%L, scopes => array[%L]).$h$, tbl, cls.relname);
    elsif f.payload is not null and not f.durable then
        raise exception 'payload columns travel only through the journal' using errcode = 'invalid_parameter_value',
            hint = 'Leave out payload, or durable => false.';
    elsif regroup is not null and not f.durable then
        raise exception 'who is in which group is told through the journal' using errcode = 'invalid_parameter_value',
            hint = 'Leave out regroup, or durable => false.';
    elsif regroup is not null and columns is not null then
        raise exception 'each change of a table that says who is in which group must be heard'
            using errcode = 'invalid_parameter_value', hint = 'Leave out columns, or regroup.';
    end if;
    foreach tpl in array scopes loop
        if tpl is null then
            raise exception 'a scope is null' using errcode = 'null_value_not_allowed';
        end if;
        att := pgbell.parse_template(tpl);
        if octet_length(array_to_string(att.literals, '')) > 256 then
            raise exception 'scope template "%..." is longer than 256 bytes', left(tpl, 40)
                using errcode = 'invalid_parameter_value';
        elsif att.columns = '{}' and att.literals[1] = any (pgbell.reserved_scopes()) then
            raise exception
                'scope "%" is reserved: a stream uses the names open, error, message, ready and close itself', tpl
                using errcode = 'reserved_name', hint = 'Choose another name.';
        end if;
        names := names || att.columns;
    end loop;
    foreach tpl in array coalesce(audience, '{}') loop
        perform pgbell.check_group(target, tpl);
    end loop;
    names := names || pgbell.columns_in(audience) || columns || payload || array_remove(array[regroup], null);

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
                using errcode = 'feature_not_supported',
                hint = 'Make it a stored one, or name the columns that it is made of.';
        elsif (att.name = any (pgbell.columns_in(audience)) or att.name = regroup)
            and (att.doc or att.typtype = 'c')
        then
            raise exception 'column "%" of % is of type %: an audience column holds one user id, or an array of them',
                att.name, tbl, att.typ using errcode = 'datatype_mismatch';
        end if;
    end loop;
    if pgbell.utf8(array[tbl] || scopes || audience || names) is null then
        raise exception 'the name of %, a scope or a column has a character that UTF8 has not', tbl
            using errcode = 'untranslatable_character', hint = 'Events are in UTF8: give it another name.';
    end if;
    select coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, null)), '{}') into f.types
    from pg_attribute a
    where a.attrelid = target and a.attname = any (names) and a.attnum > 0 and not a.attisdropped;
    f.known := pgbell.columns_of(target);
    f.fields := array(select x from pgbell.fields_of(f) x);
    return f;
end $$;

-- The statements by which attach would make the functions and the triggers of a feed: for reading, nothing
-- is made or locked. If another attach comes first, the numbers in their names will be others.
create or replace function pgbell.preview(
    target   regclass,
    scopes   text[],
    audience text[] default null,
    columns  text[] default null,
    payload  text[] default null,
    durable  boolean default true,
    regroup  text    default null
) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    f pgbell.feed := pgbell.feed_of(target, scopes, audience, columns, payload, durable, regroup);
begin
    f.id := coalesce((select x.id from pgbell.feed x where pgbell.table_of(x) = preview.target),
        pg_sequence_last_value(pg_get_serial_sequence('pgbell.feed', 'id')::regclass) + 1, 1);
    f.definition := coalesce(
        pg_sequence_last_value(pg_get_serial_sequence('pgbell.definition', 'id')::regclass) + 1, 1);
    return query select x.x from unnest((pgbell.texts_of(f)).texts) x (x);
    return query select x.x from pgbell.trigger_statements(f) x (x);
end $$;

create or replace function pgbell.attach(
    target   regclass,
    scopes   text[],
    audience text[] default null,
    columns  text[] default null,
    payload  text[] default null,
    durable  boolean default true,
    regroup  text    default null
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience constant text := current_setting('lock_timeout');
    f        pgbell.feed := pgbell.feed_of(target, scopes, audience, columns, payload, durable, regroup);
    before   pgbell.feed;
    missed   boolean := false; -- those who listen may have missed something, or will
begin
    if f.key = '{}' then
        raise warning '% has no primary key: its events carry no key', f.tbl;
    end if;

    perform pgbell.lock_table(target, 'share row exclusive');

    perform pgbell.begin_journal();
    perform pgbell.forget();
    select x.* into before from pgbell.feed x where pgbell.table_of(x) = attach.target;
    f.known := pgbell.columns_of(target);
    f.fields := array(select x from pgbell.fields_of(f) x);
    if before.id is null then
        insert into pgbell.feed (target, tbl, scopes, audience, columns, payload, durable, regroup, key, types, home,
            known, fields)
        values (f.target, f.tbl, f.scopes, f.audience, f.columns, f.payload, f.durable, f.regroup, f.key, f.types,
            f.home, f.known, f.fields)
        returning id into f.id;
    else
        f.id := before.id;
        f.definition := before.definition;
        f.made := before.made;
        f.parts := before.parts;
        missed := before is distinct from f or pgbell.state(before) <> 'ok';
    end if;
    f.definition := pgbell.define(f);
    update pgbell.feed x
    set (target, home, tbl, scopes, audience, columns, payload, durable, regroup, key, types, known, fields, definition)
        = (f.target, f.home, f.tbl, f.scopes, f.audience, f.columns, f.payload, f.durable, f.regroup, f.key, f.types,
            f.known, f.fields, f.definition)
    where x.id = f.id;

    perform pgbell.make_triggers(f);
    delete from pgbell.detached d where d.target = f.target;
    missed := missed or found;
    missed := pgbell.remove_strays(target) or missed;
    perform pgbell.record(f.definition, f.tbl, 'attach', array[
        json_build_object('templates', case when missed then before.scopes || f.scopes else '{}' end,
            'reason', 'attached again',
            'regroup', missed and (before.regroup is not null or f.regroup is not null))::text,
        (select d.spec::text from pgbell.definition d where d.id = f.definition)]);
    perform pgbell.ring(f.tbl, 'attach', null);
    perform set_config('lock_timeout', patience, true);
end $$;

create or replace function pgbell.detach(target regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience constant text := current_setting('lock_timeout');
    f        pgbell.feed;
begin
    select x.* into f from pgbell.feed x
    where coalesce(pgbell.table_of(x), x.target) = detach.target
    order by pgbell.table_of(x) is null limit 1;
    if f.id is null and not exists (select from pgbell.strays() s where s.tbl = detach.target) then
        return false;
    end if;
    if pgbell.table_name(target) is not null then
        perform pgbell.must_own(target);
        perform pgbell.lock_table(target, 'access exclusive');
    end if;
    if f.id is null then
        perform pgbell.remove_strays(target);
        perform set_config('lock_timeout', patience, true);
        return true;
    end if;
    perform pgbell.remove(f);
    perform pgbell.remove_strays(target);
    insert into pgbell.detached values (f.target);
    perform pgbell.record(f.definition, f.tbl, 'detach', array[
        json_build_object('templates', f.scopes, 'reason', 'detached', 'regroup', f.regroup is not null)::text]);
    perform pgbell.ring(f.tbl, 'detach', null);
    perform set_config('lock_timeout', patience, true);
    return true;
end $$;
