package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers"
)

// checkFeeds looks at each feed.
func checkFeeds(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	feeds, err := triggers.List(ctx, tx)
	if err != nil {
		return nil, err
	}
	if len(feeds) == 0 {
		return []finding{{note, "feeds", "there are none", "pgbell attach TABLE"}}, nil
	}
	durable := map[string]string{} // scope template to table
	for _, f := range feeds {
		for _, scope := range f.Scopes {
			if !f.Volatile {
				durable[scope] = f.Table
			}
		}
	}
	var all []finding
	for _, f := range feeds {
		found := checkExposure(f, durable)
		for _, door := range openDoors(f, feeds) {
			found = append(found, openDoorFinding(door))
		}
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			if f.State != "ok" {
				bad, err := stateFinding(ctx, tx, f)
				if f.Regroup != "" {
					bad.Words += ". Until then, who is in which group may change unheard"
				}
				found = append([]finding{bad}, found...)
				return err
			}
			more, err := checkTable(ctx, tx, f)
			found = append(found, more...)
			return err
		})
		switch {
		case denied(err): // to this table, which is no reason to be silent about others
			found = append(found, finding{note, "", "what its table lacks can't be looked at: " + bare(err), "run doctor as the table's owner to see it"})
		case err != nil:
			return nil, err
		}
		if len(found) == 0 {
			found = []finding{{fine, "", "ok", ""}}
		}
		for _, x := range found {
			x.About = "feed " + f.Table
			all = append(all, x)
		}
	}
	return all, nil
}

// checkExposure says what of a feed others may read and forge.
func checkExposure(f triggers.Feed, durable map[string]string) []finding {
	if !f.Volatile {
		return nil
	}
	kept := f
	kept.Volatile = false
	all := []finding{{note, "", "is not durable: any role that can connect reads its keys and owners, and can forge its events; make it durable unless its rows are public", attachSQL(kept)}}
	for i, scope := range f.Scopes {
		if table, shared := durable[scope]; shared {
			own := f
			own.Scopes = slices.Clone(f.Scopes)
			own.Scopes[i] = "public:" + scope
			all = append(all, finding{warning, "", fmt.Sprintf("shares scope %s with %s, so that events and resets can be forged there: give it a scope of its own", scope, table), attachSQL(own)})
		}
	}
	return all
}

// tookItsPlace matches the states of a feed whose table's name, or triggers, another has.
var tookItsPlace = regexp.MustCompile(`^(?:another table is called )?("?[^,]+?"?)(?: now: attach that one, and| has its triggers, too, which do)`)

// stateFinding says how to mend a feed that is not ok.
func stateFinding(ctx context.Context, tx pgx.Tx, f triggers.Feed) (finding, error) {
	x := finding{problem, "", f.State, attachSQL(f)}
	if _, call, ok := strings.Cut(f.State, "the table was dropped: "); ok {
		x.Remedy = call + ";"
		return x, nil
	}
	if _, root, ok := strings.Cut(f.State, "is now a partition: detach it and attach "); ok {
		at := f
		at.Table = root
		x.Remedy = fmt.Sprintf("select pgbell.detach(%s); %s", quoteLiteral(f.Table), attachSQL(at))
		return x, nil
	}
	if strings.Contains(f.State, "run pgbell migrate") {
		x.Remedy = "pgbell migrate"
		return x, nil
	}
	if strings.HasPrefix(f.State, "it has triggers of another table's feed") {
		x.Remedy = fmt.Sprintf("select pgbell.detach(%s);", quoteLiteral(f.Table))
		return x, nil
	}
	if found := tookItsPlace.FindStringSubmatch(f.State); found != nil {
		at := f
		at.Table = found[1]
		x.Remedy = fmt.Sprintf("select pgbell.detach(%s); %s", quoteLiteral(f.Table), attachSQL(at))
		return x, nil
	}
	if strings.HasPrefix(f.State, "TRUNCATE of ") {
		x.Level = warning
	}
	// By the name's text: to look it up as a table takes a right to its schema.
	rows, err := tx.Query(ctx, `
		select a.attname::text from pg_attribute a join pg_class c on c.oid = a.attrelid
		where c.relkind in ('r', 'p') and pgbell.table_name(c.oid) = $1 and a.attnum > 0 and not a.attisdropped`, f.Table)
	if err != nil {
		return x, err
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return x, err
	}
	if kept, changed := without(f, columns); changed {
		x.Words += ". This leaves out what is gone; name what took its place instead, if anything did"
		x.Remedy = attachSQL(kept)
		if f.Audience != nil && len(kept.Audience) == 0 {
			x.Words += ". Without an owner column nobody hears of any row"
		}
	}
	return x, nil
}

// without leaves out of a feed what names a column that the table has no more. An
// audience that loses all its columns becomes nobody, not everyone.
func without(f triggers.Feed, columns []string) (triggers.Feed, bool) {
	has := func(c string) bool { return slices.Contains(columns, c) }
	changed := false
	keep := func(list []string, has func(string) bool) []string {
		if list == nil {
			return nil
		}
		kept := []string{}
		for _, c := range list {
			if has(c) {
				kept = append(kept, c)
			}
		}
		changed = changed || len(kept) < len(list)
		return kept
	}
	hasAll := func(columns []string) bool {
		return !slices.ContainsFunc(columns, func(c string) bool { return !has(c) })
	}
	f.Audience = keep(f.Audience, func(e string) bool { return hasAll(scope.OwnerColumns(e)) })
	f.Columns, f.Payload = keep(f.Columns, has), keep(f.Payload, has)
	f.Scopes = keep(f.Scopes, func(t string) bool { return hasAll(templateColumns(t)) })
	if f.Regroup != "" && !has(f.Regroup) {
		f.Regroup, changed = "", true
	}
	if len(f.Columns) == 0 {
		f.Columns = nil
	}
	if len(f.Scopes) == 0 {
		f.Scopes = []string{exampleScope(f.Table)}
	}
	return f, changed
}

// attachSQL is the call that attaches f, on one line.
func attachSQL(f triggers.Feed) string {
	sql, _, err := triggers.SQL(f, nil)
	if err != nil {
		return "pgbell attach " + shellWord(f.Table)
	}
	return strings.NewReplacer("(\n  ", "(", ",\n  ", ", ", "\n)", ")").Replace(sql) // values have no line ends
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
