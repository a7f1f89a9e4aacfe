package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"
)

func typesCommand() *cli.Command {
	return &cli.Command{
		Name:  "types",
		Usage: "print the arguments and rows of live queries as types of TypeScript",
		Description: "Put them into a file of your own, and run this again when a query's arguments or columns change:\n\n" +
			"   pgbell types >src/lives.d.ts",
		Action: types,
	}
}

// livePart is an argument of a live query, or a column of its rows.
type livePart struct {
	Query  string
	Column bool
	Name   string
	Type   uint32
}

func types(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `
		select l.name, x.*
		from pgbell.lives l, lateral (
			select false, a.name, a.type
			from pg_catalog.pg_proc p, unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) with ordinality a (name, type, place)
			where p.oid = pg_catalog.to_regprocedure(l.function) and a.name not in ('user_id', 'groups')
			union all
			select true, c.name, c.type from pgbell.live_columns(pg_catalog.to_regprocedure(l.function)) c
		) x
		order by l.name`)
	if err != nil {
		return err
	}
	parts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[livePart])
	if err != nil {
		return err
	}
	known, err := loadTypes(ctx, conn, parts)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.Root().Writer, declareLives(parts, known))
	return err
}

// pgType is a row of pg_type.
type pgType struct {
	OID, Base, Elem uint32 // Base of a domain, Elem of an array
	Name            string // of a type of the system's
	Labels          []string
}

// loadTypes returns the types of parts, and those that these are made of.
func loadTypes(ctx context.Context, conn *pgx.Conn, parts []livePart) (map[uint32]pgType, error) {
	var all []uint32
	for _, p := range parts {
		all = append(all, p.Type)
	}
	rows, err := conn.Query(ctx, `
		with recursive t (oid) as (
			select unnest($1::oid[])
			union
			select x.oid from t join pg_catalog.pg_type p using (oid), unnest(array[p.typbasetype, p.typelem]) x (oid)
		)
		select oid, typbasetype, case when typcategory = 'A' then typelem else 0 end,
			case when typnamespace = 'pg_catalog'::regnamespace then typname else '' end,
			array(select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = p.oid order by e.enumsortorder)
		from t join pg_catalog.pg_type p using (oid)`, all)
	if err != nil {
		return nil, err
	}
	types, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pgType])
	known := map[uint32]pgType{}
	for _, t := range types {
		known[t.OID] = t
	}
	return known, err
}

// typeScript is what pgbell.js gives for a value of a type that is not null: what row_to_json
// makes of it, but integers that no number can hold are strings.
func typeScript(oid uint32, known map[uint32]pgType) string {
	switch t := known[oid]; {
	case t.Base != 0:
		return typeScript(t.Base, known)
	case t.Elem != 0:
		return "(" + typeScript(t.Elem, known) + " | null)[]"
	case len(t.Labels) > 0:
		var labels []string
		for _, l := range t.Labels {
			labels = append(labels, quoted(l))
		}
		return strings.Join(labels, " | ")
	default:
		switch t.Name {
		case "int2", "int4", "oid":
			return "number"
		case "int8", "numeric", "float4", "float8":
			return "number | string"
		case "bool":
			return "boolean"
		case "json", "jsonb":
			return "unknown"
		case "":
			return "unknown" // a row, perhaps
		}
		return "string"
	}
}

// argument is what may be given for a value of a type.
func argument(oid uint32, known map[uint32]pgType) string {
	switch t := typeScript(oid, known); {
	case t == "number | string":
		return "number | bigint | string"
	case t == "unknown", strings.HasSuffix(t, "[]"):
		return "string" // as Postgres writes it
	default:
		return t
	}
}

func declareLives(parts []livePart, known map[uint32]pgType) string {
	var b strings.Builder
	b.WriteString("// By pgbell types.\nimport 'pgbell'\n\ndeclare module 'pgbell' {\n  interface Lives {\n")
	for len(parts) > 0 {
		query := parts[0].Query
		var args, row []string
		for ; len(parts) > 0 && parts[0].Query == query; parts = parts[1:] {
			switch p := parts[0]; {
			case p.Column:
				row = append(row, property(p.Name)+": "+typeScript(p.Type, known)+orNull(typeScript(p.Type, known)))
			default:
				args = append(args, property(p.Name)+": "+argument(p.Type, known))
			}
		}
		fmt.Fprintf(&b, "    %s: {\n      args: {%s}\n      row: {%s}\n    }\n", property(query), strings.Join(args, "; "), strings.Join(row, "; "))
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

// orNull is there for each column: Postgres doesn't say which of a function's are never null.
func orNull(t string) string {
	if t == "unknown" {
		return ""
	}
	return " | null"
}

var plainProperty = regexp.MustCompile(`^[A-Za-z_$][\w$]*$`)

func property(name string) string {
	if plainProperty.MatchString(name) {
		return name
	}
	return quoted(name)
}

// quoted is a literal of TypeScript, which JSON's are.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil { // a string: it can't
		panic(err)
	}
	return string(text)
}
