package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twins are two tables with the same feed and the same rows. One is as it was
// attached; the other has got a column since, so that no shortcut is taken.
func twins(d *triggerDB, columns, feed string) {
	d.exec(`drop table if exists quick, slow`)
	for _, name := range []string{"quick", "slow"} {
		d.exec(fmt.Sprintf(`create table %s (%s)`, name, columns), fmt.Sprintf(`select pgbell.attach('%s', %s)`, name, feed))
	}
	d.exec(`alter table slow add column late int`)
}

// same fails the test unless a statement, with %s for the table, gives rise to the
// same events from both, in whichever order.
func (d *triggerDB) sameOfBoth(statement string) {
	d.Helper()
	var both [2][]string
	for i, name := range []string{"quick", "slow"} {
		for _, l := range d.hear(strings.ReplaceAll(statement, "%s", name)) {
			both[i] = append(both[i], strings.ReplaceAll(l, "public."+name, "public.t"))
		}
		slices.Sort(both[i])
	}
	if diff := cmp.Diff(both[1], both[0]); diff != "" {
		if len(diff) > 2000 {
			diff = diff[:2000]
		}
		d.Errorf("%s (-the long way +shortcut):\n%s", statement, diff)
	}
}

func TestTriggerShortcutsTellTheSame(t *testing.T) {
	d := newTriggerDB(t)
	for name, test := range map[string]struct{ columns, feed string }{
		"owner":                         {`id int primary key, p int, owner text, n int, doc json`, `array['t', 'p:{p}', 't:{id}'], audience => '{owner}'`},
		"everyone, no constant scope":   {`id bigint primary key, p int, owner text, n int, doc json`, `array['p:{p}', 'o:{owner}']`},
		"key of two, two owners":        {`id int, p int, owner text, n int, boss varchar, doc json, primary key (id, owner)`, `array['p:{p}'], audience => '{owner,boss}'`},
		"only some columns count":       {`id int primary key, p int, owner text, n int, doc json`, `array['t', 'p:{p}'], columns => '{n}'`},
		"payload, owners in an array":   {`id int primary key, p int, owner text, n int, owners text[], doc json`, `array['t'], audience => '{owners,owner}', payload => '{n,doc}'`},
		"no key":                        {`id int, p int, owner text, n int, doc json`, `array['t', 'p:{p}'], audience => '{owner}'`},
		"key that may wait":             {`id int primary key deferrable initially deferred, p int, owner text, n int, doc json`, `array['t', 'p:{p}']`},
		"names that need care":          {`id int primary key, p int, owner text, n int, "tg_op" text, "x.y" text, "quo""te" text, doc json`, `array['t', 'q:{quo"te}'], audience => '{owner}'`},
		"key that no shortcut joins by": {`id numeric primary key, p int, owner text, n int, doc json`, `array['t', 'p:{p}']`},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.on(t)
			twins(d, test.columns, test.feed)
			const rows = `insert into %s (id, p, owner, n) select i, i % 7, 'user' || i % 5, 0 from generate_series(1, 600) i`
			d.sameOfBoth(rows)
			again := func() {
				for _, name := range []string{"quick", "slow"} {
					d.exec(`truncate `+name, strings.ReplaceAll(rows, "%s", name))
				}
			}
			ownerIsKey := strings.Contains(test.columns, "(id, owner)")
			for _, set := range []string{
				`n = n + 1`, `n = n`, `p = p + 1`, `p = null`, `owner = 'b'`, `owner = null`, `owner = repeat('x', 2000)`,
				`owner = 'a"\' || chr(10) || 'é'`, `id = id + 5000`, `doc = '{"a":1}'`,
			} {
				if ownerIsKey && set == `owner = null` {
					continue // a key can't be
				}
				// One row, none, some, and so many that they are joined.
				for _, where := range []string{`id = 7`, `id = 7007`, `id in (8, 9)`, `true`} {
					d.sameOfBoth(`update %s set ` + set + ` where ` + where)
				}
				again()
			}
			// A part of the rows moves, a part changes, a part stays.
			for range 3 {
				seed := rand.IntN(1000)
				d.sameOfBoth(fmt.Sprintf(`update %%s set n = case when id %% 3 = 0 then n else n + 1 end, p = case when (id + %d) %% 10 = 0 then p + 1 else p end`, seed))
			}
			d.sameOfBoth(`insert into %s (id, p, owner, n) values (9000, null, 'x', 1)`)
			d.sameOfBoth(`delete from %s where id = 9000`)
			d.sameOfBoth(`delete from %s where id = 9000`)
			d.sameOfBoth(`delete from %s where id % 2 = 0`)
			d.sameOfBoth(`delete from %s`)
		})
	}
}

// That the shortcut is taken at all, by what most writes are.
func TestTriggerShortcutIsTaken(t *testing.T) {
	d := newTriggerDB(t)
	twins(d, `id int primary key, owner text, n int`, `array['t', 't:{id}'], audience => '{owner}'`)
	d.exec(`insert into quick values (1, 'a', 1)`, `insert into slow values (1, 'a', 1)`, `drop function pgbell.tell`)
	d.exec(`update slow set n = n + 1`)
	for _, statement := range []string{`insert into quick values (2, 'a', 1)`, `update quick set n = n + 1`, `delete from quick`} {
		if err := tryExec(t.Context(), d.writer, statement); err == nil || !strings.Contains(err.Error(), "pgbell.tell") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}
