package copies

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A publication of all tables has pgbell's, too: the subscriber tells what is written to
// its tables, once, by its own feeds, and loses nothing when the publisher's journal
// rotates.
func TestPublicationOfAllTablesLeavesTheSubscribersJournalAlone(t *testing.T) {
	publisher, d := open(t, original.Database(t)), open(t, original.Database(t))
	d.exec(`truncate posts, notes, parts`, `select pgbell.attach('notes', array['notes'], audience => array['body'])`) // tighter here
	d.serve()
	d.heard()
	publisher.exec(`create publication p for all tables`)
	subscribe(publisher, d, "p")
	for _, event := range d.heard() { // the first copy of the tables: of notes nobody hears
		if event != `: insert posts {"id":1}` && event != `: insert posts {"id":2}` && event != `: insert post:1 {"id":1}` && event != `: insert parts {"id":1}` &&
			event != `ann: insert posts {"id":1}` && event != `ann: insert posts {"id":2}` && event != `ann: insert post:1 {"id":1}` && event != `ann: insert parts {"id":1}` {
			t.Errorf("of the first copy: heard %q", event)
		}
	}
	before := d.ask(`select string_agg(f::text, ' ' order by f.id) from pgbell.feed f`) + d.ask(`select s::text from pgbell.journal_state s`)

	told := 0
	for round := range 4 {
		publisher.exec(fmt.Sprintf(`insert into posts values (%d)`, 100+round), `insert into notes values (`+fmt.Sprint(100+round)+`, 'ann', 'bob')`,
			`update pgbell.journal_state set quiet_at = '-infinity' where quiet_at is not null`)
		for range 4 { // a truncation, a switch
			publisher.exec(`select pgbell.rotate('0')`)
		}
		d.exec(fmt.Sprintf(`insert into posts values (%d)`, 200+round)) // its own
		d.awaitReplay(publisher)
		for _, event := range d.heard() {
			switch event {
			case fmt.Sprintf(`: insert posts {"id":%d}`, 100+round), fmt.Sprintf(`: insert posts {"id":%d}`, 200+round):
				told++
			case fmt.Sprintf(`ann: insert posts {"id":%d}`, 100+round), fmt.Sprintf(`ann: insert posts {"id":%d}`, 200+round):
			default:
				t.Errorf("heard %q", event)
			}
		}
	}
	if told != 8 {
		t.Errorf("of 8 posts the anonymous heard %d", told)
	}
	if truncated := publisher.ask(`select (floor > '0')::text from pgbell.journal_state`); truncated != "true" {
		t.Error("the publisher's journal was never truncated")
	}
	after := d.ask(`select string_agg(f::text, ' ' order by f.id) from pgbell.feed f`)
	if before[:len(after)] != after {
		t.Errorf("the subscriber's feeds were\n%s\nand are\n%s", before, after)
	}
	d.allOK("big", "notes", "parts", "posts")
}

// What is not read yet when the publisher's TRUNCATE comes is read all the same.
func TestTruncatedHalfIsKept(t *testing.T) {
	d := open(t, original.Database(t))
	d.serve()
	d.heard()
	for half := range 2 {
		var cursor string
		d.exec(fmt.Sprintf(`insert into posts values (%d)`, 60+half))
		cursor = d.ask(`select pgbell.cursor()`)
		d.exec(fmt.Sprintf(`begin; insert into posts values (%d); set local session_replication_role = replica; truncate pgbell.journal_%d; commit`, 70+half, half))
		if n := d.ask(`select count(*)::text from pgbell.journal where facts[1] = '` + fmt.Sprint(70+half) + `'`); n != "1" {
			t.Errorf("the journal has it %s times, after %s", n, cursor)
		}
		want := map[string]bool{fmt.Sprintf(`: insert posts {"id":%d}`, 60+half): true, fmt.Sprintf(`: insert posts {"id":%d}`, 70+half): true}
		for _, event := range d.heard() {
			delete(want, event)
		}
		if len(want) > 0 {
			t.Errorf("not heard: %v", want)
		}
	}
}

// A restore of data alone may enable all triggers: the journal rotates all the same, and
// migrate puts that right.
func TestJournalRotatesWithAllItsTriggersEnabled(t *testing.T) {
	d := open(t, original.Database(t))
	for half := range 2 {
		d.exec(fmt.Sprintf(`alter table pgbell.journal_%d enable trigger all`, half))
	}
	d.exec(`alter table pgbell.feed enable trigger all`, `insert into posts values (61)`, `select pgbell.attach('posts', array['posts'])`)
	const left = `select (count(*) = 0)::text from pgbell.journal where facts[1] = '61'`
	if d.ask(left) != "false" {
		t.Error("the journal has not what was written")
	}
	for step := 0; d.ask(left) != "true"; step++ {
		if step == 1000 {
			t.Fatal("the journal is never truncated")
		}
		d.exec(`update pgbell.journal_state set quiet_at = '-infinity' where quiet_at is not null`, `select pgbell.rotate('0')`)
	}
	d.migrate()
	if n := d.ask(`select count(*)::text from pg_trigger where tgname in ('keep_in', 'keep_out') and tgenabled <> 'R'`); n != "0" {
		t.Errorf("%s triggers are not for replicas alone", n)
	}
}

// subscribe makes d follow a publication of publisher, and returns once the tables are
// copied. A subscription within one server would wait for itself were its slot not made
// beforehand.
func subscribe(publisher, d *database, publication string) {
	d.Helper()
	slot := publisher.ask("select current_database()::text")
	publisher.exec(fmt.Sprintf(`select pg_create_logical_replication_slot('%s', 'pgoutput')`, slot))
	config, err := pgx.ParseConfig(publisher.url)
	if err != nil {
		d.Fatal(err)
	}
	// As the server sees itself.
	conninfo := fmt.Sprintf("host=%s port=%s user=%s password=''%s'' dbname=%s",
		publisher.ask(`select split_part(current_setting('unix_socket_directories'), ',', 1)`), publisher.ask(`select current_setting('port')`),
		config.User, config.Password, config.Database)
	d.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), d.url)
		if err != nil {
			d.Error(err)
			return
		}
		defer conn.Close(context.Background())
		for _, s := range []string{`alter subscription s disable`, `drop subscription s`} {
			if _, err := conn.Exec(context.Background(), s); err != nil {
				d.Errorf("%s: %v", s, err)
			}
		}
	})
	d.exec(fmt.Sprintf(`create subscription s connection '%s' publication %s with (create_slot = false, slot_name = '%s')`, conninfo, publication, slot))
	d.wait("the first copy", `select (count(*) > 0 and bool_and(srsubstate = 'r'))::text from pg_subscription_rel`)
}

// awaitReplay waits until d has applied all that publisher has written.
func (d *database) awaitReplay(publisher *database) {
	d.Helper()
	here := publisher.ask(`select pg_current_wal_flush_lsn()::text`)
	publisher.exec(`create table if not exists nudge (); select pg_logical_emit_message(true, 'nudge', '')`)
	publisher.wait("replication", fmt.Sprintf(`select coalesce(bool_or(confirmed_flush_lsn >= '%s'), false)::text from pg_replication_slots where slot_name = current_database()`, here))
}

// wait waits until a question is answered by true.
func (d *database) wait(what, question string) {
	d.Helper()
	for deadline := time.Now().Add(patience); d.ask(question) != "true"; {
		if time.Now().After(deadline) {
			d.Fatalf("still waiting for %s", what)
		}
		d.ask(`select pg_sleep(0.01)::text`)
	}
}
