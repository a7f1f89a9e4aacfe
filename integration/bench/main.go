//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// serveArg makes the binary one of the servers that are measured; the name follows.
const serveArg = "serve-for-bench"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// suites are what -rows chooses from, in the order in which they run.
var suites = []struct {
	name    string
	measure func(*world, context.Context, *report) error
}{
	{"writers", (*world).writers},
	{"flush", (*world).flush},
	{"burst", (*world).burst},
	{"statements", (*world).statements},
	{"bulk", (*world).bulkUpdate},
	{"sysbench", (*world).sysbench},
	{"silent", (*world).silent},
	{"latency", (*world).latency},
	{"read", (*world).read},
	{"fanout", (*world).fanout},
	{"groups", (*world).groups},
	{"scopes", (*world).manyScopes},
	{"live", (*world).live},
	{"most", (*world).mostFrames},
	{"stalled", (*world).stalled},
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == serveArg {
		return serve(ctx, args[1])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	rows := flags.String("rows", "", "run what matches this `regexp`: "+suiteNames())
	small := flags.Bool("quick", false, "run all with a small load: it shows that the harness works, the figures mean nothing")
	out := flags.String("out", "bin/performance", "write performance.json and the pictures to this `directory`")
	update := flags.String("write", "", "instead write them to this `directory`, docs, and the table into its performance.md")
	_ = flags.Parse(args) // it exits on an error
	chosen, err := regexp.Compile(*rows)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if *update != "" && (*rows != "" || *small) {
		return errors.New("-write wants all rows of one run: leave out -rows and -quick")
	}
	p := full
	if *small {
		p = quick
	}
	began := time.Now()
	r, err := measure(ctx, p, chosen, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	})
	if r == nil {
		return err
	}
	r.Quick = *small
	fmt.Print("\n", r.table())
	if *update == "" {
		return errors.Join(err, r.write(*out))
	}
	if err != nil {
		return err
	}
	return errors.Join(r.write(*update), r.writeTables(*update))
}

// serve is one of the servers that are measured.
func serve(ctx context.Context, name string) error {
	switch name {
	case naive:
		return serveNaive(ctx, os.Getenv("DATABASE_URL"))
	case plainHTTP, plainHijacked:
		return servePlain(ctx, name == plainHijacked)
	}
	return fmt.Errorf("there is no server %q", name)
}

func suiteNames() string {
	var names []string
	for _, s := range suites {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// measure runs the chosen suites. With an error comes what the others measured; it is nil
// if none could.
func measure(ctx context.Context, p plan, chosen *regexp.Regexp, log func(string, ...any)) (_ *report, err error) {
	began, host := time.Now(), thisMachine()
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("getrlimit: %w", err)
	}
	// Go has raised its own limit to the hard one, and so will the servers: package os.
	if fits := p.within(files.Max); !slices.Equal(fits.streams, p.streams) || fits.scopes < p.scopes {
		log("one process may have %d files open (ulimit -Hn): there are fewer streams", files.Max)
		p = fits
	}
	w, err := newWorld(ctx, p, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := &report{At: began.UTC().Truncate(time.Second), Machine: host, Curves: map[string][]line{}}
	if r.Machine.Postgres, err = w.version(ctx); err != nil {
		return nil, err
	}
	var failed error
	for _, s := range suites {
		if !chosen.MatchString(s.name) {
			continue
		}
		err := s.measure(w, ctx, r)
		r.Took = time.Since(began).Round(time.Second).String()
		if ctx.Err() != nil {
			return r, errors.New("interrupted")
		}
		if err != nil {
			log("%s: %v", s.name, err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	for _, row := range r.Rows {
		if !row.complete() {
			failed = errors.Join(failed, fmt.Errorf("%s: a figure is missing", row.Key))
		}
	}
	return r, failed
}

func (w *world) version(ctx context.Context) (version string, err error) {
	conn, err := pgx.Connect(ctx, w.server.URL())
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return version, conn.QueryRow(ctx, "show server_version").Scan(&version)
}
