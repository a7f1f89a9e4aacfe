package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// contents is what a client knows of a table that it fetched once and has applied events
// to since: by scope and key, a row's payload.
type contents map[string]map[string]string

// apply does what a client does with the events of some records. A scope that gets a
// reset is fetched again.
func (c contents) apply(records []*journal.Record, scopes []string) {
	again := func(scope string) { delete(c, scope) }
	for _, r := range records {
		if r.Reset != nil {
			for _, scope := range scopes {
				if r.Reset.Matches(scope) {
					again(scope)
				}
			}
			continue
		}
		for _, e := range r.Events() {
			rows, fetched := c[e.Scope]
			switch key := string(e.Key); {
			case e.Op == bus.OpReset:
				again(e.Scope)
			case !fetched:
			case e.Op == bus.OpDelete, e.Moved == bus.MovedOut:
				delete(rows, key)
			default:
				rows[key] = string(e.Data)
			}
		}
	}
}

// fetch reads the scopes that c doesn't know.
func (d *triggerDB) fetch(c contents, scopes []string, wide bool) {
	d.Helper()
	for _, scope := range scopes {
		if c[scope] == nil {
			c[scope] = d.fetched(scope, wide)
		}
	}
}

// fetched is what a scope holds, the rows of t by key, which has g in it if it is wide.
func (d *triggerDB) fetched(scope string, wide bool) map[string]string {
	d.Helper()
	where := "true"
	if group, ok := strings.CutPrefix(scope, "g:"); ok {
		where = "g = " + group
	}
	rows, err := d.reader.Query(d.Context(), "select id, v, g, parent from t where "+where)
	if err != nil {
		d.Fatal(err)
	}
	all := map[string]string{}
	var id int
	var v, g, parent *int
	if _, err = pgx.ForEachRow(rows, []any{&id, &v, &g, &parent}, func() error {
		payload, err := json.Marshal(struct {
			V      *int `json:"v"`
			G      *int `json:"g"`
			Parent *int `json:"parent"`
		}{v, g, parent})
		key := fmt.Sprintf(`{"id":%d}`, id)
		if wide {
			key = fmt.Sprintf(`{"id":%d,"g":%d}`, id, *g)
		}
		all[key] = string(payload)
		return err
	}); err != nil {
		d.Fatal(err)
	}
	return all
}

const wideKey = "moving between partitions"

// tablesWritten are the tables that are fuzzed, and what else writes to them.
var tablesWritten = map[string]string{
	"plain":       `create table t (id int primary key, v int, g int, parent int, unnamed int)`,
	"partitioned": `create table t (id int primary key, v int, g int, parent int, unnamed int) partition by hash (id); create table t0 partition of t for values with (modulus 2, remainder 0); create table t1 partition of t for values with (modulus 2, remainder 1)`,
	wideKey: `create table t (id int, v int, g int, parent int, unnamed int, primary key (id, g)) partition by list (g); create table t0 partition of t for values in (0, 1);
		create table t1 partition of t default`,
	"self-referencing": `create table t (id int primary key, v int, g int, parent int references t on update cascade on delete set null, unnamed int)`,
	"cascading":        `create table t (id int primary key, v int, g int, parent int references t on update cascade on delete cascade, unnamed int)`,
	"deferrable key":   `create table t (id int primary key deferrable initially deferred, v int, g int, parent int, unnamed int)`,
	"a trigger that writes after": `create table t (id int primary key, v int, g int, parent int, unnamed int);
		create function again() returns trigger language plpgsql as $$ begin
			if pg_trigger_depth() < 3 then
				update t set v = v + 1 where id = new.parent;
				if new.v % 5 = 0 then update t set g = 1 - g where id = new.id; end if;
				if new.v % 7 = 0 then delete from t where id = new.id; end if;
			end if;
			return null; end $$;
		create trigger again after insert or update on t for each row execute function again()`,
	"a trigger that writes before": `create table t (id int primary key, v int, g int, parent int, unnamed int);
		create function first() returns trigger language plpgsql as $$ begin
			if pg_trigger_depth() < 2 then
				delete from t where id = new.parent and id <> new.id;
				if tg_op = 'INSERT' then delete from t where id = new.id; end if;
			end if;
			return new; end $$;
		create trigger first before insert on t for each row execute function first()`,
	"a function within the statement": `create table t (id int primary key, v int, g int, parent int, unnamed int);
		create function touch(i int) returns int language plpgsql as $$ begin
			update t set v = v + 10 where id = i - 1; update t set g = 1 - g where id = i - 2; return i; end $$`,
}

// statement is a random write.
func statement(random *rand.Rand, table string) string {
	n := func(most int) int { return random.IntN(most) }
	row := func() string { return fmt.Sprintf("(%d, %d, %d, null, 0)", 1+n(8), n(20), n(3)) }
	value := fmt.Sprint(n(20))
	if table == "a function within the statement" && n(2) == 0 {
		value = "touch(id)"
	}
	nothing := " on conflict do nothing"
	if table == "deferrable key" {
		nothing = ""
	}
	switch n(12) {
	case 0:
		return "insert into t values " + row() + nothing
	case 1:
		return "insert into t values " + row() + ", " + row() + ", " + row() + nothing
	case 2:
		if table != wideKey && table != "deferrable key" {
			return "insert into t values " + row() + " on conflict (id) do update set v = excluded.v, g = excluded.g"
		}
		fallthrough
	case 3:
		return fmt.Sprintf("update t set v = %s where id = %d", value, 1+n(8))
	case 4:
		return fmt.Sprintf("update t set v = %s, g = %d where id %% 3 = %d", value, n(3), n(3))
	case 5:
		return fmt.Sprintf("update t set id = %d where id = %d and not exists (select from t x where x.id = %[1]d)", 1+n(8), 1+n(8))
	case 6:
		return fmt.Sprintf("update t set id = 9 - id where id in (%d, %d)", 1+n(8), 1+n(8))
	case 7:
		return fmt.Sprintf("delete from t where id = %d", 1+n(8))
	case 8: // a key that goes and comes in one statement
		return fmt.Sprintf("with d as (delete from t where id = %d returning *) insert into t select id, v + %d, g, null, 0 from d", 1+n(8), n(2))
	case 9:
		return fmt.Sprintf("with u as (update t set id = 9 where id = %d returning *) insert into t select %[1]d, 1, 1, null, 0 from u", 1+n(8))
	case 10:
		return fmt.Sprintf("update t set unnamed = unnamed + 1 where id < %d", n(9))
	}
	return fmt.Sprintf("update t set parent = case when exists (select from t x where x.id = %d) then %[1]d end where id = %d", 1+n(8), 1+n(8))
}

// Whatever is written, by whatever else takes part: who fetched the table once and applies
// events ends with what it holds, or is told to fetch again.
func TestTriggerClientEndsWithTheTablesContents(t *testing.T) {
	rounds := 250
	if testing.Short() {
		rounds = 50
	}
	d := newTriggerDB(t)
	scopes := []string{"t", "g:0", "g:1", "g:2"}
	for name, table := range tablesWritten {
		t.Run(name, func(t *testing.T) {
			d := d.on(t)
			d.exec(`drop table if exists t cascade; drop function if exists again, first, touch`, table)
			d.exec(`select pgbell.attach('t', array['t', 'g:{g}'], payload => array['v', 'g', 'parent'])`)
			random := rand.New(rand.NewPCG(1, uint64(len(name))))
			client, wide := contents{}, name == wideKey
			d.fetch(client, scopes, wide)
			resets, changes := 0, 0
			for round := range rounds {
				since := d.since()
				var written []string
				for range 1 + random.IntN(4) {
					written = append(written, statement(random, name))
				}
				if name == "plain" && random.IntN(40) == 0 {
					written = append(written, fmt.Sprintf("alter table t drop column if exists late, add column late int default %d", random.IntN(9)), "update t set late = late + 1")
				}
				// Statements may fail, for a key is taken: then nothing is told of them.
				tx := "begin; "
				for _, s := range written {
					tx += "do $do$ begin " + s + "; exception when unique_violation or foreign_key_violation or triggered_data_change_violation then null; end $do$; "
				}
				if err := tryExec(t.Context(), d.writer, tx+"commit"); err != nil {
					d.exec("rollback")
				}
				records := d.records(since)
				client.apply(records, scopes)
				for _, scope := range scopes {
					want, got := d.fetched(scope, wide), client[scope]
					if got == nil {
						resets++
						continue
					}
					changes += len(records)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("round %d, scope %s: %s (-table +client):\n%s\ntold:\n%s", round, scope, strings.Join(written, ";\n"), diff, strings.Join(lines(records), "\n"))
					}
				}
				d.fetch(client, scopes, wide)
			}
			t.Logf("%d resets of scopes, %d records without", resets, changes)
			if resets > rounds*len(scopes)/2 || changes == 0 {
				t.Errorf("%d resets of scopes in %d rounds, %d records without", resets, rounds, changes)
			}
		})
	}
}
