package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Names that are also names of pgbell's own, of SQL, or hard to quote.
var oddNames = strings.Fields(`old new n o t i r q s x k j u c p d feed feed_1 columns scopes select tg_op tg_table_name found
	change changes bell seq part since orders quick tbl op origin templates alive grown size heard unsure old_rows new_rows audience key data
	drifted counts changed c1 old_r old_scopes pgbell journal row_number concat text null true user current_user table
	array case end begin declare NEW Old all any value values sqlstate sqlerrm loop if by foreach strict while in into or then to using when not for from`)

var oddestNames = []string{
	`Ta"ble`, `it's`, `{braces}`, `a.b`, `100%`, `%s`, `%1$s`, `%L`, `$1`, `$$`, `$f$`, `$body$`, `line
break`, `tab	`, `back\slash`, `C:\new`, ` `, `日本語`, `🙂`, `a,b`, `--`, `/*`, `*/`, `:x`, `?`, `1`, `[x]`, `a"","b`,
	strings.Repeat("n", 63), strings.Repeat("é", 31), `</script>`, `&`, `'); drop table t; --`,
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// A table of nothing but such columns, so that each may be taken for something else.
func TestTriggerColumnsOfAnyName(t *testing.T) {
	d := newTriggerDB(t)
	names := append(append([]string{}, oddNames...), oddestNames...)
	var columns, key, scopes, owners []string
	for i, name := range names {
		columns = append(columns, quote(name)+fmt.Sprintf(" text default 'v%d'", i))
		if i%4 == 0 {
			key = append(key, quote(name))
		}
		if !strings.ContainsAny(name, "{}") { // such a one can't be named in a template
			scopes = append(scopes, fmt.Sprintf("%d:{%s}", i, name))
			owners = append(owners, name) // with braces it is a template of groups
		}
	}
	for _, partition := range []string{"", "partition by list (old)"} {
		d.exec(`create table t (` + strings.Join(columns, ",") + `, primary key (` + strings.Join(key[:min(len(key), 32)], ",") + `)) ` + partition)
		if partition != "" {
			d.exec(`create table t0 partition of t default`)
		}
		if _, err := d.writer.Exec(t.Context(), `select pgbell.attach('t', $1, $3, $2, $2)`, scopes, names, owners); err != nil {
			t.Fatal(err)
		}
		since := d.since()
		d.exec(`insert into t default values`)
		change := d.records(since)[0].Changes[0]
		if len(change.Scopes) != len(scopes) || change.Scopes[0] != "0:v0" || len(change.Audience.Users()) != len(owners) {
			t.Errorf("got %+v", change)
		}
		data := map[string]string{}
		if err := json.Unmarshal(change.Data, &data); err != nil || len(data) != len(names) {
			t.Errorf("data: got %s, %v", change.Data, err)
		}
		for i, name := range names {
			if want := fmt.Sprintf("v%d", i); data[name] != want {
				t.Errorf("data of %q: got %q, want %q", name, data[name], want)
			}
			if name == "old" && partition != "" {
				continue
			}
			since := d.since()
			d.exec(`update t set ` + quote(name) + ` = 'new'`)
			if records := d.records(since); len(records) != 1 || len(records[0].Changes) != 1 || !slices.Equal(records[0].Changes[0].Changed, []string{name}) {
				t.Errorf("%q: got %+v", name, records)
			}
		}
		// Gone, each falls back to a variable of its name.
		for _, name := range []string{"new", "n", "t", "begin", "feed", "columns", "x", "loop", `Ta"ble`, "100%"} {
			d.exec(`alter table t drop column ` + quote(name) + ` cascade`)
			d.expect(`update t set "null" = "null" || '!'`, `reset public.t definition changed`)
		}
		d.expect(`delete from t`, `reset public.t definition changed`)
		d.exec(`drop table t`)
	}
}

func TestTriggerTablesAndSchemasOfAnyName(t *testing.T) {
	d := newTriggerDB(t)
	for _, name := range append([]string{"new", "select", "loop", "feed_1", "Old"}, oddestNames...) {
		t.Run(name, func(t *testing.T) {
			d := d.on(t)
			q := quote(name)
			full := q + "." + q
			d.exec(`drop schema if exists other cascade`)
			d.exec(`create schema `+q, `create table `+full+` (id int primary key)`,
				`create schema if not exists other`, `create table other.`+q+` (id int) partition by list (id)`, `create table other.part partition of other.`+q+` default`)
			if _, err := d.writer.Exec(t.Context(), `select pgbell.attach($1::text::regclass, array['t']), pgbell.attach($2::text::regclass, array['t'])`, full, "other."+q); err != nil {
				t.Fatal(err)
			}
			want := d.ask(`quote_ident($1) || '.' || quote_ident($1)`, name)
			d.expect(`insert into `+full+` values (1)`, `insert t `+want+` {"id":1}`)
			d.expect(`update `+full+` set id = 2`, `update moved out t `+want+` {"id":1}`, `update moved in t `+want+` {"id":2} changed id`)
			d.expect(`truncate `+full, `reset `+want+` truncate`)
			d.expect(`insert into other.part values (1)`, `insert t other.`+d.ask(`quote_ident($1)`, name))
			if got := d.ask(`select string_agg(table_name, ' ' order by id) from pgbell.feed, pgbell.feeds where table_name = pgbell.table_name(target)`); got != want+` other.`+d.ask(`quote_ident($1)`, name) {
				t.Errorf("feeds: got %s", got)
			}
			var detached bool
			if err := d.writer.QueryRow(t.Context(), `select pgbell.detach($1::text::regclass)`, full).Scan(&detached); err != nil || !detached {
				t.Errorf("detach: got %v, %v", detached, err)
			}
			d.exec(`drop schema `+q+` cascade`, `drop schema other cascade`, `select pgbell.detach(target) from pgbell.feed`)
		})
	}
}

// With -short it is a table of fewer.
func TestTriggerTablesOfOneAndOf1600Columns(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table one (id int primary key); select pgbell.attach('one', array['one'])`)
	d.expect(`insert into one values (1)`, `insert one public.one {"id":1}`)
	d.exec(`create table empty (); select pgbell.attach('empty', array['empty'])`)
	d.expect(`insert into empty default values`, `insert empty public.empty`)
	d.expect(`delete from empty`, `delete empty public.empty`)

	most := 1600
	if testing.Short() {
		most = 300 // each twice as many take four times as long
	}
	create := func(rest string) {
		var columns []string
		for i := range most {
			columns = append(columns, fmt.Sprintf("c%d int", i+1))
		}
		d.exec(`create table wide (` + strings.Join(columns, ",") + `)` + rest)
	}
	before, last := fmt.Sprintf("c%d", most-1), fmt.Sprintf("c%d", most)
	upto := func(n int) string { return fmt.Sprintf("array(select 'c' || i from generate_series(1, %d) i)", n) }
	for _, partition := range []string{"", " partition by list (c1)"} {
		create(partition)
		if partition != "" {
			d.exec(`create table part partition of wide default`)
		}
		d.exec(`select pgbell.attach('wide', array['wide:{` + last + `}'], payload => array['c1'], columns => ` + upto(most-1) + `)`)
		d.expect(`insert into wide (c1, `+last+`) values (1, 2)`, `insert wide:2 public.wide data {"c1":1}`)
		d.expect(`update wide set c7 = 7, `+before+` = 8`, `update wide:2 public.wide changed c7,`+before+` data {"c1":1}`)
		d.expect(`update wide set c7 = 7`)
		d.expect(`delete from wide`, `delete wide:2 public.wide data {"c1":1}`)
		d.exec(`drop table wide`)
	}
	create("")
	d.exec(`select pgbell.attach('wide', array['wide'], payload => ` + upto(most) + `, audience => ` + upto(most) + `)`)
	if got := d.hear(`insert into wide (c1) values (1)`, `update wide set c1 = 2`); len(got) != 3 {
		t.Errorf("got %d events", len(got))
	}
}
