package integration

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twins are two tables with the same feed and the same rows. One is as it was
// attached; the other has lost a column since, and got one, so that its triggers make
// their statements anew each time.
func twins(d *triggerDB, columns, feed string) {
	d.exec(`drop table if exists quick, slow`)
	for _, name := range []string{"quick", "slow"} {
		d.exec(fmt.Sprintf(`create table %s (%s, gone int)`, name, columns), fmt.Sprintf(`select pgbell.attach('%s', %s)`, name, feed))
	}
	d.exec(`alter table slow drop column gone, add column late int`)
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
		d.Errorf("%s (-drifted +as attached):\n%s", statement, diff)
	}
}

func TestTriggerOfADriftedTableTellsTheSame(t *testing.T) {
	d := newTriggerDB(t)
	sixty := ""
	for i := range 60 {
		sixty += fmt.Sprintf(", c%d int", i)
	}
	for name, test := range map[string]struct{ columns, feed, then string }{
		"sixty columns more":          {columns: `id int primary key, p int not null, owner text, n int, doc json` + sixty, feed: `array['t', 'p:{p}'], audience => '{owner}'`},
		"owner":                       {columns: `id int primary key, p int, owner text, n int, doc json`, feed: `array['t', 'p:{p}', 't:{id}'], audience => '{owner}'`},
		"everyone, no constant scope": {columns: `id bigint primary key, p int, owner text, n int, doc json`, feed: `array['p:{p}', 'o:{owner}']`},
		"key of two, two owners":      {columns: `id int, p int, owner text, n int, boss varchar, doc json, primary key (id, owner)`, feed: `array['p:{p}'], audience => '{owner,boss}'`},
		"only some columns count":     {columns: `id int primary key, p int, owner text, n int, doc json`, feed: `array['t', 'p:{p}'], columns => '{n}'`},
		"payload, owners in an array": {columns: `id int primary key, p int, owner text, n int, owners text[], doc json`, feed: `array['t'], audience => '{owners,owner}', payload => '{n,doc}'`},
		"no key":                      {columns: `id int, p int, owner text, n int, doc json`, feed: `array['t', 'p:{p}'], audience => '{owner}'`},
		"key that may wait":           {columns: `id int primary key deferrable initially deferred, p int, owner text, n int, doc json`, feed: `array['t', 'p:{p}']`},
		"names that need care":        {columns: `id int primary key, p int, owner text, n int, "tg_op" text, "x.y" text, "quo""te" text, doc json`, feed: `array['t', 'q:{quo"te}'], audience => '{owner}'`},
		"key of a number":             {columns: `id numeric primary key, p int, owner text, n int, doc json`, feed: `array['t', 'p:{p}']`},
		"values for sure":             {columns: `id int primary key, p int not null, owner text not null, n int, doc json`, feed: `array['p:{p}', 't:{id}', 'o:{owner}'], audience => '{owner}'`},
		"values for sure at first":    {columns: `id int primary key, p int not null, owner text, n int, doc json`, feed: `array['p:{p}', 'o:{owner}', 't'], audience => '{owner}'`},
		"values for sure at last":     {columns: `id int primary key, p int, owner text, n int, doc json`, feed: `array['p:{p}', 'o:{owner}', 't:{id}']`},
		"scopes of two texts":         {columns: `id int primary key, p int, owner text, n int, boss varchar default 'x/y', doc json`, feed: `array['{owner}/{boss}', 't:{owner}', 'q:{p}/{owner}']`},
		"scopes of two sure texts":    {columns: `id int primary key, p int not null, owner varchar not null, n int, boss text not null default '..z', doc json`, feed: `array['o:{owner}/{boss}', 'q:{p}/{owner}'], audience => '{boss,owner}'`},
		"scopes that may be reserved": {columns: `id int primary key, p int, owner text, n int, doc json`, feed: `array['{owner}', 'rea{owner}', 't']`},
		"simple when it was attached": {
			columns: `id int primary key, p int not null, owner text, n int, doc json`, feed: `array['t', 'p:{p}'], audience => '{owner}'`,
			then: `alter table %s drop constraint %s_pkey, alter id drop not null, alter p drop not null`,
		},
		"sure when it was attached": {
			columns: `id int primary key, p int not null, owner text not null, n int, doc json`, feed: `array['p:{p}', 't:{id}', 'o:{owner}'], audience => '{owner}'`,
			then: `alter table %s drop constraint %s_pkey, alter id drop not null, alter p drop not null, alter owner drop not null`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.on(t)
			twins(d, test.columns, test.feed)
			writersOrders[len(name)%len(writersOrders)].give(d)
			if test.then != "" {
				d.sameOfBoth(test.then)
				d.sameOfBoth(`insert into %s (n) values (1)`)
				d.sameOfBoth(`update %s set id = -1, p = 1`)
				d.sameOfBoth(`update %s set id = null, owner = 'a'`)
				d.sameOfBoth(`update %s set n = 2`)
				d.sameOfBoth(`delete from %s`)
			}
			many := 600 // more than one record has room for
			if testing.Short() {
				many = 60
			}
			rows := `insert into %s (id, p, owner, n) select i, i % 7, 'user' || i % 5, 0 from generate_series(1, ` + fmt.Sprint(many) + `) i`
			d.sameOfBoth(rows)
			again := func() {
				for _, name := range []string{"quick", "slow"} {
					d.exec(`truncate `+name, strings.ReplaceAll(rows, "%s", name))
				}
			}
			never := []string{}
			if test.then == "" {
				for _, column := range []string{"p", "owner"} {
					if regexp.MustCompile(`\b` + column + ` \w+ not null|, ` + column + `\)`).MatchString(test.columns) {
						never = append(never, column+` = null`)
					}
				}
			}
			for i, set := range []string{
				`n = n + 1`, `n = n`, `p = p + 1`, `p = p + 1, n = n + 1`, `n = n + 1, owner = 'b'`, `p = null`, `owner = 'b'`, `owner = null`, `owner = repeat('x', 2000)`, `owner = repeat('x', 200)`, `owner = repeat('é', 40)`,
				`owner = 'dy'`, `owner = 'ready'`, `owner = 'a"\' || chr(10) || 'é'`, `id = id + 5000`, `doc = '{"a":1}'`,
			} {
				if slices.Contains(never, set) || testing.Short() && (i+len(name))%4 > 0 {
					continue
				}
				// One row, none, some, and all: two of them, and others with the next feed.
				wheres := []string{`id = 7`, `true`, `id = 7007`, `id in (8, 9)`}
				for j := range 2 {
					d.sameOfBoth(`update %s set ` + set + ` where ` + wheres[(i+len(name)+j)%4])
				}
				d.sameOfBoth(`update %s set n = n + 1 where id = 7`) // as it is now
				again()
			}
			// A part of the rows moves, a part changes, a part stays.
			for range 3 {
				seed := rand.IntN(1000)
				d.sameOfBoth(fmt.Sprintf(`update %%s set n = case when id %% 3 = 0 then n else n + 1 end, p = case when (id + %d) %% 10 = 0 then p + 1 else p end`, seed))
			}
			d.sameOfBoth(`insert into %s (id, p, owner, n) values (9000, 1, 'x', 1)`)
			if !slices.Contains(never, `p = null`) {
				d.sameOfBoth(`insert into %s (id, p, owner, n) values (9001, null, 'x', 1)`)
			}
			d.sameOfBoth(`delete from %s where id = 9000`)
			d.sameOfBoth(`delete from %s where id = 9000`)
			d.sameOfBoth(`delete from %s where id % 2 = 0`)
			d.sameOfBoth(`delete from %s`)
		})
	}
}

// writersOrders are all that pgbell.gate may say.
var writersOrders = []writersOrder{{"half 0", 0, false}, {"half 1", 1, false}, {"ring, half 0", 0, true}, {"ring, half 1", 1, true}}

type writersOrder struct {
	name string
	half int
	ring bool
}

func (o writersOrder) give(d *triggerDB) {
	d.exec(fmt.Sprintf(`update pgbell.journal_state set step = nextval('pgbell.rotation'), half = %d, quiet_at = null`, o.half),
		fmt.Sprintf(`select setval('pgbell.gate', %d + case when %t then 2 * (extract(epoch from now() + '1 hour')::bigint * 1000) else 0 end)`, o.half, o.ring))
}
