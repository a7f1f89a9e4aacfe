//go:build linux

package main

import (
	"context"
	"fmt"
)

// ownRow draws the id of a row that no other of 16 clients draws, so that nobody
// waits for another's row and no insert finds its key taken.
const ownRow = "1 + :client_id + 16 * random(0, :rows / 16 - 1)"

const texts = "rpad('' || :k, 119, '-0123456789'), rpad('' || :k, 59, '-0123456789')"

// oltp are scripts such as those of sysbench: its table, its statements and their number in
// a transaction, from src/lua/oltp_common.lua. What it draws at random is shorter here.
var oltp = []struct {
	key, name string
	least     float64 // of bare's
	script    string
}{
	{"oltp-insert", "as sysbench's oltp_insert", 0.65,
		"\\set k random(1, :rows)\ninsert into sbtest (k, c, pad) values (:k, " + texts + ");\n"},
	{"oltp-update-index", "as sysbench's oltp_update_index", 0.65,
		"\\set id " + ownRow + "\nupdate sbtest set k = k + 1 where id = :id;\n"},
	{"oltp-write-only", "as sysbench's oltp_write_only", 0.75,
		"\\set a " + ownRow + "\n\\set b " + ownRow + "\n\\set d " + ownRow + "\n\\set k random(1, :rows)\nbegin;\n" +
			"update sbtest set k = k + 1 where id = :a;\n" +
			"update sbtest set c = rpad('' || :k, 119, '-0123456789') where id = :b;\n" +
			"delete from sbtest where id = :d;\n" +
			"insert into sbtest (id, k, c, pad) values (:d, :k, " + texts + ");\ncommit;\n"},
}

// sbtest is told how many rows it has.
const sbtest = `create table sbtest (id serial primary key, k integer not null default 0, c char(120) not null default '', pad char(60) not null default '');
	create index on sbtest (k);
	insert into sbtest (k, c, pad) select 1 + n * 7919 %% %[1]d, rpad('' || n, 119, '-0123456789'), rpad('' || n, 59, '-0123456789') from generate_series(1, %[1]d) n`

// sysbench measures loads such as sysbench's, from some writers.
func (w *world) sysbench(ctx context.Context, r *report) error {
	stop, err := w.prepareWriters(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, name := range three {
		if err := w.addTable(ctx, name, "sbtest", fmt.Sprintf(sbtest, w.plan.rows), "array['k:{k}', 'row:{id}']"); err != nil {
			return err
		}
	}
	for _, load := range oltp {
		tps, err := w.tps(ctx, three, min(3, w.plan.rounds), writing{script: load.script, clients: w.plan.writers, seconds: w.plan.seconds})
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, figure{
			Key: load.key, Name: fmt.Sprintf("%s, %d clients", load.name, w.plan.writers), Unit: "transactions/s", Bare: tps[bare], Naive: tps[naive], Pgbell: tps[pgbell],
		}.judge(bare, atLeast(load.least)))
	}
	return nil
}
