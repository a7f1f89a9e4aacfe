package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// When doctor speaks up; variables for tests.
var (
	oldJournal      = 24 * time.Hour
	longTransaction = time.Hour
)

// checkQueue looks how full the server's notification queue is. The oldest transaction
// of a session that listens holds it up; the server does not say which sessions listen.
func checkQueue(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var used float64
	if err := tx.QueryRow(ctx, "select pg_notification_queue_usage()").Scan(&used); err != nil {
		return nil, err
	}
	return []finding{queueFinding(used)}, nil
}

func queueFinding(used float64) finding {
	f := finding{fine, "notification queue", fmt.Sprintf("%.0f %% full", used*100), ""}
	if used > 0.1 {
		f.Level, f.Words = warning, f.Words+": a session that listens sits in a transaction, likely the oldest of these"
		f.Remedy = "select pid, datname, usename, application_name, state, xact_start from pg_stat_activity where xact_start is not null order by xact_start limit 5; -- then end it: select pg_terminate_backend(PID)"
	}
	if used > 0.5 {
		f.Level, f.Words = problem, f.Words+"; durable feeds have stopped ringing, and once it is full, commits that notify fail"
	}
	return f
}

// checkJournal looks whether the journal is kept from growing.
func checkJournal(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var (
		size string
		age  time.Duration
	)
	err := tx.QueryRow(ctx, `
		select pg_size_pretty(pg_total_relation_size('pgbell.journal_0') + pg_total_relation_size('pgbell.journal_1')),
			clock_timestamp() - coalesce((select min(j.at) from pgbell.journal j), clock_timestamp())`).Scan(&size, &age)
	if err != nil {
		return nil, err
	}
	all := []finding{{fine, "journal", fmt.Sprintf("%s, back to %v ago", size, age.Round(time.Second)), ""}}
	if age > oldJournal {
		all = []finding{{warning, "journal", all[0].Words + ": nobody truncates it. A pgbell serve does that, as long as its role may; by hand it takes some steps, each when it is due",
			"select pgbell.rotate();"}}
	}
	// A transaction that has an id may have written to the journal.
	rows, err := tx.Query(ctx, `
		select pid, usename, application_name, since from (
			select a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), clock_timestamp() - a.xact_start
			from pg_stat_activity a where a.backend_xid is not null and a.pid <> pg_backend_pid()
		) a (pid, usename, application_name, since)
		where since > $1 order by since desc limit 3`, longTransaction)
	if err != nil {
		return all, err
	}
	var (
		pid       int
		user, app string
		since     time.Duration
	)
	_, err = pgx.ForEachRow(rows, []any{&pid, &user, &app, &since}, func() error {
		all = append(all, finding{warning, "journal", fmt.Sprintf("a transaction of %s (%s) has been open for %v: until it ends nothing is truncated", user, app, since.Round(time.Second)),
			fmt.Sprintf("select pg_terminate_backend(%d);", pid)})
		return nil
	})
	return all, err
}

// checkListeners counts the servers.
func checkListeners(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	var n int
	if err := tx.QueryRow(ctx, `select count(*) from pg_stat_activity
		where application_name = 'pgbell' and datname = current_database() and pid <> pg_backend_pid()`).Scan(&n); err != nil {
		return nil, err
	}
	if n == 0 {
		return []finding{{note, "listeners", "no server listens to this database now", "pgbell serve"}}, nil
	}
	return []finding{{fine, "listeners", fmt.Sprintf("%d connected", n), ""}}, nil
}

// checkClock compares the database's clock with this machine's.
func checkClock(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	before := time.Now()
	var theirs time.Time
	if err := tx.QueryRow(ctx, "select clock_timestamp()").Scan(&theirs); err != nil {
		return nil, err
	}
	took := time.Since(before)
	return []finding{clockFinding(theirs.Sub(before.Add(took/2)), took)}, nil
}

// clockFinding looks at how far the clocks are apart, where the answer took a while.
func clockFinding(apart, took time.Duration) finding {
	if apart = apart.Abs(); apart > 2*time.Second+took {
		return finding{warning, "clock", fmt.Sprintf("the database's is %v off this machine's: lag metrics are wrong by that, and tokens may end early or late", apart.Round(time.Second)),
			"timedatectl set-ntp true # on the machine that is wrong"}
	}
	return finding{fine, "clock", "agrees with this machine's", ""}
}
