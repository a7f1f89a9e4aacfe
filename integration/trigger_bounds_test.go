package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgbell/pgbell/journal"
)

// bounds are what the journal holds of statements, decompressed.
type bounds struct{ records, largest, total int }

// recorded returns the bounds of what statements record.
func (d *triggerDB) recorded(statements ...string) (b bounds) {
	d.Helper()
	since := d.since()
	d.exec(statements...)
	// An array's texts in binary are as long as what is read.
	const query = `select count(*), coalesce(max(octet_length(array_send(facts))), 0), coalesce(sum(octet_length(array_send(facts))), 0) from pgbell.journal where xid >= $1::xid8`
	if err := d.writer.QueryRow(d.Context(), query, fmt.Sprint(since.Xmax)).Scan(&b.records, &b.largest, &b.total); err != nil {
		d.Fatal(err)
	}
	return b
}

// What a row can cost is bounded by what its values become, however small they are stored.
func TestTriggerRecordsAreBoundedByWhatValuesBecome(t *testing.T) {
	d := newTriggerDB(t)
	const mega = 1_000_000
	for _, test := range []struct {
		name, table, attach, rows, update string
		largest, total                    int // bytes of a record, of all
	}{
		{"300,000 equal owners", `id int primary key, users text[], v int`, `audience => array['users']`,
			`select i, array_fill('user-with-a-name'::text, array[300000]) from generate_series(1, 6) i`, `v = 1`, 1_000, 1_000},
		{"owners that are stored in a hundredth", `id int primary key, users text[], v int`, `audience => array['users']`,
			`select i, array_fill(repeat('x', 1000), array[2000]) from generate_series(1, 6) i`, `v = 1`, 1_000, 1_000},
		{"owners as long as they may be", `id int primary key, users int[], v int`, `audience => array['users']`,
			`select i, array_fill(1234567890, array[50000]) from generate_series(1, 6) i`, `v = 1`, 3 * mega, 12 * mega},
		{"a payload stored in a hundredth", `id int primary key, doc jsonb, v int`, `payload => array['doc', 'v']`,
			`select i, to_jsonb(repeat('x', 4000000)) from generate_series(1, 6) i`, `v = 1`, 1_000, 1_000},
		{"payloads as long as they may be", `id int primary key, doc jsonb, v int`, `payload => array['doc', 'v']`,
			`select i, to_jsonb(repeat('x', 260000)) from generate_series(1, 20) i`, `v = 1`, 1_600_000, 11 * mega},
		{"keys that an index compresses", `id text primary key, v int`, ``,
			`select repeat('x', 100000) || i from generate_series(1, 50) i`, `v = 1`, 1_200_000, 11 * mega},
		{"a number of a few bytes", `id int primary key, n numeric, v int`, `audience => array['n']`,
			`select i, 1e131071 from generate_series(1, 6) i`, `v = 1`, 1_000, 1_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := d.on(t)
			attach := `select pgbell.attach('t', array['t']` + strings.TrimSuffix(", "+test.attach, ", ") + `)`
			d.exec(`create table t (`+test.table+`)`, attach)
			defer d.exec(`drop table t`)
			for _, statement := range []string{`insert into t ` + test.rows, `update t set ` + test.update, `delete from t`} {
				got := d.recorded(statement)
				t.Logf("%.20s: %+v", statement, got)
				if got.records == 0 || got.largest > test.largest || got.total > test.total {
					t.Errorf("%.20s: got %+v, want at most %d bytes a record, %d in all", statement, got, test.largest, test.total)
				}
			}
		})
	}
}

// JSON that is nested too deeply is left out of its event, or resets what it was published to.
func TestTriggerDeepJSONHarmsNothingElse(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, j json, v text); select pgbell.attach('t', array['t'], payload => array['j', 'v'])`,
		`set max_stack_depth = '6MB'`)
	const deep = `(repeat('[', 12000) || repeat(']', 12000))::json`
	d.expect(`insert into t values (1, `+deep+`, 'told')`, `insert t public.t {"id":1} data {"v":"told"}`)
	d.expect(`update t set v = 'too'`, `update t public.t {"id":1} changed v data {"v":"too"}`)
	since := d.since()
	d.exec(`do $$ begin perform pgbell.publish('own', (`+deep+`)::text::jsonb); end $$`,
		`do $$ begin perform pgbell.publish('own', to_jsonb(repeat('x', 1000000))); end $$`)
	records := d.records(since)
	for i, reason := range []string{journal.ReasonUnreadable, "too large"} {
		if len(records) != 2 || records[i].Reset == nil || records[i].Reset.Reason != reason || !records[i].Reset.Matches("own") || records[i].Reset.Matches("t") {
			t.Fatalf("got %+v, want two resets of own", records)
		}
	}
}
