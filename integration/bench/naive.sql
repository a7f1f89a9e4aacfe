-- What everybody writes.
create function tell() returns trigger language plpgsql as $$
begin
    perform pg_notify('changes', json_build_object('table', tg_table_name, 'op', tg_op, 'id', new.id, 'row', row_to_json(new))::text);
    return null;
end
$$;
create trigger tell after insert or update on tasks for each row execute function tell();
