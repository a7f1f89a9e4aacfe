package integration

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pgbell/pgbell/journal"
)

// rotates fails the test unless rotations one after the other say just this.
func (d *triggerDB) rotates(want ...string) {
	d.Helper()
	for i, w := range want {
		if got := d.askOn(d.reader, `pgbell.rotate('0')`); got != w {
			d.Fatalf("rotation %d of %q: %s", i+1, want, got)
		}
	}
}

// gap reads since a cursor and returns what keeps it from that.
func (d *triggerDB) gap(since journal.Cursor) error {
	_, _, err := journal.Read(d.Context(), d.reader, since, func(*journal.Record) error { return nil })
	return err
}

func newRotating(t *testing.T) *triggerDB {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t'])`)
	return d
}

func TestTriggerRotationGoesStepByStep(t *testing.T) {
	d := newRotating(t)
	old := d.since()
	d.exec(`insert into t values (1)`)
	if got := d.ask(`pgbell.rotate()`); got != "fresh" { // for half an hour
		t.Errorf("at first: %s", got)
	}
	d.rotates("switched")
	middle := d.since()
	d.exec(`insert into t values (2)`)
	d.same(lines(d.records(old)), `insert t public.t {"id":1}`, `insert t public.t {"id":2}`)
	d.rotates("waiting for transactions", "resting")
	if got := d.ask(`pgbell.rotate('1 hour')`); got != "resting" {
		t.Errorf("within the retention: %s", got)
	}
	d.same(lines(d.records(old)), `insert t public.t {"id":1}`, `insert t public.t {"id":2}`)
	d.rotates("truncated")
	if err := d.gap(old); !errors.Is(err, journal.GapRetention) {
		t.Errorf("since before what is gone: %v", err)
	}
	d.same(lines(d.records(middle)), `insert t public.t {"id":2}`)
	d.rotates("switched", "waiting for transactions", "resting", "truncated", "fresh", "fresh") // nothing was written since
	if got := d.ask(`select count(*) from pgbell.journal`); got != "0" {
		t.Errorf("%s records are left", got)
	}
	d.expect(`insert into t values (3)`, `insert t public.t {"id":3}`)
}

// Whatever writes to the journal writes to the slot whose turn it is: what got into the
// other would go with what is truncated there.
func TestTriggerRotationTakesAllWritersAlong(t *testing.T) {
	d := newRotating(t)
	d.exec(`insert into t values (0)`)
	for slot := 1; slot >= 0; slot-- {
		d.rotates("switched")
		for _, statement := range []string{
			`insert into t values (1)`, `update t set id = 7 where id = 1`, `delete from t where id = 7`, // one row, moved too
			`insert into t select generate_series(10, 999)`, `delete from t`, `truncate t`,
			`select pgbell.publish('a')`, `select pgbell.disconnect('ann')`, `select pgbell.attach('t', array['t'])`,
		} {
			const count = `(select count(*) from pgbell.journal where tableoid = 'pgbell.journal_%d'::regclass)`
			counts := func() [2]string {
				return [2]string{d.ask(fmt.Sprintf(count, slot)), d.ask(fmt.Sprintf(count, 1-slot))}
			}
			before := counts()
			d.exec(statement)
			if after := counts(); after[0] == before[0] || after[1] != before[1] {
				t.Errorf("%s: from %v to %v records in the slot that is written and the other", statement, before, after)
			}
		}
		d.rotates("waiting for transactions", "resting", "truncated")
	}
}

// A transaction that may have written to a slot keeps it from its rest, however long
// it takes, in whatever database it is.
func TestTriggerRotationWaitsForWriters(t *testing.T) {
	d := newRotating(t)
	before := d.since()
	long := d.connect()
	d.execOn(long, `begin`, `insert into t values (1)`)
	d.exec(`insert into t values (2)`)
	d.rotates("switched", "waiting for transactions", "waiting for transactions", "waiting for transactions")
	d.execOn(long, `insert into t values (3)`, `commit`)
	d.same(lines(d.records(before)), `insert t public.t {"id":1}`, `insert t public.t {"id":2}`, `insert t public.t {"id":3}`)
	d.rotates("resting", "truncated")
	if got := d.ask(`select string_agg(facts::text, ' ') from pgbell.journal`); got != `{3}` {
		t.Errorf("left are %s", got)
	}
}

// Nor does it rest by steps of one transaction: a writer that began after that may have
// looked up the slot before the switch.
func TestTriggerRotationRestsByStepsOfItsOwn(t *testing.T) {
	d := newRotating(t)
	d.exec(`insert into t values (1)`)
	d.execOn(d.reader, `begin`)
	d.rotates("switched", "waiting for transactions", "waiting for transactions")
	d.execOn(d.reader, `commit`)
	d.execOn(d.reader, `begin`, `create table x ()`)
	d.rotates("waiting for transactions", "waiting for transactions")
	d.execOn(d.reader, `commit`)
	if got := d.ask(`select fence from pgbell.journal_state`); got != "<null>" {
		t.Errorf("a transaction that had an id already set fence %s", got)
	}
	d.rotates("waiting for transactions", "resting", "truncated")
}

// A switch that was rolled back can't be: what was written meanwhile is there, and keeps
// the slot from its rest as if it had not been.
func TestTriggerRotationKeepsASwitchThatWasRolledBack(t *testing.T) {
	d := newRotating(t)
	before := d.since()
	long := d.connect()
	d.execOn(long, `begin`, `insert into t values (1)`)
	d.exec(`insert into t values (2)`)
	d.execOn(d.reader, `begin`)
	d.rotates("switched")
	d.execOn(d.reader, `rollback`)
	d.exec(`insert into t values (3)`)
	d.rotates("switched", "waiting for transactions", "waiting for transactions")
	d.execOn(long, `commit`)
	d.same(lines(d.records(before)), `insert t public.t {"id":1}`, `insert t public.t {"id":2}`, `insert t public.t {"id":3}`)
	d.rotates("resting", "truncated")
	if got := d.ask(`select string_agg(facts::text, ' ') from pgbell.journal`); got != `{3}` {
		t.Errorf("left are %s", got)
	}
}

// The slot and until when to ring are in one sequence: who changes one of them leaves the
// other as it is, and waits for who changes that.
func TestTriggerRotationAndArmingLeaveEachOther(t *testing.T) {
	d := newRotating(t)
	is := func(when, want string) {
		t.Helper()
		if got := d.ask(`select last_value & 1 || ' ' || (pgbell.armed() is true) from pgbell.gate`); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	is("at first", "0 false")
	d.exec(`select pgbell.arm('a', '30 s')`)
	is("armed", "0 true")
	d.exec(`insert into t values (1)`)
	d.rotates("switched")
	is("switched", "1 true")
	d.exec(`select pgbell.arm('a', '0')`)
	is("disarmed", "1 false")
	d.exec(`select pgbell.arm('a', '30 s'), pgbell.arm('b', '30 s'), pgbell.arm('a', '0')`)
	is("b is left", "1 true")
	d.exec(`insert into t values (2)`)
	d.rotates("waiting for transactions", "resting", "truncated")
	d.exec(`begin; select pgbell.arm('b', '0')`)
	d.rotates("busy")
	d.exec(`commit`)
	is("disarmed meanwhile", "1 false")
	d.rotates("switched")
	is("back", "0 false")
	d.expect(`insert into t values (3)`, `insert t public.t {"id":3}`)
}

// One who reads keeps it from truncating, and isn't waited for: nobody waits behind.
func TestTriggerRotationDoesNotWaitForReaders(t *testing.T) {
	d := newRotating(t)
	d.exec(`insert into t values (1)`)
	d.rotates("switched", "waiting for transactions", "resting")
	long := d.connect()
	d.execOn(long, `begin`, `select from pgbell.journal`)
	d.rotates("waiting for readers") // and doesn't wait until the commit, which comes later
	d.expect(`insert into t values (2)`, `insert t public.t {"id":2}`)
	d.execOn(long, `commit`)
	d.execOn(d.reader, `begin`)
	d.rotates("truncated")
	if got := d.askOn(d.reader, `current_setting('lock_timeout')`); got != "0" {
		t.Errorf("lock_timeout is left at %s", got)
	}
	d.execOn(d.reader, `commit`)
}

func TestTriggerRotationInTwoSessionsAtOnce(t *testing.T) {
	d := newRotating(t)
	d.exec(`insert into t values (1)`)
	other := d.connect()
	d.execOn(other, `begin`)
	if got := d.askOn(other, `pgbell.rotate('0')`); got != "switched" {
		t.Fatal(got)
	}
	d.rotates("busy", "busy")
	d.expect(`insert into t values (2)`, `insert t public.t {"id":2}`)
	d.execOn(other, `commit`)
	d.rotates("waiting for transactions")
	// A switch that was rolled back can't be: what was written meanwhile is there.
	d.execOn(other, `begin`)
	d.askOn(other, `pgbell.rotate('0')`)
	d.execOn(other, `rollback`)
	d.rotates("resting")
}
