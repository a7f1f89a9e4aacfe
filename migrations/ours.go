package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// OtherOwner is a query for what in schema pgbell is not its owner's, whose it is, and whose
// the schema is; no row if there is nothing. If the journal is, that comes first: then the
// schema has been given away. Its bare names are the system's: to be asked where these are
// pinned.
const OtherOwner = `
	select pg_describe_object(o.classid, o.oid, 0), quote_ident(pg_get_userbyid(o.owner)), quote_ident(pg_get_userbyid(n.nspowner))
	from pg_namespace n, lateral (
		select 'pg_class'::regclass, c.oid, c.relowner from pg_class c where c.relnamespace = n.oid
		union all select 'pg_proc'::regclass, p.oid, p.proowner from pg_proc p where p.pronamespace = n.oid
		union all select 'pg_type'::regclass, t.oid, t.typowner from pg_type t where t.typnamespace = n.oid
	) o (classid, oid, owner)
	where n.nspname = 'pgbell' and o.owner <> n.nspowner
	order by o.oid = to_regclass('pgbell.journal') desc, o.classid desc, o.oid limit 1`

// OneOwner is what to do about an answer to [OtherOwner].
func OneOwner(what, theirs, owner string) string {
	if what == "table pgbell.journal" {
		return "alter schema pgbell owner to " + theirs
	}
	return "drop what pgbell has not made, and give the rest to " + owner
}

// refuseForeign gives an error if the schema pgbell isn't the migrating role's to fill: who
// owns it, or something in it, may put code there that others run.
func refuseForeign(ctx context.Context, tx *sql.Tx, installed bool) error {
	var what, theirs, owner, role string
	err := tx.QueryRowContext(ctx, OtherOwner).Scan(&what, &theirs, &owner)
	if err == nil {
		return fmt.Errorf("schema pgbell belongs to %s, but %s to %s: all of it must be one role's; %s", owner, what, theirs, OneOwner(what, theirs, owner))
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var member bool
	err = tx.QueryRowContext(ctx, `select quote_ident(pg_get_userbyid(n.nspowner)), quote_ident(current_user), pg_has_role(n.nspowner, 'usage')
		from pg_namespace n where n.nspname = 'pgbell'`).Scan(&owner, &role, &member)
	switch {
	case err != nil:
		return err
	case !member:
		return fmt.Errorf("schema pgbell belongs to %s: migrate as that role, not as %s", owner, role)
	case owner != role && !installed:
		return fmt.Errorf("schema pgbell was made by %s, who could have others run what is put there: migrate as that role, or drop the schema first", owner)
	}
	return nil
}

// relations are the names of what the migrations make, but for functions.
var relations = func() []string {
	names := []string{"feeds", "lives", strings.TrimPrefix(VersionTable, "pgbell.")}
	made := regexp.MustCompile(`(?m)^create (?:unlogged )?(?:table|sequence|type) pgbell\.(\w+)`)
	for _, source := range sources {
		text, err := fs.ReadFile(FS, source.Path)
		if err != nil {
			panic(err) // it is embedded
		}
		for _, match := range made.FindAllSubmatch(text, -1) {
			names = append(names, string(match[1]))
		}
	}
	return names
}()

// refuseUnknown gives an error if there is something in the schema pgbell that no
// migration has made: it could be called in place of what has. To be asked after the
// functions were installed, and before one is called: those that this transaction has
// left as they were are not pgbell's, but for the feeds'.
func refuseUnknown(ctx context.Context, tx *sql.Tx) error {
	var unknown sql.NullString
	err := tx.QueryRowContext(ctx, `
		select string_agg(pg_describe_object(x.classid, x.oid, 0), ', ' order by x.oid) from (
			select 'pg_proc'::regclass, p.oid from pg_proc p
			where p.pronamespace = 'pgbell'::regnamespace and p.proname !~ '^feed_\d+_' and p.xmin <> pg_current_xact_id()::xid
			union all
			select 'pg_class'::regclass, c.oid from pg_class c
			where c.relnamespace = 'pgbell'::regnamespace and c.relkind not in ('i', 'I') and c.relname <> all (string_to_array($1, ','))
				and not (c.relkind = 'S' and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('i', 'a'))) -- a column's
			union all
			select 'pg_type'::regclass, t.oid from pg_type t
			where t.typnamespace = 'pgbell'::regnamespace and t.typrelid = 0 and t.typcategory <> 'A'
			union all
			select 'pg_trigger'::regclass, t.oid from pg_trigger t join pg_class c on c.oid = t.tgrelid
			where c.relnamespace = 'pgbell'::regnamespace and not t.tgisinternal and t.tgname not in ('keep_in', 'keep_out')
			union all
			select 'pg_rewrite'::regclass, r.oid from pg_rewrite r join pg_class c on c.oid = r.ev_class
			where c.relnamespace = 'pgbell'::regnamespace and c.relkind <> 'v'
		) x (classid, oid)`, strings.Join(relations, ",")).Scan(&unknown)
	if err == nil && unknown.Valid {
		err = fmt.Errorf("in schema pgbell there is what pgbell has not made: %s: drop it, or move it to another schema", unknown.String)
	}
	return err
}
