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
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show pgbell at work, on a private PostgreSQL of its own",
		Description: "It needs no database, only PostgreSQL's programs on this machine. Two users share two tables, and a page\n" +
			"shows what each may see. Ctrl-C stops it and removes everything.\n" +
			"Whoever can connect may say that he is alice, so it listens on a loopback address only.",
		Flags:  []cli.Flag{addrFlag()},
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
	// The password keeps other users of this machine from being superuser.
	postgres, err := pgtemp.Start(ctx, pgtemp.Config{Password: rand.Text(), Settings: map[string]string{
		"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", // it need not survive anything
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()

	conf, err := demo.Create(ctx, postgres.URL())
	if err != nil {
		return err
	}
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
	}
	if err := printDemo(c.Root().Writer, page, try); err != nil {
		return err
	}
	s := &server{conf: conf, listener: ln, web: sse.Config{Authenticate: whoeverItSays}, pages: demo.NewPage(pool, try, log), status: true, guard: loopbackNames, log: log}
	return s.run(ctx)
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
	b.WriteString("Ctrl-C stops it and removes everything.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
