package integration

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers"
)

// A page listens to the scopes of its query's arguments. They must be those that events
// have, whatever the type of the column: a scope that is written otherwise is never heard of.
func TestTriggerEventsComeUnderTheScopesOfAQuery(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create type mood as enum ('open', 'it''s {odd}')`, `create domain short as varchar(20)`, `create domain level as mood`,
		`create table of_all (id int primary key, a smallint, b int, c bigint, d text, e varchar(30), f uuid, g boolean, h mood, i date, j short, k level, l text collate "C", m name)`)
	types := map[string][]any{
		"a": {-3, "003"}, "b": {0, 2147483647}, "c": {"-9223372036854775808", int64(9)}, "d": {"x", "a b/ü%{}\n😀", "", " x ", `"`},
		"e": {"ü"}, "f": {"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}, "g": {true, false, "t"}, "h": {"open", "it's {odd}"},
		"i": {"2024-02-29", time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), "0001-01-01", "9999-12-31"}, "j": {"x y"}, "k": {"it's {odd}"}, "l": {"Z"},
	}
	var scopes []string
	for c := range types {
		scopes = append(scopes, c+":{"+c+"}")
	}
	slices.Sort(scopes)
	d.exec("select pgbell.attach('of_all', array['" + strings.Join(scopes, "', '") + "'])")
	compared := map[string]string{"k": "k::mood"} // a domain of an enum has no equality of its own
	for c, values := range types {
		page, err := triggers.Deps(t.Context(), d.writer, "select id from of_all where "+cmp.Or(compared[c], c)+" = $1")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			since := d.since()
			if _, err := d.writer.Exec(t.Context(), "with gone as (delete from of_all) insert into of_all (id, "+c+") values ((select coalesce(max(id), 0) + 1 from of_all), $1)", v); err != nil {
				t.Fatalf("%s %v: %v", c, v, err)
			}
			want, err := page.Scopes(v)
			if err != nil || len(want) != 1 {
				t.Fatalf("%s %v: scopes %q, %v", c, v, want, err)
			}
			var got []string
			for _, r := range d.records(since) {
				for _, e := range r.Events() {
					if e.Op == bus.OpInsert {
						got = append(got, e.Scope)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("column %s, argument %#v: the page listens to %q, the event came under %q", c, v, want, got)
			}
			// The same as a constant of the query.
			text := d.ask("select " + c + "::text from of_all")
			constant, err := triggers.Deps(t.Context(), d.writer, "select id from of_all where "+cmp.Or(compared[c], c)+" = '"+strings.ReplaceAll(text, "'", "''")+"'")
			if err != nil {
				t.Fatal(err)
			}
			if s, err := constant.Scopes(); err != nil || !slices.Equal(s, want) || constant.Relations[0].Scope != scope.Canonical(want[0]) {
				t.Errorf("column %s, constant %s: %q (%s), %v, want %q", c, text, s, constant.Relations[0].Scope, err, want)
			}
		}
	}
}
