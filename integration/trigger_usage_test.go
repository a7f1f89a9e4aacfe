package integration

import (
	"fmt"
	"testing"
)

// The schema of a table, and those of its columns' types, are closed to pgbell's owner,
// at attach or later. No write fails for it, and what is told is the same.
func TestTriggerTypesThatPgbellsOwnerMayNotUse(t *testing.T) {
	for _, later := range []bool{false, true} {
		o := newOwned(t)
		o.exec(fmt.Sprintf(`create schema types authorization %s; grant usage on schema types to %s, %s`, o.app, o.app, o.clerk))
		if later {
			o.exec(`grant usage on schema types to ` + o.bell)
		}
		conn := o.connectAs(o.app)
		o.execOn(conn, `create type types.mood as enum ('sad', 'glad'); create domain types.short as varchar(20); create type types.pair as (a int, m types.mood);
			create type types.span as range (subtype = float8)`,
			`create table types.plain (id int primary key, m types.mood, s types.short, p types.pair, r types.span, ms types.mood[], x int)`,
			`create table app.plain (like types.plain including all); create table app.split (like types.plain including all) partition by list (id); create table app.split1 partition of app.split default`,
			`create table app.key (m types.mood primary key, x int)`)
		for _, table := range []string{"types.plain", "app.plain", "app.split"} {
			o.execOn(conn, `select pgbell.attach('`+table+`', array['m:{m}', 's:{s}', 'p:{p}', 'r:{r}'], audience => array['s', 'ms'], payload => array['m', 's', 'p', 'r', 'ms'])`)
		}
		o.execOn(conn, `select pgbell.attach('app.key', array['k:{m}'])`, `grant select, insert, update, delete on all tables in schema types, app to `+o.clerk)
		if later {
			o.exec(fmt.Sprintf(`revoke usage on schema types, app from %s, public; grant usage on schema app to %s, %s`, o.bell, o.app, o.clerk))
		}
		clerk := o.connectAs(o.clerk)
		for _, table := range []string{"types.plain", "app.plain", "app.split"} {
			row := func(id int) string { return fmt.Sprintf(`(%d, 'sad', 'x', '(1,sad)', '[1,2]', '{glad}')`, id) }
			told := func(op string, id int, changed string) (all []string) {
				for _, scope := range []string{"m:sad", "s:x", "p:%281%2Csad%29", "r:%5B1%2C2%5D"} {
					line := fmt.Sprintf(`%s %s %s {"id":%d} for glad,x`, op, scope, table, id)
					if changed != "" {
						line += " changed " + changed
					}
					all = append(all, line+` data {"m":"sad","s":"x","p":"(1,sad)","r":"[1,2]","ms":["glad"]}`)
				}
				return all
			}
			insert := `insert into ` + table + ` (id, m, s, p, r, ms) values `
			o.expectOn(clerk, insert+row(1), told("insert", 1, "")...)
			o.expectOn(clerk, insert+row(2)+", "+row(3), append(told("insert", 2, ""), told("insert", 3, "")...)...)
			o.expectOn(clerk, `update `+table+` set x = 1 where id = 1`, told("update", 1, "x")...)
			o.execOn(conn, `alter table `+table+` add more types.mood`) // it has drifted, in what the feed does not name
			o.expectOn(clerk, `update `+table+` set x = 2 where id = 1`, told("update", 1, "x")...)
			o.execOn(conn, `alter table `+table+` drop x`)
			o.expectOn(clerk, insert+row(4), told("insert", 4, "")...)
			o.execOn(clerk, `delete from `+table+` where id = 1`, `delete from `+table)
			o.execOn(conn, `alter table `+table+` drop m`)
			o.expectOn(clerk, `insert into `+table+` (id, s) values (5, 'x')`, `reset `+table+` definition changed`)
		}
		o.expectOn(clerk, `insert into app.key values ('sad', 1)`, `insert k:sad app.key {"m":"sad"}`)
		o.expectOn(clerk, `update app.key set x = 2`, `update k:sad app.key {"m":"sad"} changed x`)
	}
}
