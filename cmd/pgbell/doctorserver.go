package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"github.com/pgbell/pgbell/migrations"
)

// Supported versions of PostgreSQL.
const oldest, newest = 14, 18

func checkServer(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var (
		version int
		standby bool
	)
	if err := tx.QueryRow(ctx, "select current_setting('server_version_num')::int, pg_is_in_recovery()").Scan(&version, &standby); err != nil {
		return nil, err
	}
	f := finding{fine, "server", fmt.Sprintf("PostgreSQL %d.%d, a primary", version/10000, version%10000), ""}
	switch {
	case standby:
		f = finding{problem, "server", "a standby, where nobody can listen", "connect to the primary" + primaryOf(ctx, tx)}
	case version/10000 < oldest:
		f = finding{problem, "server", fmt.Sprintf("PostgreSQL %d is too old", version/10000), fmt.Sprintf("pgbell needs PostgreSQL %d or newer", oldest)}
	case version/10000 > newest:
		f = finding{note, "server", fmt.Sprintf("PostgreSQL %d is newer than what this pgbell was tested with", version/10000), "look for a newer pgbell"}
	}
	return []finding{f}, nil
}

// primaryOf says where a standby's primary is, if the role may know it.
func primaryOf(ctx context.Context, tx pgx.Tx) string {
	var host string
	var port int
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "select sender_host, sender_port from pg_stat_wal_receiver where sender_host is not null").Scan(&host, &port)
	})
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", which is at %s, port %d", host, port)
}

// checkSchema compares the schema's version with this program's.
func checkSchema(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var installed bool
	if err := tx.QueryRow(ctx, "select to_regclass('pgbell.journal') is not null").Scan(&installed); err != nil {
		return nil, err
	}
	if !installed {
		return []finding{{problem, "schema", "pgbell is not installed in this database", "pgbell migrate"}}, nil
	}
	if found, err := checkSchemaVersion(ctx, tx); err != nil || found != nil {
		return found, err
	}
	var ours, theirs int64
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		version, _ := goose.NumericComponent(name)
		ours = max(ours, version)
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "select coalesce(max(version_id) filter (where is_applied), 0) from "+migrations.VersionTable).Scan(&theirs)
	})
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42501": // a listener's role need not know
		return []finding{{fine, "schema", "installed", ""}}, nil
	case err != nil:
		return nil, err
	case theirs < ours:
		return []finding{{problem, "schema", fmt.Sprintf("version %d, and this pgbell is made for version %d", theirs, ours), "pgbell migrate"}}, nil
	case theirs > ours:
		return []finding{{warning, "schema", fmt.Sprintf("version %d, and this pgbell knows no later one than %d", theirs, ours), "go install github.com/pgbell/pgbell/cmd/pgbell@latest"}}, nil
	}
	return []finding{{fine, "schema", fmt.Sprintf("version %d, as this pgbell's", theirs), ""}}, nil
}

// checkSchemaVersion compares what is recorded, and how, with what serve reads. It finds
// nothing where they agree, or where the role may not know.
func checkSchemaVersion(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	ours := migrations.SchemaVersion()
	var theirs int
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, "select pgbell.schema_version()").Scan(&theirs) })
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42883": // undefined_function
		return []finding{{problem, "schema", "of before pgbell's first release, which serve does not read", "pgbell migrate"}}, nil
	case denied(err):
		return nil, nil
	case err != nil:
		return nil, err
	case theirs < ours:
		return []finding{{problem, "schema", fmt.Sprintf("version %d, and this pgbell reads version %d", theirs, ours), "pgbell migrate"}}, nil
	case theirs > ours:
		return []finding{{problem, "schema", fmt.Sprintf("version %d, and this pgbell reads no later one than %d", theirs, ours), "go install github.com/pgbell/pgbell/cmd/pgbell@latest"}}, nil
	}
	return nil, nil
}

// checkOwners looks whether others could have their code run by what pgbell has installed.
func checkOwners(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var what, theirs, owner string
	err := tx.QueryRow(ctx, migrations.OtherOwner).Scan(&what, &theirs, &owner)
	if err == nil {
		return []finding{{problem, "schema", fmt.Sprintf("belongs to %s, but %s in it to %s: all of it must be one role's", owner, what, theirs),
			migrations.OneOwner(what, theirs, owner)}}, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	// The system's own are pinned, and don't appear; those that a superuser has made since do.
	rows, err := tx.Query(ctx, `
		with ours (classid, oid) as (
			select 'pg_proc'::regclass::oid, p.oid from pg_proc p where p.pronamespace = 'pgbell'::regnamespace
			union all select 'pg_class'::regclass, c.oid from pg_class c where c.relnamespace = 'pgbell'::regnamespace
			union all select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace = 'pgbell'::regnamespace
			union all select 'pg_rewrite'::regclass, r.oid from pg_rewrite r join pg_class c on c.oid = r.ev_class where c.relnamespace = 'pgbell'::regnamespace
			union all select 'pg_attrdef'::regclass, a.oid from pg_attrdef a join pg_class c on c.oid = a.adrelid where c.relnamespace = 'pgbell'::regnamespace
			union all select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.connamespace = 'pgbell'::regnamespace
			union all select 'pg_trigger'::regclass, t.oid from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = 'pgbell'::regnamespace
		), named (classid, oid, namespace) as (
			select 'pg_proc'::regclass::oid, p.oid, p.pronamespace from pg_proc p
			union all select 'pg_class'::regclass, c.oid, c.relnamespace from pg_class c
			union all select 'pg_type'::regclass, t.oid, t.typnamespace from pg_type t
			union all select 'pg_operator'::regclass, o.oid, o.oprnamespace from pg_operator o
		)
		select distinct pg_describe_object(o.classid, o.oid, 0), pg_describe_object(n.classid, n.oid, 0)
		from ours o join pg_depend d on d.classid = o.classid and d.objid = o.oid
		join named n on n.classid = d.refclassid and n.oid = d.refobjid
		where n.namespace not in ('pg_catalog'::regnamespace, 'pgbell'::regnamespace, 'pg_toast'::regnamespace)
		order by 1, 2`)
	if err != nil {
		return nil, err
	}
	var all []finding
	var uses string
	_, err = pgx.ForEachRow(rows, []any{&what, &uses}, func() error {
		all = append(all, finding{problem, "schema", fmt.Sprintf("%s uses %s: the owner of that has his code run by pgbell", what, uses), "pgbell migrate"})
		return nil
	})
	return all, err
}

// checkRole looks for the rights that a listener needs, and for those that it doesn't.
func checkRole(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var role string
	var super bool
	if err := tx.QueryRow(ctx, `select current_user::text, (select r.rolsuper from pg_roles r where r.rolname = current_user)`).Scan(&role, &super); err != nil {
		return nil, err
	}
	if super {
		f, err := superuserFinding(ctx, tx, role)
		return []finding{f}, err
	}
	missing, without, err := missingRights(ctx, tx, role)
	switch {
	case err != nil:
		return nil, err
	case missing:
		return []finding{{problem, "role", role + " may not do what serve does", grantListener(role)}}, nil
	case without != "":
		return []finding{{warning, "role", role + " may do what serve does, but not " + without, grantListener(role)}}, nil
	}
	return []finding{{fine, "role", role + " may do what serve does", ""}}, nil
}

// listenersRole is the role that README recommends for serve.
const listenersRole = "pgbell_listener"

// grantListener is SQL that gives a role all that serve needs.
func grantListener(role string) string {
	return "select pgbell.grant_listener(" + quoteLiteral(role) + ");"
}

// superuserFinding says as which role serve should connect instead.
func superuserFinding(ctx context.Context, tx pgx.Tx, role string) (finding, error) {
	f := finding{note, "role", role + " is a superuser, which serve does not need to be", ""}
	var exists bool
	if err := tx.QueryRow(ctx, `select exists (select from pg_roles r where r.rolname = $1)`, listenersRole).Scan(&exists); err != nil {
		return f, err
	}
	if !exists {
		f.Words += ": give it a role that may do just what it must"
		f.Remedy = "create role " + listenersRole + " login password '...'; " + grantListener(listenersRole)
		return f, nil
	}
	missing, _, err := missingRights(ctx, tx, listenersRole)
	if missing {
		f.Words += ": connect it as " + listenersRole + ", once that may do what it must"
		f.Remedy = grantListener(listenersRole)
	} else {
		f.Remedy = "connect serve as " + listenersRole
	}
	return f, err
}

// missingRights says whether a role lacks a right without which it can't listen, and what
// it can't do for want of others if it listens all the same. Rights are looked up in the
// catalog: by their names they can't be without usage of the schema.
func missingRights(ctx context.Context, tx pgx.Tx, role string) (missing bool, without string, err error) {
	var quick, state bool
	err = tx.QueryRow(ctx, `
		select not has_schema_privilege($1, 'pgbell', 'usage')
				or not (select bool_and(has_table_privilege($1, c.oid, 'select')) from pg_class c
					where c.relnamespace = 'pgbell'::regnamespace and c.relname in ('journal', 'journal_state', 'definition', 'feeds'))
				or not (select bool_and(has_function_privilege($1, p.oid, 'execute')) from pg_proc p
					where p.pronamespace = 'pgbell'::regnamespace and p.proname in ('schema_version', 'cursor', 'mark_incarnation', 'arm', 'rotate', 'table_name', 'listed', 'utf8')),
			(select bool_and(has_table_privilege($1, c.oid, 'select')) from pg_class c
				where c.relnamespace = 'pgbell'::regnamespace and c.relname in ('journal_0', 'journal_1', 'rotation', 'gate')),
			(select bool_and(has_function_privilege($1, p.oid, 'execute')) from pg_proc p where p.pronamespace = 'pgbell'::regnamespace and p.proname = 'state')`,
		role).Scan(&missing, &quick, &state)
	var lesser []string
	if !quick {
		lesser = append(lesser, "read the journal's tables by themselves: changes arrive a little later")
	}
	if !state {
		lesser = append(lesser, "see the state of the feeds: the status page and the metrics call it unknown")
	}
	return missing, strings.Join(lesser, "; nor "), err
}

// checkNotifications finds out whether what another session sends arrives.
func checkNotifications(ctx context.Context, conn *pgx.Conn) ([]finding, error) {
	channel := "pgbell_doctor_" + strings.ToLower(rand.Text())
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return nil, err
	}
	defer func() { _, _ = conn.Exec(ctx, "unlisten "+channel) }() // behind a pooler the session is somebody else's next
	conf := conn.Config()
	conf.OnNotification = nil // conn's own: it would take what comes here for what comes there
	other, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return nil, err
	}
	defer other.Close(context.WithoutCancel(ctx))
	if _, err := other.Exec(ctx, "notify "+channel); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err = conn.WaitForNotification(limited)
	switch {
	case err != nil && limited.Err() == nil:
		return nil, err
	case err != nil:
		return []finding{{problem, "notifications", "do not arrive: there is a pooler in between that hands each transaction to another session",
			"connect to Postgres directly" + behindPooler(ctx, conn) + ", or to the pooler in session mode"}}, nil
	}
	return []finding{{fine, "notifications", "arrive", ""}}, nil
}

// behindPooler says where the server is, as it sees itself.
func behindPooler(ctx context.Context, conn *pgx.Conn) string {
	var at *string
	if err := conn.QueryRow(ctx, `select case when pg_catalog.inet_server_addr() is not null
		then pg_catalog.concat(pg_catalog.host(pg_catalog.inet_server_addr()), ', port ', pg_catalog.inet_server_port()) end`, pgx.QueryExecModeSimpleProtocol).Scan(&at); err != nil || at == nil {
		return ""
	}
	return ", at " + *at
}
