package integration

import (
	"fmt"
	"strings"
	"testing"
)

// Two that attach clean up the same dropped table's feed, each behind the lock of its own
// table: neither waits for the other, nor do writers.
func TestTriggerAttachesDoNotWaitForEachOther(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table gone (id int primary key); create table a (id int primary key); create table b (id int primary key); create table lost (id int)`,
		`select pgbell.attach('gone', array['gone']), pgbell.attach('lost', array['lost'])`, `select pgbell.detach('lost')`, `drop table gone, lost`)
	one, two := d.connect(), d.connect()
	d.execOn(one, `begin`, `select pgbell.attach('a', array['a'])`)
	d.execOn(two, `set statement_timeout = '1min'`, `begin`, `select pgbell.attach('b', array['b'])`, `commit`)
	d.exec(`set statement_timeout = '1min'; insert into b values (1)`)
	d.execOn(one, `commit`)
	if got := d.column(`select table_name || ' ' || state from pgbell.feeds`); strings.Join(got, ", ") != "public.a ok, public.b ok" {
		t.Errorf("feeds: %s", got)
	}
	if got := d.ask(`select count(*) from pgbell.detached`); got != "0" {
		t.Errorf("%s tables that were dropped are noted as detached", got)
	}
	// Both roll back: what they left is cleaned up by the next.
	d.exec(`drop table b`)
	d.execOn(one, `begin`, `select pgbell.attach('a', array['a'])`, `rollback`)
	d.exec(`select pgbell.attach('a', array['a'])`)
	d.same(d.column(`select table_name from pgbell.feeds`), "public.a")
}

// Whatever attach and detach wait for once they hold the table, they wait no longer than
// they say: its writers wait behind them. And the session's own limit is as it was.
func TestTriggerAttachKeepsItsLimitWhileItHoldsTheTable(t *testing.T) {
	for _, limit := range []string{"0", "50ms", "7s"} {
		for call, prepare := range map[string]string{
			`select pgbell.attach('a', array['a'])`: ``,
			`select pgbell.detach('a')`:             `select pgbell.attach('a', array['a'])`,
			// Its triggers become others, for which it needs a stronger lock than before.
			`select pgbell.attach('a', array['b'])`: `select pgbell.attach('a', array['a']); create table child () inherits (a)`,
		} {
			d := newTriggerDB(t)
			d.exec(`create table a (id int primary key); create table other (id int primary key)`, prepare)
			other := d.connect()
			block := `begin; lock table pgbell.feed in share row exclusive mode`
			if strings.Contains(prepare, "child") {
				block = `begin; select from a`
			}
			d.execOn(other, block)
			d.exec(fmt.Sprintf(`set lock_timeout = '%s'; set statement_timeout = '1min'`, limit))
			err := tryExec(t.Context(), d.writer, call)
			if err == nil || !strings.Contains(err.Error(), "55P03") {
				t.Errorf("%s with lock_timeout %s: %v", call, limit, err)
			}
			d.execOn(other, `rollback`)
			d.exec(call)
			if got := d.ask(`select current_setting('lock_timeout')`); got != limit {
				t.Errorf("%s: lock_timeout was %s and is %s", call, limit, got)
			}
		}
	}
}
