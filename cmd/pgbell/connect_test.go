package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestConnectionErrorsSayWhatToDo(t *testing.T) {
	db := database(t)
	port := postgres.Port()
	exec1(t, db, `create role nologin_role; create role no_connect login password 'x';
		do $$ begin execute format('revoke connect on database %I from public', current_database()); end $$`)

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedAddr := closed.Addr().String()
	closed.Close()
	deaf := serverThatHangsUp(t)

	set := func(name, value string) string {
		return with(t, db, func(u *url.URL) {
			q := u.Query()
			q.Set(name, value)
			u.RawQuery = q.Encode()
		})
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	for _, test := range []struct {
		name string
		url  string
		says []string
	}{
		{"no server", "postgres://u:" + url.QueryEscape(password) + "@" + closedAddr + "/d", []string{closedAddr, "start it", "--database-url"}},
		{"no socket", "host=/nowhere user=u dbname=d", []string{"/nowhere/.s.PGSQL.5432", "start it"}},
		{"no such host", "postgres://u@no-such-host.invalid/d", []string{"no-such-host.invalid", "--database-url"}},
		{"not PostgreSQL", "postgres://u@" + deaf + "/d?sslmode=disable", []string{deaf, "is it PostgreSQL?"}},
		{"wrong password", as(t, db, "postgres", "wrong "+password[:3]), []string{"wrong password", `"postgres"`, at, "PGPASSWORD"}},
		{"no password", with(t, db, func(u *url.URL) { u.User = url.User("postgres") }), []string{`"postgres"`, "needs a password", "PGPASSWORD"}},
		{"no such role", as(t, db, "nobody_here", "x"), []string{`"nobody_here"`, "no such role"}},
		{"no login", as(t, db, "nologin_role", "x"), []string{"nologin_role"}},
		{"no database", with(t, db, func(u *url.URL) { u.Path = "/no_such_db" }), []string{`"no_such_db" does not exist`, "createdb"}},
		{"no connect privilege", as(t, db, "no_connect", "x"), []string{"no_connect", "grant connect on database"}},
		{"no TLS", set("sslmode", "require"), []string{at, "TLS", "sslmode=disable"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, args := range [][]string{{"feeds"}, {"migrate"}} {
				wantError(t, runOn(t, test.url, args...), 1, test.says...)
			}
		})
	}

	for name, url := range map[string]string{
		"@ in the password":          "postgres://u:x@cret@no-such-host.invalid/d",
		"@ and / in the password":    "postgres://u:x@cret.invalid/y@127.0.0.1:5432/d",
		"/ and what could be a port": "postgres://user.invalid:12/cret@127.0.0.1:5432/d",
	} {
		t.Run(name, func(t *testing.T) {
			r := runOn(t, url, "feeds")
			wantError(t, r, 1, "percent-encode @ / : in the password", "--database-url")
			if strings.Contains(r.stderr, "cret") {
				t.Errorf("it shows a part of the password: %s", r.stderr)
			}
		})
	}

	t.Run("unreadable root certificate", func(t *testing.T) {
		r := runOn(t, set("sslmode", "verify-full")+"&sslrootcert=/nowhere/root.crt", "feeds")
		wantError(t, r, 2, "TLS", "/nowhere/root.crt")
	})
}

func TestCertificateErrorsSayWhatToDo(t *testing.T) {
	addr, root := serverWithCertificate(t) // for example.com and 127.0.0.1
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	r := runOn(t, "postgres://u@"+addr+"/d?sslmode=verify-full", "feeds")
	wantError(t, r, 1, "the certificate of "+addr+" is not trusted", "sslrootcert")
	r = runOn(t, "postgres://u@localhost:"+port+"/d?sslmode=verify-full&sslrootcert="+root, "feeds")
	wantError(t, r, 1, "is for another host", "example.com")
}

// serverWithCertificate is a listener that starts TLS as Postgres would, and
// hangs up. It returns its address and the file of its authority.
func serverWithCertificate(t *testing.T) (addr, root string) {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	root = filepath.Join(t.TempDir(), "root.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(root, block, 0o600); err != nil {
		t.Fatal(err)
	}
	addr = hangUp(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 8)) // SSLRequest
		io.WriteString(conn, "S")
		tls.Server(conn, &tls.Config{Certificates: web.TLS.Certificates}).Handshake()
	})
	return addr, root
}

func TestServersRefusalIsShown(t *testing.T) {
	db := database(t)
	role := newRole(t, db, "")
	exec1(t, db, fmt.Sprintf(`do $$ begin execute format('copy (values (%%L), (%%L)) to %%L',
		'host all %s 127.0.0.1/32 reject', 'host all all 127.0.0.1/32 scram-sha-256', current_setting('hba_file')); end $$;
		select pg_reload_conf()`, role))
	url := as(t, db, role, password)
	r := runOn(t, url, "migrate", "status")
	for deadline := time.Now().Add(10 * time.Minute); r.code == 0 && time.Now().Before(deadline); {
		r = runOn(t, url, "migrate", "status") // until the server has read the file
	}
	wantError(t, r, 1, "pg_hba.conf rejects", role, "check the user in --database-url")
}

// serverThatHangsUp is a listener that closes each connection after a byte.
func serverThatHangsUp(t *testing.T) string {
	t.Helper()
	return hangUp(t, func(conn net.Conn) { conn.Read(make([]byte, 1)) })
}

// hangUp listens, and serves each connection before it closes it.
func hangUp(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	return ln.Addr().String()
}

func TestDatabaseIsFlagThenVariableThenLibpq(t *testing.T) {
	db := migrated(t)
	nowhere := "DATABASE_URL=postgres://u@127.0.0.1:1/d"
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	libpq := []string{
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(postgres.Port()), "PGUSER=postgres",
		"PGPASSWORD=" + password, "PGDATABASE=" + u.Path[1:], "PGSSLMODE=disable",
	}
	for _, test := range []struct {
		name string
		env  []string
		args []string
	}{
		{"flag before variable", []string{nowhere}, []string{"feeds", "--json", "--database-url", db}},
		{"flag in front of the command", []string{nowhere}, []string{"--database-url", db, "feeds", "--json"}},
		{"variable before libpq", []string{"DATABASE_URL=" + db, "PGPORT=1", "PGDATABASE=nowhere"}, []string{"feeds", "--json"}},
		{"libpq", libpq, []string{"feeds", "--json"}},
		{"empty variable", append(libpq, "DATABASE_URL="), []string{"feeds", "--json"}},
		{"libpq fills in", append(libpq, "DATABASE_URL=postgres:///"), []string{"feeds", "--json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r := runEnv(t, test.env, test.args...); r.code != 0 || r.stdout != "[]\n" {
				t.Errorf("exit %d, standard output %q, standard error %q", r.code, r.stdout, r.stderr)
			}
		})
	}
}
