package integration

import "testing"

func TestTriggerColumnsOptionFiltersUpdates(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, p int, owner text, title text, n int, doc json);
		insert into t values (1, 7, 'ann', 'a', 0, '{}');
		select pgbell.attach('t', array['p:{p}'], audience => array['owner'], columns => array['title', 'doc'])`)
	d.expect(`update t set n = 1`)
	d.expect(`update t set title = 'b', n = 2`, `update p:7 public.t {"id":1} for ann changed title,n`)
	d.expect(`update t set doc = '{ }'`, `update p:7 public.t {"id":1} for ann changed doc`)
	d.expect(`update t set doc = null`, `update p:7 public.t {"id":1} for ann changed doc`)
	// The row moves, which always counts.
	d.expect(`update t set p = 8`, `update moved out p:7 public.t {"id":1} for ann`, `update moved in p:8 public.t {"id":1} for ann changed p`)
	d.expect(`update t set owner = 'bob'`, `update moved out p:8 public.t {"id":1} for ann`, `update moved in p:8 public.t {"id":1} for bob changed owner`)
	d.expect(`update t set id = 2`, `update moved out p:8 public.t {"id":1} for bob`, `update moved in p:8 public.t {"id":2} for bob changed id`)
	// So do rows that come and go.
	d.expect(`delete from t`, `delete p:8 public.t {"id":2} for bob`)
	d.expect(`insert into t values (3, 7)`, `insert p:7 public.t {"id":3} for `)

	d.exec(`select pgbell.attach('t', array['p:{p}'], columns => '{}')`)
	d.expect(`update t set title = 'c', n = 4`)
	d.expect(`update t set p = 1`, `update moved out p:7 public.t {"id":3}`, `update moved in p:1 public.t {"id":3} changed p`)
}

func TestTriggerPayloadTravelsWithWhoKeepsTheRow(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, p int, title text, doc jsonb, n int[]);
		select pgbell.attach('t', array['p:{p}'], payload => array['title', 'doc', 'n', 'id'])`)
	d.expect(`insert into t values (1, 7, 'a"\', '{"x": [1, "é"]}', '{1,2}')`,
		`insert p:7 public.t {"id":1} data {"title":"a\"\\","doc":{"x": [1, "é"]},"n":[1,2],"id":1}`)
	d.expect(`update t set title = null, doc = null, n = null`,
		`update p:7 public.t {"id":1} changed title,doc,n data {"title":null,"doc":null,"n":null,"id":1}`)
	d.expect(`update t set p = 8`,
		`update moved out p:7 public.t {"id":1}`,
		`update moved in p:8 public.t {"id":1} changed p data {"title":null,"doc":null,"n":null,"id":1}`)
	d.expect(`delete from t`,
		`delete p:8 public.t {"id":1} data {"title":null,"doc":null,"n":null,"id":1}`)
}

// A value too long to travel is left out: a client then fetches it.
func TestTriggerLongPayloadValueIsLeftOut(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, a text, b text);
		select pgbell.attach('t', array['t'], payload => array['a', 'b'])`)
	d.expect(`insert into t values (1, 'x', (select string_agg(md5(i::text), '') from generate_series(1, 10000) i))`,
		`insert t public.t {"id":1} data {"a":"x"}`)
	d.expect(`insert into t values (2, repeat('y', 10000000), 'x')`,
		`insert t public.t {"id":2} data {"b":"x"}`)
}

func TestTriggerOriginTravels(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t'])`)
	d.expect(`begin; set local pgbell.origin = 'tab 1'; insert into t values (1); commit`, `insert t public.t {"id":1} origin tab 1`)
	d.expect(`insert into t values (2)`, `insert t public.t {"id":2}`)
	d.expect(`set pgbell.origin = ''; delete from t where id = 1`, `delete t public.t {"id":1}`)
	long := d.hear(`select set_config('pgbell.origin', repeat('é', 1000), false); delete from t`)
	if len(long) != 1 || len(long[0]) > 600 {
		t.Errorf("a long origin: got %q", long)
	}
}

func TestTriggerPublishIsHeardOnCommit(t *testing.T) {
	d := newTriggerDB(t)
	d.expect(`select pgbell.publish('project:7')`, `publish project:7`)
	d.expect(`select pgbell.publish('a b', '{"x":"é"}')`, `publish a%20b data {"x": "é"}`)
	d.expect(`select pgbell.publish('a%2fb', '[1]', '{}')`, `publish a%2Fb for  data [1]`)
	d.expect(`select pgbell.publish('p', null, '{ann,null,bob}')`, `publish p for ann,bob`)
	d.expect(`select pgbell.publish('p', 'null', '{null}')`, `publish p for `)
	d.expect(`begin; set local pgbell.origin = 'x'; select pgbell.publish('p'); commit`, `publish p origin x`)
	d.expect(`begin; select pgbell.publish('p'); rollback`)
	for scope, want := range map[string]string{
		`'ready'`:          "reserved",
		`''`:               "reserved or empty",
		`null`:             "reserved or empty",
		`repeat('é', 256)`: "longer than 256 bytes",
	} {
		d.refuses(`select pgbell.publish(`+scope+`)`, want)
	}
}
