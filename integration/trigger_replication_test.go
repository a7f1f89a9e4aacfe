package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Logical replication fires row triggers only: each applied row is heard, once.
func TestTriggerReplicatedRowsAreHeardOnce(t *testing.T) {
	publisher, subscriber := newTriggerDB(t), newTriggerDB(t)
	if publisher.ask("current_setting('wal_level')") != "logical" {
		t.Skip("the server's wal_level is not logical")
	}
	const tables = `create table t (id int primary key, title text, owner text);
		create table q (id int, title text, primary key (id)) partition by range (id);
		create table q1 partition of q for values from (0) to (100);`
	const attach = `select pgbell.attach('t', array['t'], audience => array['owner'], payload => array['title']),
		pgbell.attach('q', array['q'], payload => array['title'])`
	publisher.exec(tables, `insert into t values (0, 'before', 'ann')`,
		`create publication p for table t, q with (publish_via_partition_root = true)`)
	subscriber.exec(tables, attach)
	since := subscriber.since()
	subscribe(publisher, subscriber)

	publisher.exec(
		`insert into t values (1, 'a', 'ann'), (2, 'b', 'bob')`,
		`update t set title = 'c' where id = 1`,
		`update t set owner = 'eve' where id = 2`,
		`begin; delete from t where id = 1; insert into q values (1, 'x'); update q set title = 'y'; commit`,
		`truncate t`)
	var got []string
	subscriber.await("what was replicated", func() bool {
		got = lines(subscriber.records(since))
		return len(got) > 0 && got[len(got)-1] == "reset public.t truncate"
	})
	subscriber.same(got,
		`insert t public.t {"id":0} for ann data {"title":"before"}`, // the first copy of the table
		`insert t public.t {"id":1} for ann data {"title":"a"}`,
		`insert t public.t {"id":2} for bob data {"title":"b"}`,
		`update t public.t {"id":1} for ann changed title data {"title":"c"}`,
		`update moved out t public.t {"id":2} for bob`,
		`update moved in t public.t {"id":2} for eve changed owner data {"title":"b"}`,
		`delete t public.t {"id":1} for ann data {"title":"c"}`,
		`insert q public.q {"id":1} data {"title":"x"}`,
		`update q public.q {"id":1} changed title data {"title":"y"}`,
		`reset public.t truncate`)
	if state := subscriber.ask(`select string_agg(distinct state, '') from pgbell.feeds`); state != "ok" {
		t.Error(state)
	}
}

// subscribe makes subscriber follow publisher's publication p, and returns once
// the tables are copied. A subscription within one server would wait for itself
// were its slot not made beforehand.
func subscribe(publisher, subscriber *triggerDB) {
	subscriber.Helper()
	slot := publisher.ask("current_database()")
	publisher.exec(fmt.Sprintf(`select pg_create_logical_replication_slot('%s', 'pgoutput')`, slot))
	config, err := pgx.ParseConfig(publisher.url)
	if err != nil {
		subscriber.Fatal(err)
	}
	// As the server sees itself, which may be in a container.
	conninfo := fmt.Sprintf("host=%s port=%s user=%s password=''%s'' dbname=%s",
		publisher.ask(`split_part(current_setting('unix_socket_directories'), ',', 1)`), publisher.ask(`current_setting('port')`),
		config.User, config.Password, config.Database)
	subscriber.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), subscriber.url)
		if err != nil {
			subscriber.Error(err)
			return
		}
		defer conn.Close(context.Background())
		for _, s := range []string{`alter subscription s disable`, `drop subscription s`} {
			if err := tryExec(context.Background(), conn, s); err != nil {
				subscriber.Errorf("%s: %v", s, err)
			}
		}
	})
	subscriber.exec(fmt.Sprintf(`create subscription s connection '%s' publication p with (create_slot = false, slot_name = '%s')`, conninfo, slot))
	subscriber.await("the first copy", func() bool {
		return subscriber.ask(`select count(*) filter (where srsubstate <> 'r') || '/' || count(*) from pg_subscription_rel`) == "0/2"
	})
}

// await waits until something is so, which it asks the server again and again.
func (d *triggerDB) await(what string, ok func() bool) {
	d.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			d.Fatalf("still waiting for %s", what)
		}
		d.exec(`select pg_sleep(0.01)`)
	}
}

func TestTriggerReplicaRoleIsHeard(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks, `set session_replication_role = replica`)
	d.expect(`insert into tasks values (1, 7, 'ann', 'a')`,
		`insert tasks public.tasks {"id":1} for ann`, `insert project:7 public.tasks {"id":1} for ann`)
	d.expect(`update tasks set title = 'b', project_id = 8`,
		`update moved out project:7 public.tasks {"id":1} for ann`,
		`update tasks public.tasks {"id":1} for ann changed project_id,title`,
		`update moved in project:8 public.tasks {"id":1} for ann changed project_id,title`)
	d.expect(`update tasks set title = 'b'`)
	d.expect(`delete from tasks`,
		`delete tasks public.tasks {"id":1} for ann`, `delete project:8 public.tasks {"id":1} for ann`)
	d.expect(`truncate tasks`, `reset public.tasks truncate`)
	d.exec(`set session_replication_role = local`)
	d.expect(`insert into tasks values (1)`, `insert tasks public.tasks {"id":1} for `)
}
