-- Groups: sets of users that an audience names in place of them.

-- The columns that an audience names: its elements, and those in the braces of its templates.
create or replace function pgbell.columns_in(audience text[]) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(c.c order by a.i, c.i)
    from unnest(audience) with ordinality a (a, i), unnest(case when a.a ~ '[{}]'
            then (select p.columns from pgbell.parse_template(a.a) p) else array[a.a] end) with ordinality c (c, i)
$$;

-- Raises an error if an element of an audience is a template by which no group can be told from another.
create or replace function pgbell.check_group(target regclass, template text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    tpl record;
begin
    if template is null or template !~ '[{}]' then
        return;
    end if;
    tpl := pgbell.parse_template(template);
    if array_position(tpl.literals[2:cardinality(tpl.columns)], '') is not null then
        raise exception 'group template "%": nothing stands between two columns', template
            using errcode = 'invalid_parameter_value',
            hint = 'One group could have the name of another. Put a text between them that no value has.';
    elsif template like ':%' then
        raise exception 'group template "%": it begins with a colon, as no group''s name does', template
            using errcode = 'invalid_parameter_value', hint = 'Begin it with a word, as in team:{team_id}.';
    elsif octet_length(template) > 256 then
        raise exception 'group template "%..." is longer than 256 bytes', left(template, 40)
            using errcode = 'invalid_parameter_value';
    elsif 1 < (
        select count(*) from unnest(tpl.columns) c join pg_attribute a on a.attrelid = target and a.attname = c
        join pg_type t on t.oid = pgbell.base_type(a.atttypid) where t.typinput = 'array_in'::regproc)
    then
        raise exception 'group template "%" names two arrays: there may be one, which gives a group for each element',
            template using errcode = 'invalid_parameter_value';
    end if;
end $$;

-- Has all servers ask again who this user is in which group, before they tell that user anything that
-- commits later. Through the journal, as pgbell.disconnect.
create or replace function pgbell.regroup(user_id text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if user_id is null or user_id = '' then
        raise exception 'there is no user id: the anonymous are in no group' using errcode = 'invalid_parameter_value';
    elsif pgbell.utf8(user_id) is null then
        raise exception 'the user id is not in UTF8: no stream has it' using errcode = 'invalid_parameter_value';
    end if;
    perform pgbell.record(null, null, 'regroup', array[json_build_object('user', user_id)::text]);
    perform pgbell.ring(null, 'regroup', null);
end $$;
