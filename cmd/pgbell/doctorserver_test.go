package main

import (
	"context"
	be "encoding/binary"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtemp"
)

// deaf is a proxy that withholds notifications but for those of a client's own, as a
// pooler in transaction mode does: whoever notifies does it in the session that
// listens.
func deaf(t *testing.T, db string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", u.Host)
			if err != nil {
				client.Close()
				return
			}
			own := make(chan string, 1)
			go func() {
				defer server.Close()
				buf := make([]byte, 8192)
				for {
					n, err := client.Read(buf)
					if err != nil {
						return
					}
					if _, name, ok := strings.Cut(string(buf[:n]), "notify "); ok {
						name, _, _ = strings.Cut(name, "\x00")
						own <- name
					}
					server.Write(buf[:n])
				}
			}()
			go func() {
				defer client.Close()
				head := make([]byte, 5) // a type, then a length that counts itself
				for {
					if _, err := io.ReadFull(server, head); err != nil {
						return
					}
					body := make([]byte, be.BigEndian.Uint32(head[1:])-4)
					if _, err := io.ReadFull(server, body); err != nil {
						return
					}
					select {
					case name := <-own:
						name = "\x00\x00\x00\x01" + name + "\x00\x00" // the session's pid, the channel, no payload
						client.Write(append(be.BigEndian.AppendUint32([]byte("A"), uint32(4+len(name))), name...))
					default:
					}
					if head[0] != 'A' { // NotificationResponse
						client.Write(append(head[:5:5], body...))
					}
				}
			}()
		}
	}()
	return with(t, db, func(u *url.URL) { u.Host = l.Addr().String(); u.RawQuery = "sslmode=disable" })
}

func TestDoctorFindsAPooler(t *testing.T) {
	db := migrated(t)
	by, code := diagnosis(t, deaf(t, db))
	has(t, by, "notifications", problem, "do not arrive: there is a pooler in between", "connect to Postgres directly, at 127.0.0.1, port ")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	by, _ = diagnosis(t, db) // directly
	has(t, by, "notifications", fine, "arrive", "")
}

func TestDoctorFindsAStandby(t *testing.T) {
	s, err := pgtemp.Start(t.Context(), pgtemp.Config{Password: password, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	mustRun(t, s.URL(), "migrate")
	s.StopFast()
	if err := os.WriteFile(filepath.Join(s.SocketDir(), "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error, 1)
	go func() { restarted <- s.Restart(context.Background()) }() // returns once it is a primary
	var conn *pgx.Conn
	for conn == nil { // as soon as it takes connections
		if conn, err = pgx.Connect(t.Context(), s.URL()); err != nil && t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	defer conn.Close(context.Background())
	by, code := diagnosis(t, s.URL())
	has(t, by, "server", problem, "a standby", "connect to the primary")
	if code != 1 || len(by) != 1 {
		t.Errorf("exit %d, %v", code, by)
	}
	if _, err := conn.Exec(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	by, _ = diagnosis(t, s.URL())
	has(t, by, "server", fine, "a primary", "")
}

func TestDoctorComparesVersions(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `insert into pgbell.goose_db_version (version_id, is_applied) values (2, true)`)
	by, code := diagnosis(t, db)
	has(t, by, "schema", warning, "version 2, and this pgbell knows no later one than 1", "go install")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	exec1(t, db, `delete from pgbell.goose_db_version where version_id > 0`)
	by, code = diagnosis(t, db)
	has(t, by, "schema", problem, "version 0, and this pgbell is made for version 1", "pgbell migrate")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
}

func TestDoctorsRoleForServeIsEnough(t *testing.T) {
	db := migrated(t)
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	var exists bool
	if err := conn.QueryRow(t.Context(), `select exists (select from pg_roles where rolname = 'pgbell_listener')`).Scan(&exists); err != nil {
		t.Fatal(err)
	}
	if exists {
		t.Skip("the cluster has a role pgbell_listener, which may be in use: it isn't the test's to drop")
	}
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), `drop owned by pgbell_listener; drop role pgbell_listener`); err != nil {
			t.Error(err)
		}
	})
	const role = "pgbell_listener"
	by, _ := diagnosis(t, db)
	has(t, by, "role", note, "is a superuser", "create role pgbell_listener login password '...'; select pgbell.grant_listener('pgbell_listener');")
	exec1(t, db, by["role"].Remedy)
	listener := as(t, db, role, "...")
	by, _ = diagnosis(t, listener)
	has(t, by, "role", fine, "may do what serve does", "")
	by, _ = diagnosis(t, db)
	if f := by["role"]; f.Level != note || f.Remedy != "connect serve as pgbell_listener" {
		t.Errorf("with a role that may do it: %+v", f)
	}

	exec1(t, db, `revoke execute on function pgbell.rotate(interval) from pgbell_listener`)
	by, _ = diagnosis(t, db)
	if f, want := by["role"], "select pgbell.grant_listener('pgbell_listener');"; f.Level != note || f.Remedy != want {
		t.Errorf("with a role that lacks a right: %+v, want the remedy %s", f, want)
	}
	exec1(t, db, by["role"].Remedy)

	exec1(t, db, `revoke usage on schema pgbell from public, pgbell_listener; revoke execute on function pgbell.cursor() from public, pgbell_listener`)
	by, _ = diagnosis(t, listener)
	has(t, by, "role", problem, "may not do what serve does", "select pgbell.grant_listener('")
	exec1(t, db, by["role"].Remedy)
	by, _ = diagnosis(t, listener)
	has(t, by, "role", fine, "may do what serve does", "")
}

func TestDoctorFindsAFullQueueAndAWrongClock(t *testing.T) {
	db := migrated(t)
	for used, want := range map[float64]finding{
		0.2: {warning, "", "20 % full: a session that listens sits in a transaction", "from pg_stat_activity"},
		0.6: {problem, "", "durable feeds have stopped ringing", "pg_stat_activity"},
	} {
		f := queueFinding(used)
		has(t, map[string]finding{"queue": f}, "queue", want.Level, want.Words, want.Remedy)
		exec1(t, db, f.Remedy)
	}
	has(t, map[string]finding{"clock": clockFinding(-time.Hour, time.Second)}, "clock", warning, "is 1h0m0s off this machine's", "timedatectl")
	has(t, map[string]finding{"clock": clockFinding(time.Hour, time.Second)}, "clock", warning, "is 1h0m0s off this machine's", "timedatectl")
	by, _ := diagnosis(t, db)
	has(t, by, "notification queue", fine, "0 % full", "")
	has(t, by, "clock", fine, "agrees", "")
}

func TestDoctorFindsAnOldJournal(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key); select pgbell.attach('tasks', array['tasks']); insert into tasks values (1);
		update pgbell.journal set at = at - interval '2 days'`)
	by, code := diagnosis(t, db)
	has(t, by, "journal", warning, "nobody truncates it", "select pgbell.rotate();")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for range 4 { // each when it is due: the time passes in between
		exec1(t, db, `update pgbell.journal_state set since = since - interval '2 hours', quiet_at = quiet_at - interval '2 hours'`)
		exec1(t, db, by["journal"].Remedy)
	}
	by, _ = diagnosis(t, db)
	has(t, by, "journal", fine, "back to 0s ago", "")
}

func TestDoctorNamesALongTransaction(t *testing.T) {
	db := migrated(t)
	before := longTransaction
	longTransaction = 0
	defer func() { longTransaction = before }()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	late, err := pgx.Connect(t.Context(), with(t, db, func(u *url.URL) { u.RawQuery += "&application_name=late" }))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close(context.Background())
	if _, err := late.Exec(t.Context(), "begin; create table t (id int)"); err != nil {
		t.Fatal(err)
	}
	look := func() finding {
		all, err := pinnedCheck(checkJournal)(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if strings.Contains(f.Words, "(late)") {
				return f
			}
		}
		return finding{}
	}
	f := look()
	if f.Level != warning || !strings.Contains(f.Words, "has been open for") || !strings.HasPrefix(f.Remedy, "select pg_terminate_backend(") {
		t.Fatalf("found %+v", f)
	}
	exec1(t, db, f.Remedy)
	for deadline := time.Now().Add(10 * time.Minute); look().Level != ""; { // it ends as soon as it sees the signal
		if time.Now().After(deadline) {
			t.Fatal("the transaction is still there")
		}
	}
}
