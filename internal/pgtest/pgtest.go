// Package pgtest gives tests a real PostgreSQL: one server per test binary, a
// fresh database per test.
//
// The server comes from Docker by testcontainers-go where Docker answers, else
// from installed binaries, else from PGBELL_TEST_DATABASE_URL (a superuser's);
// which one is printed. PGBELL_TEST_SOURCE set to docker, binaries or url
// allows that one alone. Where there is none, tests fail: they are not skipped.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
package pgtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/pgbell/pgbell/internal/pgtemp"
)

// settings are those of every server that is started here.
var settings = map[string]string{
	"fsync":                     "off", // a test's data need not outlive the machine
	"full_page_writes":          "off",
	"max_connections":           "200",
	"max_prepared_transactions": "10",
	"wal_level":                 "logical",
}

var (
	inMain     atomic.Bool
	serverOnce sync.Once
	server     source
	serverErr  error
)

// Main runs the tests of a package, stops the server that they shared, and
// fails if they left a goroutine running. It does not return.
func Main(m *testing.M) {
	inMain.Store(true)
	code := m.Run()
	if err := server.close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: at the end:", err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Server returns a superuser's connection string for the server that the tests
// of this binary share. It is started at the first call.
func Server(t testing.TB) string {
	t.Helper()
	if !inMain.Load() {
		t.Fatal("pgtest: no TestMain that calls pgtest.Main, which stops the server")
	}
	serverOnce.Do(func() { server, serverErr = choose(context.Background()) })
	if serverErr != nil {
		t.Fatalf("pgtest: %v", serverErr)
	}
	return server.url
}

// OwnServer starts a server for this test alone, to be killed, paused and
// restarted at will. It has the usual settings and, above them, those given. It always
// comes from installed binaries. Its end is the test's.
func OwnServer(t testing.TB, more map[string]string) *pgtemp.Server {
	t.Helper()
	all := maps.Clone(settings)
	maps.Copy(all, more)
	s, err := pgtemp.Start(t.Context(), pgtemp.Config{Settings: all})
	if err != nil {
		t.Fatalf("pgtest: a server of its own: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.Log())
		}
		if err := s.Stop(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s
}

// Database makes an empty database for this test and returns a superuser's
// connection string for it. A role that is to log in there needs a password.
func Database(t testing.TB) string {
	t.Helper()
	return createDatabase(t, "template1")
}

// Template is a database that is made once per test binary and copied for
// each test that wants one like it.
type Template struct {
	Make func(ctx context.Context, url string) error // fills the empty database at url, and leaves no connection open

	once sync.Once
	name string
	err  error
}

// Database copies the template for this test and returns a superuser's
// connection string for the copy.
func (p *Template) Database(t testing.TB) string {
	t.Helper()
	base := Server(t)
	p.once.Do(func() {
		p.name = newName()
		if p.err = admin.create(p.name, "template1"); p.err == nil {
			p.err = p.Make(context.Background(), in(base, p.name))
		}
	})
	if p.err != nil {
		t.Fatalf("pgtest: make the template: %v", p.err)
	}
	return createDatabase(t, p.name)
}

func createDatabase(t testing.TB, template string) string {
	t.Helper()
	base, name := Server(t), newName()
	if err := admin.create(name, template); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := admin.drop(name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return in(base, name)
}

var (
	names  atomic.Int64
	prefix = fmt.Sprintf("pgbell_test_%08x_", rand.Uint32()) // others may use the same server
)

// newName returns a name that no database of the server has.
func newName() string { return fmt.Sprintf("%s%d", prefix, names.Add(1)) }

// in returns base with another database. Its form was checked when the server was
// chosen.
func in(base, database string) string {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + database
	return u.String()
}
