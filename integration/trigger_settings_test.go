package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// Settings that a writer may have, none of which may change what is said of a
// row, much less make the write fail.
var writerSettings = []string{
	"datestyle = 'German, DMY'", "timezone = 'Asia/Tokyo'", "intervalstyle = 'iso_8601'", "bytea_output = 'escape'",
	"extra_float_digits = -15", "standard_conforming_strings = off", "backslash_quote = off", "escape_string_warning = off",
	"lc_monetary = 'C'", "lc_numeric = 'C'", "lc_time = 'C'", "quote_all_identifiers = on", "array_nulls = off",
	"xmloption = document", "xmlbinary = hex", "transform_null_equals = on", "search_path = ''", "client_encoding = 'LATIN1'",
	"plpgsql.extra_errors = 'all'", "plpgsql.extra_warnings = 'all'", "plpgsql.variable_conflict = 'error'", "plpgsql.print_strict_params = on",
	"enable_hashjoin = off", "enable_mergejoin = off", "enable_nestloop = off", "enable_seqscan = off", "enable_sort = off", "enable_material = off",
	"enable_hashjoin = off; set enable_mergejoin = off; set enable_nestloop = off",
	"plan_cache_mode = force_generic_plan", "plan_cache_mode = force_custom_plan", "jit = on; set jit_above_cost = 0",
	"work_mem = '64kB'", "from_collapse_limit = 1; set join_collapse_limit = 1", "geqo_threshold = 2", "cursor_tuple_fraction = 1",
	"default_transaction_isolation = 'serializable'", "default_transaction_isolation = 'repeatable read'",
	"row_security = off", "check_function_bodies = off", "constraint_exclusion = on", "enable_partition_pruning = off",
	"lock_timeout = 1000", "parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0",
	"session_replication_role = local", "synchronous_commit = off", "max_stack_depth = '300kB'", "gin_fuzzy_search_limit = 1",
}

// With -short each setting is tried on one of two kinds of tables.
func TestTriggerWriterSettingsChangeNothing(t *testing.T) {
	d := newTriggerDB(t)
	settings := slices.Clone(writerSettings)
	if d.version() >= 160000 {
		settings = append(settings, "debug_parallel_query = on")
	} else {
		settings = append(settings, "force_parallel_mode = on")
	}
	for kind, tables := range []string{
		`create table t (%[1]s)`,
		`create table t (%[1]s) partition by list (id); create table t1 partition of t default`,
	} {
		d.exec(fmt.Sprintf(tables, `id int primary key, p int, at timestamptz, day date, span interval, f float8, r real, raw bytea, m money, note text, users text[], doc json`),
			`select pgbell.attach('t', array['t', 'p:{p}', 'at:{at}', 'ts:{day}/{span}/{f}/{r}', 'raw:{raw}', 'm:{m}', '{note}'],
				audience => array['users', 'span'], payload => array['at', 'day', 'span', 'f', 'r', 'raw', 'm', 'note', 'users', 'doc'])`)
		var want []string
		for i, setting := range append([]string{"application_name = 'none'"}, settings...) {
			if testing.Short() && i > 0 && i%2 != kind {
				continue
			}
			t.Run(setting, func(t *testing.T) {
				d := d.on(t)
				conn := d.connect()
				since := d.since()
				d.execOn(conn, `set `+setting, `insert into public.t values (1, 7, '2026-11-22 10:00:00.5Z', '2026-11-22', '1 day 2 hours', 0.1::float8 + 0.2, 1e-7, E'\\x00ff'::bytea, 12.5::numeric::money, E'a\\b''c', array['ann', null, 'NULL'], E'{"x": "\\u0000"}')`,
					`update public.t set p = 8, span = '3 days'`, `update public.t set p = 8`, `delete from public.t`)
				got := lines(d.records(since))
				if want == nil {
					want = got
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
		if len(want) < 20 || !strings.Contains(want[0], `for 1 day 02:00:00,NULL,ann`) {
			t.Errorf("got %q", want)
		}
		d.exec(`drop table t`)
	}
}

// In Turkish the lower case of I is not i.
func TestTriggerDatabaseOfAnyLocaleAndEncoding(t *testing.T) {
	for _, test := range []struct {
		name, options string
		version       int
	}{
		{"Turkish", `locale_provider icu icu_locale 'tr-TR' locale 'C' encoding 'UTF8'`, 150000},
		{"LATIN1", `locale 'C' encoding 'LATIN1'`, 0},
		{"SQL_ASCII", `locale 'C' encoding 'SQL_ASCII'`, 0},
		{"EUC_JP", `locale 'C' encoding 'EUC_JP'`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newTriggerDBWith(t, test.options, test.version)
			if test.name != "SQL_ASCII" {
				for _, conn := range []*pgx.Conn{d.writer, d.reader} {
					d.execOn(conn, `set client_encoding = 'UTF8'`) // as the listener does
				}
			}
			d.exec(`create table t (id int primary key, v text); select pgbell.attach('t', array['v:{v}'], audience => array['v'], payload => array['v'])`)
			v := "Iı¿"
			if test.name != "Turkish" {
				v = "Iø"
			}
			scope := d.ask(`pgbell.canonical_scope($1)`, v)
			d.expect(`insert into t values (1, '`+v+`')`, `insert v:`+scope+` public.t {"id":1} for `+v+` data {"v":"`+v+`"}`)
			d.expect(`update t set v = 'I'`,
				`update moved out v:`+scope+` public.t {"id":1} for `+v,
				`update moved in v:I public.t {"id":1} for I changed v data {"v":"I"}`)
			d.expect(`delete from t`, `delete v:I public.t {"id":1} for I data {"v":"I"}`)
			d.exec(`select pgbell.attach('t', array['v:{v}'], audience => array['v'], durable => false)`, `insert into t values (2, '`+v+`')`, `delete from t`)
		})
	}
}

// What a trigger sets for a while is as it was afterwards, however the writer had set
// it, and is so once the transaction has ended.
func TestTriggerLeavesTheWritersSettings(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, n int); select pgbell.attach('t', array['t', 'n:{n}']);
		create function fill() returns text set search_path = public, pg_catalog set enable_nestloop = off language plpgsql as
			$$ begin update t set n = n + 1; return current_setting('search_path') || current_setting('enable_nestloop') || current_setting('jit'); end $$`)
	conn := d.connect()
	const settings = `select concat_ws(' / ', current_setting('search_path'), current_setting('enable_nestloop'), current_setting('plan_cache_mode'), current_setting('jit'), current_setting('work_mem'))`
	shows := func(when, want string) {
		t.Helper()
		var got string
		if err := conn.QueryRow(t.Context(), settings).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, want %q: %v", when, got, want, err)
		}
	}
	d.execOn(conn, `set search_path = "$user", public`, `set jit = on`, `set work_mem = '5MB'`)
	const own = `"$user", public / on / auto / on / 5MB`
	const many = `insert into t select g, 0 from generate_series(1, 700) g; update t set n = n + 1; update t set id = id + 10000; update t set n = 7 where id < 10003; delete from t where id = 10005`
	d.execOn(conn, many)
	shows("after a bulk write", own)
	d.execOn(conn, `begin; set local search_path = public; set local enable_nestloop = off; set local work_mem = '70kB'`, `update t set n = n + 1`)
	shows("set local", `public / off / auto / on / 70kB`)
	d.execOn(conn, `savepoint s; set local plan_cache_mode = force_custom_plan; update t set n = n + 1`)
	shows("in a savepoint", `public / off / force_custom_plan / on / 70kB`)
	if err := tryExec(t.Context(), conn, `update t set id = 1, n = 1`); err == nil {
		t.Error("no error")
	}
	d.execOn(conn, `rollback to s`)
	shows("rolled back to it", `public / off / auto / on / 70kB`)
	d.execOn(conn, `commit`)
	shows("after it", own)
	d.execOn(conn, `begin; set enable_nestloop = off; update t set n = n + 1; commit`)
	shows("set in a transaction", `"$user", public / off / auto / on / 5MB`)
	d.execOn(conn, `begin; set jit = off; update t set n = n + 1; rollback; reset enable_nestloop`)
	shows("set in one that was rolled back", own)
	var within string
	if err := conn.QueryRow(t.Context(), `select fill()`).Scan(&within); err != nil || within != `public, pg_catalogoffon` {
		t.Errorf("in a function: %q %v", within, err)
	}
	shows("after a function", own)
}
