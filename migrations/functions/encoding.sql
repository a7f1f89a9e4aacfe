-- What a server reads is in UTF8, whatever the encoding of the database. Postgres would convert it, too,
-- by the connection's client_encoding, but one character that UTF8 has not would end the reading, and in a
-- notification, which anybody may send, the connection. So servers connect with SQL_ASCII, which converts
-- nothing, and ask for texts by these. Null stands for what can't be converted. Where
-- the database is in UTF8, who asks for much leaves them out: see columns in journal/read.go.

create or replace function pgbell.utf8(value text) returns bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return convert_to(value, 'UTF8');
exception when untranslatable_character or character_not_in_repertoire then
    return null;
end $$;

-- The same for an array, as Postgres sends it in binary.
create or replace function pgbell.utf8(value text[]) returns bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
set client_encoding = 'UTF8'
as $$
begin
    return array_send(value);
exception when untranslatable_character or character_not_in_repertoire then
    return null;
end $$;
