package faults

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/internal/pgtest"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "of all that is random; 0 takes another one each time")
	soakFlag   = flag.Duration("soak", 0, "let TestSoak run for so long")
	herdFlag   = flag.Int("herd", 1000, "how many clients come back at once in TestHerd")
	binaryFlag = flag.String("pgbell", "", "the binary to test, in place of one made of this source")
)

// patience is after how long without anything a test gives up. It is no measure of speed:
// whoever waits for much starts anew whenever some of it came.
const patience = 10 * time.Minute

// binary is the pgbell to test, shared the server of the tests that do it no harm.
var (
	binary string
	shared *pgtemp.Server
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	if err := moreAtOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if *seedFlag == 0 {
		*seedFlag = 1 + rand.Uint64N(1<<32)
	}
	fmt.Fprintf(os.Stderr, "faults: -seed %d\n", *seedFlag)
	dir, err := os.MkdirTemp("", "pgbell-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary = *binaryFlag; binary == "" {
		binary = filepath.Join(dir, "pgbell")
		if err := build(binary, raceDetector() && !testing.Short()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	shared, err = pgtemp.Start(context.Background(), pgtemp.Config{Settings: settings})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// moreAtOnce lets more tests run at once than there are processors, unless told how many:
// they wait, for Postgres to be found dead, for a stream to be cut.
func moreAtOnce() error {
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if told {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)*3/2))
}

var settings = map[string]string{
	"fsync":                    "off", // the machine does not crash here
	"full_page_writes":         "off",
	"max_connections":          "300",
	"shared_preload_libraries": "pg_stat_statements",
}

// long skips a test with -short, which leaves one of each kind: of a client, of a feed, of the
// network, of pgbell and of Postgres.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short")
	}
}

// build builds pgbell.
func build(path string, race bool) error {
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/pgbell/pgbell/cmd/pgbell")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// raceDetector says whether this binary was built with -race.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// seedOf returns the seed of a test.
func seedOf(t testing.TB) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, *seedFlag, t.Name())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again: go test ./integration/faults -run '^%s$' -seed %d", t.Name(), *seedFlag)
		}
	})
	return h.Sum64()
}

var databases atomic.Int64

// newDatabase makes a database on the shared server, a copy of the template, and returns its URL.
func newDatabase(t testing.TB) string {
	t.Helper()
	if err := template(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), shared.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	name := fmt.Sprintf("faults%d", databases.Add(1))
	if err := pgtest.CopyDatabase(t.Context(), conn, name, "template_faults"); err != nil {
		t.Fatal(err)
	}
	return inShared(name)
}

// template makes a database as prepare leaves it: to migrate and to attach takes longer than to copy.
var template = sync.OnceValue(func() error {
	if err := execute(shared.URL(), "create database template_faults"); err != nil {
		return err
	}
	return prepare(inShared("template_faults"))
})

func inShared(name string) string {
	return strings.Replace(shared.URL(), "/postgres?", "/"+name+"?", 1)
}

// prepare makes what pgbell and the writers need in an empty database.
func prepare(url string) error {
	if out, err := exec.Command(binary, "migrate", "--database-url", url).CombinedOutput(); err != nil {
		return fmt.Errorf("pgbell migrate: %w\n%s", err, out)
	}
	return execute(url, schema)
}

func execute(url, sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}
