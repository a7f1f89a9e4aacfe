package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A value of every kind that might break a comparison, a conversion to JSON or a
// scope: no write may fail, and the payload is JSON.
var oddValues = []struct{ column, value, scope, data string }{
	{"json", `'{"a": "\u0000"}'`, "%7B%22a%22:%20%22%5Cu0000%22%7D", `{"a": "\u0000"}`},
	{"json", `'["\ud83d"]'`, "%5B%22%5Cud83d%22%5D", `["\ud83d"]`},
	{"json", `'{"a": 1e400000}'`, "%7B%22a%22:%201e400000%7D", `{"a": 1e400000}`},
	{"json", `('[' || repeat('[', 2000) || repeat(']', 2000) || ']')::json`, "", ""},
	{"json", `'{"a":1,"a":2}'`, "%7B%22a%22:1%2C%22a%22:2%7D", `{"a":1,"a":2}`},
	{"json", `e'{\n"a":\t1}'`, "%7B%0A%22a%22:%091%7D", "{\n\"a\":\t1}"},
	{"jsonb", `'{"b": 1, "a": "\u00e9\\\""}'`, "%7B%22a%22:%20%22%C3%A9%5C%5C%5C%22%22%2C%20%22b%22:%201%7D", `{"a": "é\\\"", "b": 1}`},
	{"jsonb", `'null'`, "null", "null"},
	{"xml", `'<a b="1">x</a>'`, "%3Ca%20b=%221%22%3Ex%3C/a%3E", `"<a b=\"1\">x</a>"`},
	{"point", `'(1,2)'`, "%281%2C2%29", `"(1,2)"`},
	{"polygon", `'((0,0),(1,1))'`, "%28%280%2C0%29%2C%281%2C1%29%29", `"((0,0),(1,1))"`},
	{"bytea", `'\x00ff'`, "%5Cx00ff", `"\\x00ff"`},
	{"money", `'12.5'`, "%2412.50", `"$12.50"`},
	{"timestamptz", `'2026-11-22 10:00:00.5+02'`, "2026-11-22%2008:00:00.5+00", `"2026-11-22T08:00:00.5+00:00"`},
	{"timestamp", `'infinity'`, "infinity", `"infinity"`},
	{"date", `'0044-03-15 BC'`, "0044-03-15%20BC", `"0044-03-15 BC"`},
	{"interval", `'1 year 2 days 03:04:05.6'`, "1%20year%202%20days%2003:04:05.6", `"1 year 2 days 03:04:05.6"`},
	{"float8", `0.1::float8 + 0.2::float8`, "0.30000000000000004", "0.30000000000000004"},
	{"float8", `'NaN'`, "NaN", `"NaN"`},
	{"float4", `'-Infinity'`, "-Infinity", `"-Infinity"`},
	{"numeric", `'NaN'`, "NaN", `"NaN"`},
	{"numeric", `1e200`, "1" + strings.Repeat("0", 200), "1" + strings.Repeat("0", 200)},
	{"numeric(10,2)", `1.5`, "1.50", "1.50"},
	{"boolean", `true`, "true", "true"},
	{"uuid", `'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
	{"cidr", `'10.0.0.0/8'`, "10.0.0.0/8", `"10.0.0.0/8"`},
	{"macaddr", `'08:00:2b:01:02:03'`, "08:00:2b:01:02:03", `"08:00:2b:01:02:03"`},
	{"bit(3)", `'101'`, "101", `"101"`},
	{"tsvector", `'a:1'`, "%27a%27:1", `"'a':1"`},
	{"int4range", `'[1,5)'`, "%5B1%2C5%29", `"[1,5)"`},
	{"int4multirange", `'{[1,5)}'`, "%7B%5B1%2C5%29%7D", `"{[1,5)}"`},
	{"oid", `4294967295`, "4294967295", `"4294967295"`},
	{"regclass", `'pg_catalog.pg_class'`, "pg_class", `"pg_class"`},
	{"pg_lsn", `'0/1'`, "0/1", `"0/1"`},
	{"char(5)", `'ab'`, "ab", `"ab   "`},
	{"name", `'ab'`, "ab", `"ab"`},
	{`"char"`, `'a'`, "a", `"a"`},
	{"int[]", `'{{1,null},{3,4}}'`, "%7B%7B1%2CNULL%7D%2C%7B3%2C4%7D%7D", "[[1,null],[3,4]]"},
	{"text[]", `'{}'`, "%7B%7D", "[]"},
	{"int2vector", `'1 2'`, "1%202", ""},
	{"mood", `'so so'`, "so%20so", `"so so"`},
	{"mood[]", `'{sad,NULL}'`, "%7Bsad%2CNULL%7D", `["sad",null]`},
	{"pair", `'(1,"x,y")'`, "%281%2C%22x%2Cy%22%29", `"(1,\"x,y\")"`},
	{"pair[]", `array['(1,x)'::pair]`, "%7B%22%281%2Cx%29%22%7D", `["(1,x)"]`},
	{"email", `'a@b'`, "a@b", `"a@b"`},
	{"numbers", `'{1,2}'`, "%7B1%2C2%7D", "[1,2]"},
	{"moods", `'{sad}'`, "%7Bsad%7D", `["sad"]`},
	{"textrange", `'[a,b]'`, "%5Ba%2Cb%5D", `"[a,b]"`},
	{"text", `e'a\nb\r\x01"'`, "a%0Ab%0D%01%22", `"a\nb\r\u0001\""`},
	{"text", `''`, "", `""`},
	{"text", `'NULL'`, "NULL", `"NULL"`},
	{"text", `'%2F%zz'`, "%252F%25zz", `"%2F%zz"`},
}

const oddTypes = `create type mood as enum ('sad', 'so so');
	create type pair as (a int, b text);
	create domain email as text check (value like '%@%');
	create domain numbers as int[];
	create domain moods as mood[];
	create type textrange as range (subtype = text);`

func TestTriggerValuesOfAnyType(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(oddTypes, `set lc_monetary = 'C'`)
	var columns, names, values []string
	for i, v := range oddValues {
		columns = append(columns, fmt.Sprintf("v%d %s", i, v.column))
		names = append(names, fmt.Sprintf("v%d", i))
		values = append(values, v.value)
	}
	all := strings.Join(names, ",")
	for _, partition := range []string{"", "partition by list (id)"} {
		d.exec(`create table t (id int primary key, ` + strings.Join(columns, ",") + `)` + partition)
		if partition != "" {
			d.exec(`create table t0 partition of t default`)
		}
		d.exec(`select pgbell.attach('t', array(select 's' || i || ':{v' || i || '}' from generate_series(0, ` + fmt.Sprint(len(names)-1) + `) i), payload => '{` + all + `}')`)
		since := d.since()
		d.exec(`insert into t values (1, ` + strings.Join(values, ",") + `)`)
		change := d.records(since)[0].Changes[0]
		scopes := map[string]string{}
		for _, s := range change.Scopes {
			name, value, _ := strings.Cut(s, ":")
			scopes[name] = value
		}
		data := map[string]json.RawMessage{}
		if err := json.Unmarshal(change.Data, &data); err != nil {
			t.Fatal(err)
		}
		for i, v := range oddValues {
			if got := scopes[fmt.Sprintf("s%d", i)]; got != v.scope {
				t.Errorf("scope of %s %s: got %s, want %s", v.column, v.value, got, v.scope)
			}
			if got := string(data[names[i]]); got != v.data && v.data != "" {
				t.Errorf("data of %s %s: got %s, want %s", v.column, v.value, got, v.data)
			}
		}
		d.expect(`update t set (` + all + `) = (select ` + all + ` from t)`) // no change in any type
		for i, name := range names {                                         // ... and a change in each
			since := d.since()
			d.exec(`update t set ` + name + ` = null`)
			if records := d.records(since); len(records) != 1 || len(records[0].Changes) != 1 || strings.Join(records[0].Changes[0].Changed, ",") != name {
				t.Errorf("%s %s to null: got %+v", oddValues[i].column, oddValues[i].value, records)
			}
		}
		d.exec(`delete from t`, `drop table t`)
	}
}

func TestTriggerGeneratedAndIdentityColumns(t *testing.T) {
	d := newTriggerDB(t)
	const table = `(id bigint generated always as identity, a int, twice int generated always as (a * 2) stored,
		ser serial, mail text generated always as (lower(coalesce(a::text, 'X'))) stored%s)`
	virtual := ""
	if d.version() >= 180000 {
		virtual = ", v int generated always as (a + 1) virtual"
	}
	d.exec(`create table t `+fmt.Sprintf(table, virtual), `alter table t add primary key (id)`,
		`select pgbell.attach('t', array['t:{id}', 'twice:{twice}'], audience => array['mail'], columns => array['twice'], payload => array['twice', 'ser'])`)
	d.expect(`insert into t (a) values (4)`,
		`insert t:1 public.t {"id":1} for 4 data {"twice":8,"ser":1}`,
		`insert twice:8 public.t {"id":1} for 4 data {"twice":8,"ser":1}`)
	d.expect(`update t set a = 5`,
		`update moved out t:1 public.t {"id":1} for 4`,
		`update moved out twice:8 public.t {"id":1} for 4`,
		`update moved in t:1 public.t {"id":1} for 5 changed a,twice,mail data {"twice":10,"ser":1}`,
		`update moved in twice:10 public.t {"id":1} for 5 changed a,twice,mail data {"twice":10,"ser":1}`)
	d.expect(`update t set ser = 9`)
	d.expect(`update t set id = default where false`)
	if virtual != "" {
		for _, where := range []string{`array['t:{v}']`, `array['t'], audience => array['v']`, `array['t'], columns => array['v']`, `array['t'], payload => array['v']`} {
			d.refuses(`select pgbell.attach('t', `+where+`)`, `column "v" of public.t is a virtual generated column`, "stored")
		}
	}
}

func TestTriggerKeysOfAnyShape(t *testing.T) {
	d := newTriggerDB(t)
	for _, test := range []struct{ table, values, key string }{
		{`(a int, b text, primary key (b, a))`, `(1, 'x')`, ` {"b":"x","a":1}`},
		{`(a int, b text)`, `(1, 'x')`, ``},
		{`(a int unique not null, b text)`, `(1, 'x')`, ``},
		{`(a int, b text, primary key (a) include (b))`, `(1, 'x')`, ` {"a":1}`},
		{`(a uuid primary key)`, `('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')`, ` {"a":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}`},
		{`(a timestamptz, b date, c boolean, d numeric, primary key (a, b, c, d))`, `('2026-11-22 00:00Z', '2026-11-22', true, 1.50)`,
			` {"a":"2026-11-22T00:00:00+00:00","b":"2026-11-22","c":true,"d":1.50}`},
		{`(a text primary key)`, `(e'"\\\n🙂')`, ` {"a":"\"\\\n🙂"}`},
		{`(a int[] primary key)`, `('{1,2}')`, ` {"a":[1,2]}`},
		{`(a jsonb primary key)`, `('{"x":1}')`, ` {"a":{"x": 1}}`},
	} {
		d.exec(`create table t `+test.table, `select pgbell.attach('t', array['t'])`)
		d.expect(`insert into t values `+test.values, `insert t public.t`+test.key)
		d.expect(`delete from t`, `delete t public.t`+test.key)
		d.exec(`drop table t`)
	}
}

// With a deferrable key two rows may have the same one for a while, so that the
// order of what is told of it proves nothing.
func TestTriggerDeferrableKeyThatChangesResets(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key deferrable initially immediate, v text);
		insert into t values (1, 'a'), (2, 'b');
		select pgbell.attach('t', array['t'])`)
	got := d.hear(`update t set id = 3 - id`)
	if len(got) != 5 || got[4] != `reset public.t order not certain` {
		t.Errorf("got %q", got)
	}
	d.expect(`update t set v = 'c' where id = 1`, `update t public.t {"id":1} changed v`)
	d.expect(`insert into t values (3)`, `insert t public.t {"id":3}`)
	d.expect(`delete from t where id = 3`, `delete t public.t {"id":3}`)
	// One that comes before the other has gone.
	got = d.hear(`begin; set constraints all deferred; insert into t values (1, 'x'); delete from t where v = 'c'; commit`)
	if len(got) != 3 || got[2] != `reset public.t order not certain` {
		t.Errorf("got %q", got)
	}
}
