// Package copies makes copies of a database with attached tables, whole and in part, with
// PostgreSQL's own tools, and looks at what pgbell makes of them: no write fails there,
// nobody hears what is not theirs, nothing is heard twice or again and again, and what is
// wrong is said, with what to do.
//
// A copy is made on the server of the original or, if PGBELL_COPY_BIN names the directory
// of another version's binaries, on one of those.
package copies

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/triggers"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is after how long without what must come a test gives up. It is no measure of speed.
const patience = 5 * time.Minute

// tables are those of the original, attached before their rows are written.
const tables = `
create table posts (id int primary key, title text);
create table notes (id int primary key, owner text, body text);
create table big (id int primary key, x text);
create table parts (id int primary key, x text) partition by range (id);
create table parts_1 partition of parts for values from (0) to (100);
` + attach + `
insert into posts values (1, 'a'), (2, 'b');
insert into notes values (1, 'ann', 'secret');
insert into parts values (1, 'x')`

const attach = `
select pgbell.attach('posts', array['posts', 'post:{id}']), pgbell.attach('big', array['big']),
	pgbell.attach('notes', array['notes'], audience => array['owner', 'team:{body}'], payload => array['body'], regroup => 'owner'),
	pgbell.attach('parts', array['parts']);`

var original = pgtest.Template{Make: func(ctx context.Context, url string) error {
	if err := pgtest.Migrate(ctx, url); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.PgConn().Exec(ctx, tables).ReadAll()
	return err
}}

// database is one of a test, with a superuser's session.
type database struct {
	testing.TB
	url  string
	conn *pgx.Conn

	listener *listener.Listener
	ears     map[string]*bus.Subscription // by user; empty: anonymous
	fence    int
}

func open(t testing.TB, url string) *database {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return &database{TB: t, url: url, conn: conn}
}

// exec runs statements, each a transaction of its own.
func (d *database) exec(statements ...string) {
	d.Helper()
	for _, s := range statements {
		if _, err := d.conn.PgConn().Exec(d.Context(), s).ReadAll(); err != nil {
			d.Fatalf("%s: %v", s, err)
		}
	}
}

// ask returns the first column of what a query gives, as text, a line for each row.
func (d *database) ask(query string) string {
	d.Helper()
	rows, err := d.conn.Query(d.Context(), query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		d.Fatalf("%s: %v", query, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (text string, err error) {
		return text, row.Scan(&text)
	})
	if err != nil {
		d.Fatalf("%s: %v", query, err)
	}
	return strings.Join(all, "\n")
}

// migrate does as the command does.
func (d *database) migrate() {
	d.Helper()
	if err := pgtest.Migrate(d.Context(), d.url); err != nil {
		d.Fatal(err)
	}
}

// states fails the test unless the feeds' states begin so, in the order of their tables.
func (d *database) states(want ...string) {
	d.Helper()
	feeds, err := triggers.List(d.Context(), d.conn)
	if err != nil {
		d.Fatal(err)
	}
	var got []string
	for _, f := range feeds {
		got = append(got, f.Table+": "+f.State)
	}
	if len(got) != len(want) {
		d.Errorf("the feeds are %q, want %q", got, want)
		return
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			d.Errorf("the feeds are %q, want %q", got, want)
		}
	}
}

// allOK fails the test unless these tables are attached, no others, and nothing is wrong.
func (d *database) allOK(names ...string) {
	d.Helper()
	var want []string
	for _, name := range names {
		want = append(want, "public."+name+": ok")
	}
	d.states(want...)
}

// serve listens to the database until the test ends, for the anonymous and for ann, who need not be there yet.
func (d *database) serve() {
	d.Helper()
	conf, err := pgx.ParseConfig(d.url)
	if err != nil {
		d.Fatal(err)
	}
	b, err := bus.New(bus.Config{QueueSize: 1 << 16})
	if err != nil {
		d.Fatal(err)
	}
	if d.listener, err = listener.New(conf, b, listener.Config{}); err != nil {
		d.Fatal(err)
	}
	d.ears = map[string]*bus.Subscription{}
	for _, user := range []string{"", "ann"} {
		opts := bus.Options{}
		if user != "" {
			opts.Connection = &bus.Connection{UserID: user}
		}
		d.ears[user] = b.Subscribe([]string{"posts", "post:1", "notes", "big", "parts", "fence"}, opts)
		d.Cleanup(d.ears[user].Close)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	enough := errors.New("the test is over")
	go func() { done <- d.listener.Run(ctx) }()
	d.Cleanup(sync.OnceFunc(func() {
		cancel(enough)
		if err := <-done; !errors.Is(err, enough) {
			d.Errorf("the listener ended with %v", err)
		}
	}))
}

// ready waits until the listener has read all that there is.
func (d *database) ready() {
	d.Helper()
	deadline := time.Now().Add(patience)
	for err := d.listener.Ready(); err != nil; err = d.listener.Ready() {
		if time.Now().After(deadline) {
			d.Fatalf("still not ready: %v", err)
		}
		d.ask(`select pg_sleep(0.01)::text`)
	}
}

// heard returns what was told since the last call, up to now: who, what, of what.
func (d *database) heard() []string {
	d.Helper()
	d.ready()
	d.fence++
	publish := fmt.Sprintf(`select pgbell.publish('fence', to_jsonb(%d))`, d.fence)
	d.exec(publish)
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	var all []string
	for _, user := range []string{"", "ann"} {
		for {
			e, err := d.ears[user].Next(ctx)
			if err != nil {
				d.Fatalf("waiting for what was published: %v, after %q", err, all)
			}
			if e.Scope == "fence" && string(e.Data) == fmt.Sprint(d.fence) {
				break
			}
			if e.Scope == "fence" {
				if e.Op == bus.OpReset { // it may have been lost
					d.exec(publish)
				}
				continue
			}
			all = append(all, line(user, e))
		}
	}
	return all
}

// replay returns why what happened since a cursor can't be told.
func (d *database) replay(cursor string) string {
	d.Helper()
	since, err := journal.ParseCursor(cursor)
	if err != nil {
		d.Fatal(err)
	}
	p, err := d.listener.Replay(d.Context(), since)
	if err != nil {
		d.Fatal(err)
	}
	return p.Reset
}

// await waits until something is told that begins so.
func (d *database) await(want string) {
	d.Helper()
	deadline := time.Now().Add(patience)
	for {
		for _, event := range d.heard() {
			if strings.HasPrefix(event, want) {
				return
			}
		}
		if time.Now().After(deadline) {
			d.Fatalf("still waiting for %q", want)
		}
		d.ask(`select pg_sleep(0.01)::text`)
	}
}

func line(user string, e bus.ChangeEvent) string {
	words := []string{user + ":", string(e.Op), e.Scope}
	if e.Key != nil {
		words = append(words, string(e.Key))
	}
	if e.Data != nil {
		words = append(words, string(e.Data))
	}
	if e.Reason != "" {
		words = append(words, e.Reason)
	}
	return strings.Join(words, " ")
}

// expect fails the test unless statements are told so.
func (d *database) expect(statements string, want ...string) {
	d.Helper()
	d.ready()
	d.exec(statements)
	if diff := cmp.Diff(want, d.heard()); diff != "" {
		d.Errorf("%s (-want +got):\n%s", statements, diff)
	}
}

// writes are of every kind that triggers know, to a table that has rows 1 and 2 at most.
func writes(table string) string {
	return strings.ReplaceAll(`insert into T values (11), (12); insert into T values (13);
		update T set id = id + 10 where id between 10 and 20; delete from T where id > 20`, "T", table)
}

// silent fails the test if a write to one of the tables fails, or is told. A minute after
// the last one comes the next reset of a feed with which something is wrong.
func (d *database) silent(names ...string) {
	d.Helper()
	for _, name := range names {
		d.ready()
		d.exec(writes(name))
		told := slices.DeleteFunc(d.heard(), func(event string) bool { return strings.HasSuffix(event, " definition changed") })
		if len(told) > 0 {
			d.Errorf("of writes to %s: heard %q", name, told)
		}
	}
}

// works fails the test unless each of the tables tells its rows, to those who may know.
func (d *database) works(names ...string) {
	d.Helper()
	for _, name := range names {
		switch name {
		case "notes":
			d.expect(`insert into notes values (31, 'ann', 'b'), (32, 'bob', 'c')`, `ann: insert notes {"id":31} {"body":"b"}`)
		default:
			var want []string
			for _, user := range []string{"", "ann"} {
				want = append(want, fmt.Sprintf(`%s: insert %s {"id":31}`, user, name))
			}
			d.expect(fmt.Sprintf(`insert into %s values (31)`, name), want...)
		}
	}
}

// empty makes an empty database for a copy.
func empty(t testing.TB) *database {
	t.Helper()
	bin := os.Getenv("PGBELL_COPY_BIN")
	if bin == "" {
		return open(t, pgtest.Database(t))
	}
	s, err := pgtemp.Start(t.Context(), pgtemp.Config{BinDir: bin, Settings: map[string]string{"fsync": "off", "wal_level": "logical"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return open(t, s.URL())
}

// tool runs one of PostgreSQL's programs and returns its output. Those of a newer version
// than the server's do, too.
func tool(t testing.TB, input, name string, args ...string) (output, complaints string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, name), args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

// program returns the path of one of PostgreSQL's programs.
func program(t testing.TB, name string) string {
	t.Helper()
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(pgtemp.FindBinDirs(), dirs...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: it comes with PostgreSQL, or its client package", name)
	}
	return path
}

// dump returns what pg_dump makes of the database.
func (d *database) dump(args ...string) string {
	d.Helper()
	out, errs := tool(d, "", "pg_dump", append(args, d.url)...)
	if errs != "" {
		d.Fatalf("pg_dump: %s", errs)
	}
	return out
}

// restore runs a dump and returns the errors that there were.
func (d *database) restore(dump string, args ...string) (errs []string) {
	d.Helper()
	_, said := tool(d, dump, "psql", append(args, "-X", "-q", "-o", os.DevNull, d.url)...)
	for line := range strings.Lines(said) {
		// A server that was built without it can't have it, and does not need it.
		if strings.Contains(line, "ERROR:") && !strings.Contains(line, "compression method lz4 not supported") {
			errs = append(errs, strings.TrimSpace(line))
		}
	}
	return errs
}

// restored restores a dump that has no errors into an empty database.
func restored(t testing.TB, dump string) *database {
	t.Helper()
	d := empty(t)
	if errs := d.restore(dump); errs != nil {
		t.Fatalf("psql: %q", errs)
	}
	return d
}

// named returns url with another database.
func named(t testing.TB, base, name string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
