//go:build unix

package listener

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// BenchmarkCatchUp is one reading of 20,000 changes, each a transaction of its own, of a
// table with two scopes and an owner: nobody hears of them, or each goes to a stream of
// its own. Its time is Postgres' too, and the CPU this process's alone.
func BenchmarkCatchUp(b *testing.B) {
	const changes = 20_000
	for _, streams := range []int{0, changes} {
		b.Run(fmt.Sprint(streams), func(b *testing.B) {
			w := start(b, example.Database(b), options{})
			w.exec("create table jobs (id bigint primary key, project int not null, owner text, title text, done boolean not null default false)")
			w.exec("select pgbell.attach('jobs', array['project:{project}', 'job:{id}'], audience => array['owner'])")
			w.exec("insert into jobs select n, n, 'ann', 'a job' from generate_series(1, $1) n", changes)
			w.stop()

			var subs []*bus.Subscription
			for i := range streams {
				scope := fmt.Sprint("project:", i+1)
				subs = append(subs, w.bus.Subscribe([]string{scope}, bus.Options{Connection: &bus.Connection{UserID: "ann"}}))
			}
			conn, err := w.l.connect(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer w.l.close(conn)
			s := &session{Listener: w.l, conn: conn, reader: journal.Reader{DB: conn, Definitions: &w.l.definitions}}
			s.cursor = journal.Cursor{} // before the first reading, which finds what the next ones may build on
			if err := s.catchUp(b.Context()); err != nil {
				b.Fatal(err)
			}
			since := s.cursor
			w.exec(fmt.Sprintf("do $$begin for i in 1..%d loop update jobs set done = not done where id = i; commit; end loop; end$$", changes))

			b.ReportAllocs()
			cpu := time.Duration(0)
			for b.Loop() {
				s.cursor = since
				before := cpuTime(b)
				if err := s.catchUp(b.Context()); err != nil {
					b.Fatal(err)
				}
				for _, sub := range subs {
					if sub.TryTake() == nil {
						b.Fatal("a change did not come")
					}
				}
				cpu += cpuTime(b) - before
			}
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N*changes), "cpu-ns/change")
		})
	}
}

// cpuTime returns what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
