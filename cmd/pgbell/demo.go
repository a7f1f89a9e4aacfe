package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/cmd/pgbell/demo"
	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pglive"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show pgbell at work, on a private PostgreSQL of its own",
		Description: "It needs no database, only PostgreSQL's programs on this machine. Two users share two tables, and a page\n" +
			"shows what each may see. Ctrl-C stops it and removes everything.\n" +
			"With --keep its files stay: the same command starts it again. Attach tables of your own there: they\n" +
			"are served, too.\n" +
			"Whoever can connect may say that he is alice, so it listens on a loopback address only.",
		Flags: []cli.Flag{
			addrFlag(),
			stringFlag("keep", "", "keep the database in `DIR`, a new directory or that of an earlier run"),
		},
		Action: runDemo,
	}
}

func runDemo(ctx context.Context, c *cli.Command) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	// The port first: nothing else has started if it is taken.
	ln, err := listenOnLoopback(c)
	if err != nil {
		return err
	}
	defer ln.Close()
	if !signal.Ignored(syscall.SIGHUP) { // a closed terminal leaves nothing behind either
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	forgetDatabases()
	postgres, conf, err := demoDatabase(ctx, c.String("keep"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	log := newLogger(c.Root().ErrWriter, slog.LevelError)
	pool, err := demoPool(ctx, conf)
	if err != nil {
		return err
	}
	defer pool.Close()
	page := "http://" + ln.Addr().String()
	try := demo.Try{
		Psql:       psql(postgres.BinDir()) + " '" + demoURL(conf) + "'",
		Statements: demoStatements,
		Curl:       "curl -N '" + page + "/events?user=alice&scope=tasks&scope=notes'",
		Keep:       c.String("keep"),
	}
	if err := printDemo(c.Root().Writer, page, try); err != nil {
		return err
	}
	s := &server{
		conf: conf, listener: ln, web: sse.Config{Authenticate: whoeverItSays, NoArguments: []string{"user"}},
		live:  &pglive.Config{Role: conf.User, Logger: log}, // who may do all in this database, as whoever connects
		pages: demo.NewPage(pool, try, log), status: true, guard: loopbackNames, log: log,
	}
	return s.run(ctx)
}

// demoDatabase starts the demo's server, whose files stay in keep unless that is "".
func demoDatabase(ctx context.Context, keep string) (*pgtemp.Server, *pgx.ConnConfig, error) {
	// The password keeps other users of this machine from being superuser.
	config := pgtemp.Config{Password: rand.Text(), Keep: keep}
	if keep == "" { // it need not survive anything
		config.Settings = map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
	}
	postgres, err := pgtemp.Start(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	prepare := demo.Create
	if postgres.Kept() {
		prepare = demo.Open
	}
	conf, err := prepare(ctx, postgres.URL())
	if err == nil && keep != "" {
		err = os.WriteFile(filepath.Join(keep, "url"), []byte(demoURL(conf)+"\n"), 0o644)
	}
	if err == nil && keep != "" {
		err = postgres.Keep()
	}
	if err != nil {
		return nil, nil, errors.Join(err, postgres.Stop())
	}
	return postgres, conf, nil
}

// listenOnLoopback opens --addr, if nobody else can reach it.
func listenOnLoopback(c *cli.Command) (net.Listener, error) {
	ln, err := listen(c)
	if err != nil {
		return nil, err
	}
	if at, ok := ln.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		return nil, errors.Join(usagef("--addr %s is open to others, and whoever connects to the demo may be anyone: "+
			"choose a loopback address, such as 127.0.0.1:8080", c.String("addr")), ln.Close())
	}
	return ln, nil
}

// forgetDatabases unsets libpq's PG* variables: they are about other databases.
func forgetDatabases() {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "PGBELL_") {
			os.Unsetenv(name)
		}
	}
}

// whoeverItSays believes ?user=, so that one browser can be both users. Nobody
// but the demo should.
func whoeverItSays(r *http.Request) (sse.Identity, error) {
	return sse.Identity{UserID: r.URL.Query().Get("user")}, nil
}

// demoPool is where the page's queries go.
func demoPool(ctx context.Context, conf *pgx.ConnConfig) (*pgxpool.Pool, error) {
	settings, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	settings.ConnConfig = conf.Copy()
	return pgxpool.NewWithConfig(ctx, settings)
}

// demoURL is the connection string for people. The server has no TLS, whatever
// PGSSLMODE they have set.
func demoURL(conf *pgx.ConnConfig) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(conf.User, conf.Password),
		Host:     net.JoinHostPort(conf.Host, fmt.Sprint(conf.Port)),
		Path:     "/" + conf.Database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// psql is how to call it: not all packages put it on the PATH.
func psql(binDir string) string {
	if _, err := exec.LookPath("psql"); err != nil {
		found, _ := exec.LookPath(filepath.Join(binDir, "psql")) // if it isn't there either, its name says what to install
		return cmp.Or(found, "psql")
	}
	return "psql"
}

var demoStatements = []string{
	"insert into tasks (title, owner) values ('Typed in psql', 'alice');",
	"update tasks set owner = 'bob' where title = 'Typed in psql';",
	"update notes set shared_with = '{bob}' where owner = 'alice';",
}

func printDemo(w io.Writer, page string, try demo.Try) error {
	var b strings.Builder
	fmt.Fprintf(&b, "pgbell demo is running. Open this page:\n\n    %s/\n\n", page)
	fmt.Fprintf(&b, "Change rows in another terminal, and see them change there:\n\n    %s\n", try.Psql)
	for _, statement := range try.Statements {
		fmt.Fprintf(&b, "        %s\n", statement)
	}
	fmt.Fprintf(&b, "\nWhat alice's page hears:\n\n    %s\n\n", try.Curl)
	if try.Keep == "" {
		b.WriteString("Ctrl-C stops it and removes everything.\n")
	} else {
		fmt.Fprintf(&b, "A table of your own that you attach there is served, too. The database's address is in %s.\n", filepath.Join(try.Keep, "url"))
		fmt.Fprintf(&b, "Ctrl-C stops it, database and all; the same command starts it again. To be rid of it: rm -r %s\n", try.Keep)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
