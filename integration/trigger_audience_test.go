package integration

import (
	"strings"
	"testing"
)

// Who hears of a row, by the type of its ownership column.
func TestTriggerAudienceOfAnyType(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create type mood as enum ('sad', 'so so');
		create domain user_id as text check (value <> 'nobody');
		create domain user_ids as text[];
		create domain inner_id as int;
		create domain outer_id as inner_id;
		create schema other; create type other."Odd ""type""" as enum ('x');`)
	for i, test := range []struct{ column, value, want string }{
		{"text", `'ann'`, "ann"},
		{"text", `null`, ""},
		{"text", `''`, ""},
		{"text", `E'a"\\\\b\n'`, "a\"\\\\b\n"},
		{"text", `'日本 🙂'`, "日本 🙂"},
		{"varchar(9)", `'ann'`, "ann"},
		{"char(9)", `'ann'`, "ann"},
		{"char(1500)", `'ann'`, "ann"},
		{"name", `'ann'`, "ann"},
		{`"char"`, `'a'`, "a"},
		{"int", `-7`, "-7"},
		{"smallint", `7`, "7"},
		{"bigint", `9223372036854775807`, "9223372036854775807"},
		{"numeric", `1.50`, "1.50"},
		{"boolean", `true`, "true"},
		{"uuid", `'a0EEbc99-9c0b-4ef8-bb6d-6bb9bd380a11'`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"inet", `'10.0.0.1'`, "10.0.0.1"},
		{"mood", `'so so'`, "so so"},
		{`other."Odd ""type"""`, `'x'`, "x"},
		{"user_id", `'ann'`, "ann"},
		{"outer_id", `7`, "7"},
		{"text[]", `'{bob,ann}'`, "ann,bob"},
		{"text[]", `'{}'`, ""},
		{"text[]", `null`, ""},
		{"text[]", `'{null,ann,null}'`, "ann"},
		{"text[]", `array['NULL', null]`, "NULL"},
		{"text[]", `'{{a,b},{c,d}}'`, "a,b,c,d"},
		{"text[]", `'[5:6]={a,b}'`, "a,b"},
		{"text[]", `array['a,b', 'c d', '"e"', '\f', '{g}', '']`, `"e",\f,a,b,c d,{g}`},
		{"int[]", `'{3,null,1}'`, "1,3"},
		{"bigint[]", `'{9223372036854775807}'`, "9223372036854775807"},
		{"uuid[]", `array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"mood[]", `'{sad,"so so"}'`, "sad,so so"},
		{"user_id[]", `'{ann}'`, "ann"},
		{"user_ids", `'{ann,bob}'`, "ann,bob"},
		{"varchar(5)[]", `'{ann,bob}'`, "ann,bob"},
	} {
		t.Run(test.column+" "+test.value, func(t *testing.T) {
			d := d.on(t)
			d.exec(`create table t (id int primary key, o ` + test.column + `);
				select pgbell.attach('t', array['t'], audience => array['o'])`)
			d.expect(`insert into t values (1, `+test.value+`)`, `insert t public.t {"id":1} for `+test.want)
			d.expect(`delete from t`, `delete t public.t {"id":1} for `+test.want)
			d.exec(`drop table t`)
			if testing.Short() && i%4 > 0 {
				return
			}
			// The same in row triggers.
			d.exec(`create table t (id int primary key, o ` + test.column + `) partition by range (id);
				create table t1 partition of t default;
				select pgbell.attach('t', array['t'], audience => array['o'])`)
			d.expect(`insert into t values (1, `+test.value+`)`, `insert t public.t {"id":1} for `+test.want)
			d.expect(`delete from t`, `delete t public.t {"id":1} for `+test.want)
			d.exec(`drop table t`)
		})
	}
}

func TestTriggerNoAudienceIsEveryoneAndAnEmptyOneNobody(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, o text)`)
	for _, test := range []struct{ audience, want string }{
		{`null`, `insert t public.t {"id":1}`},
		{`'{}'`, `insert t public.t {"id":1} for `},
		{`array['o']`, `insert t public.t {"id":1} for `},
	} {
		d.exec(`select pgbell.attach('t', array['t'], audience => ` + test.audience + `)`)
		d.expect(`insert into t values (1)`, test.want)
		d.exec(`delete from t`)
	}
}

func TestTriggerSeveralOwnershipColumnsAddUp(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (a text, b int, c text[], d uuid);
		select pgbell.attach('t', array['t'], audience => array['a', 'b', 'c', 'd'])`)
	d.expect(`insert into t values ('ann', 7, '{bob,7,ann}', null)`, `insert t public.t for 7,ann,bob`)
	d.expect(`insert into t values (null, null, null, null)`, `insert t public.t for `)
}

// A user id has up to 1024 bytes, which take some more where they are stored.
func TestTriggerLongestUserIDIsHeard(t *testing.T) {
	d := newTriggerDB(t)
	for _, column := range []string{"text", "varchar(1024)", "char(1024)", "text[]"} {
		d.exec(`drop table if exists t; create table t (o ` + column + `);
			select pgbell.attach('t', array['t'], audience => array['o'])`)
		for _, n := range []int{1020, 1021, 1024} {
			id := strings.Repeat("x", n)
			value := `'` + id + `'`
			if column == "text[]" {
				value = `array[` + value + `]`
			}
			d.expect(`insert into t values (`+value+`)`, `insert t public.t for `+id)
		}
	}
}

// What is too long for a user id is nobody's; the id next to it still counts.
func TestTriggerOverlongUserIDIsNobody(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (a text, b text[]);
		select pgbell.attach('t', array['t'], audience => array['a', 'b'])`)
	d.expect(`insert into t values (repeat('x', 100000), array['ann', repeat('y', 100000)])`, `insert t public.t for ann`)
	d.expect(`insert into t values (repeat('x', 10000000), null)`, `insert t public.t for `)
}

// An audience too large to look at can't be told from nobody: hence a reset.
func TestTriggerHugeAudienceBecomesReset(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, a text[]);
		select pgbell.attach('t', array['t:{id}'], audience => array['a'])`)
	got := d.hear(`insert into t select 1, array_agg(i::text) from generate_series(1, 20000) i`)
	if len(got) != 1 || len(got[0]) < 100000 {
		t.Errorf("20,000 readers: got %d events", len(got))
	}
	d.expect(`insert into t select 2, array_agg(md5(i::text)) from generate_series(1, 100000) i`, `reset public.t a row has too many owners to look at`)
}
