package integration

import "testing"

// An update speaks for the row as it was and as it is.
func TestTriggerUpdateTellsBothSides(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, a text, b text, owner text, members text[], n int);
		select pgbell.attach('t', array['a:{a}', 'b:{b}'], audience => array['owner', 'members'], payload => array['n'])`)
	for _, test := range []struct {
		name, before, set string
		want              []string
	}{
		{"nothing moves", `1, 'x', 'y', 'ann', '{bob}', 0`, `n = 1`, []string{
			`update a:x public.t {"id":1} for ann,bob changed n data {"n":1}`,
			`update b:y public.t {"id":1} for ann,bob changed n data {"n":1}`}},
		{"one scope is left", `1, 'x', 'y', 'ann', '{}', 0`, `a = 'z'`, []string{
			`update moved out a:x public.t {"id":1} for ann`,
			`update moved in a:z public.t {"id":1} for ann changed a data {"n":0}`,
			`update b:y public.t {"id":1} for ann changed a data {"n":0}`}},
		{"a scope ends", `1, 'x', 'y', 'ann', '{}', 0`, `b = null`, []string{
			`update moved out b:y public.t {"id":1} for ann`,
			`update a:x public.t {"id":1} for ann changed b data {"n":0}`}},
		{"a scope begins", `1, null, null, 'ann', '{}', 0`, `b = 'y'`, []string{
			`update moved in b:y public.t {"id":1} for ann changed b data {"n":0}`}},
		{"the last scope ends", `1, 'x', null, 'ann', '{}', 0`, `a = null`, []string{
			`update moved out a:x public.t {"id":1} for ann`}},
		{"another owner", `1, 'x', null, 'ann', null, 0`, `owner = 'bob'`, []string{
			`update moved out a:x public.t {"id":1} for ann`,
			`update moved in a:x public.t {"id":1} for bob changed owner data {"n":0}`}},
		{"no owner any more", `1, 'x', null, 'ann', null, 0`, `owner = null`, []string{
			`update moved out a:x public.t {"id":1} for ann`}},
		{"some members stay", `1, 'x', null, 'ann', '{bob,cat}', 0`, `members = '{cat,dan}'`, []string{
			`update moved out a:x public.t {"id":1} for bob`,
			`update a:x public.t {"id":1} for ann,cat changed members data {"n":0}`,
			`update moved in a:x public.t {"id":1} for dan changed members data {"n":0}`}},
		{"members in another order", `1, 'x', null, null, '{bob,cat}', 0`, `members = '{cat,bob,bob}'`, []string{
			`update a:x public.t {"id":1} for bob,cat changed members data {"n":0}`}},
		{"the owner becomes a member", `1, 'x', null, 'ann', '{}', 0`, `owner = null, members = '{ann}'`, []string{
			`update a:x public.t {"id":1} for ann changed owner,members data {"n":0}`}},
		{"another key", `1, 'x', null, 'ann', null, 0`, `id = 2`, []string{
			`update moved out a:x public.t {"id":1} for ann`,
			`update moved in a:x public.t {"id":2} for ann changed id data {"n":0}`}},
		{"all at once", `1, 'x', 'y', 'ann', '{bob}', 0`, `id = 2, a = 'z', owner = 'eve', n = 5`, []string{
			`update moved out a:x public.t {"id":1} for ann,bob`,
			`update moved out b:y public.t {"id":1} for ann,bob`,
			`update moved in a:z public.t {"id":2} for bob,eve changed id,a,owner,n data {"n":5}`,
			`update moved in b:y public.t {"id":2} for bob,eve changed id,a,owner,n data {"n":5}`}},
		{"scopes change places", `1, 'x', 'y', 'ann', null, 0`, `a = b, b = a`, []string{
			`update moved out a:x public.t {"id":1} for ann`,
			`update moved out b:y public.t {"id":1} for ann`,
			`update moved in a:y public.t {"id":1} for ann changed a,b data {"n":0}`,
			`update moved in b:x public.t {"id":1} for ann changed a,b data {"n":0}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := d.on(t)
			d.exec(`truncate t`, `insert into t values (`+test.before+`)`)
			d.expect(`update t set `+test.set, test.want...)
		})
	}
}

// Upper and lower case are equal in this collation, and yet different scopes.
func TestTriggerScopesDifferByByteInAnyCollation(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		create table t (id text collate nocase primary key, a text collate nocase, b text collate "POSIX", o text collate nocase);
		select pgbell.attach('t', array['{a}/{b}', 'a:{a}', 'b:{b}'], audience => array['o', 'b'], payload => array['a', 'b'])`)
	d.exec(`insert into t values ('k', 'x', 'y', 'ann')`)
	d.expect(`update t set a = 'X'`,
		`update moved out x/y public.t {"id":"k"} for ann,y`,
		`update moved out a:x public.t {"id":"k"} for ann,y`,
		`update moved in X/y public.t {"id":"k"} for ann,y changed a data {"a":"X","b":"y"}`,
		`update moved in a:X public.t {"id":"k"} for ann,y changed a data {"a":"X","b":"y"}`,
		`update b:y public.t {"id":"k"} for ann,y changed a data {"a":"X","b":"y"}`)
	d.expect(`update t set o = 'Ann', id = 'K' where id = 'K'`,
		`update moved out X/y public.t {"id":"k"} for ann,y`,
		`update moved out a:X public.t {"id":"k"} for ann,y`,
		`update moved out b:y public.t {"id":"k"} for ann,y`,
		`update moved in X/y public.t {"id":"K"} for Ann,y changed id,o data {"a":"X","b":"y"}`,
		`update moved in a:X public.t {"id":"K"} for Ann,y changed id,o data {"a":"X","b":"y"}`,
		`update moved in b:y public.t {"id":"K"} for Ann,y changed id,o data {"a":"X","b":"y"}`)
}

func TestTriggerNullColumnMakesNoScope(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (a int, b text);
		select pgbell.attach('t', array['a:{a}', 'ab:{a}/{b}'])`)
	d.expect(`insert into t values (1, 'x'), (2, null), (null, 'y'), (null, null)`,
		`insert a:1 public.t`, `insert ab:1/x public.t`, `insert a:2 public.t`)
	d.expect(`update t set b = 'z' where a is null`)
	d.expect(`delete from t where a is null`)
}

// Values that would be a name that the stream uses itself, or none.
func TestTriggerReservedScopesDoNotComeFromValues(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (v text, w text default '');
		select pgbell.attach('t', array['{v}', '{v}{w}', 'rea{v}', 'all'])`)
	for _, v := range []string{"", "open", "error", "message", "ready"} {
		got := d.hear(`insert into t values ('` + v + `')`)
		d.same(got, `insert rea`+v+` public.t`, `insert all public.t`)
	}
	d.expect(`insert into t values ('dy', '')`, `insert dy public.t`, `insert all public.t`)
	d.expect(`insert into t values ('op', 'en')`, `insert op public.t`, `insert reaop public.t`, `insert all public.t`)
	d.expect(`insert into t values ('Open', '')`, `insert Open public.t`, `insert reaOpen public.t`, `insert all public.t`)
}

// A row whose scopes are all alike.
func TestTriggerEqualScopesOfOneRowAreOne(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (a int, b int);
		select pgbell.attach('t', array['x:{a}', 'x:{b}', 'x:{a}'])`)
	d.expect(`insert into t values (1, 1)`, `insert x:1 public.t`)
	d.expect(`update t set b = 2`, `update x:1 public.t changed b`, `update moved in x:2 public.t changed b`)
}
