package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgbell/pgbell/internal/pgtemp"
)

// process is a pgbell that runs until it is told to end. Its log can be waited for.
type process struct {
	*exec.Cmd
	stdout      *bufio.Reader
	closeStdout func() error

	mu    sync.Mutex
	log   []string
	grown chan struct{} // closed and replaced at each new line, and at the end
	ended bool
}

// begin starts pgbell on a database.
func begin(t *testing.T, db string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, []string{"DATABASE_URL=" + db}, args...), grown: make(chan struct{})}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.closeStdout = bufio.NewReader(stdout), stdout.Close
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.add(lines.Text(), false)
		}
		p.add("", true)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-read
		p.Wait()
		if log := strings.Join(p.lines(), "\n"); t.Failed() {
			t.Logf("pgbell %q logged:\n%s", args, log)
		} else if strings.Contains(log, password) || strings.Contains(log, url.QueryEscape(password)) {
			t.Errorf("the password was logged:\n%s", log)
		}
	})
	return p
}

func (p *process) add(line string, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !end {
		p.log = append(p.log, line)
	}
	p.ended = end
	close(p.grown)
	p.grown = make(chan struct{})
}

func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.log...)
}

// waitLog waits for a line of the log that has part in it.
func (p *process) waitLog(t *testing.T, part string) string {
	t.Helper()
	deadline := time.After(10 * time.Minute)
	for {
		p.mu.Lock()
		lines, grown, ended := p.log, p.grown, p.ended
		p.mu.Unlock()
		for _, line := range lines {
			if strings.Contains(line, part) {
				return line
			}
		}
		if ended {
			t.Fatalf("pgbell ended without logging %q", part)
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("pgbell did not log %q", part)
		}
	}
}

// end sends a signal and waits for the exit code, -1 for death by a signal.
func (p *process) end(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return p.waitExit(t)
}

func (p *process) waitExit(t *testing.T) int {
	t.Helper()
	killed := time.AfterFunc(10*time.Minute, func() { p.Process.Kill() })
	state, err := p.Process.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !killed.Stop() {
		t.Fatal("pgbell does not end")
	}
	return state.ExitCode()
}

// beginServe starts pgbell serve on a free port and returns its URL as well.
func beginServe(t *testing.T, db string, args ...string) (*process, string) {
	t.Helper()
	p := begin(t, db, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	var line struct{ Msg, URL string }
	text := p.waitLog(t, `"serving"`)
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		t.Fatalf("the log is not JSON: %s", text)
	}
	return p, line.URL
}

// Where nobody has a name, rows that have owners reach nobody, and it says so.
func TestServeSaysThatNobodyHearsOfOwners(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table notes (id int primary key); create table tasks (id int primary key, owner text); select pgbell.attach('notes', '{notes}')`)
	p, server := beginServe(t, db)
	resp := send(t, http.DefaultClient, http.MethodGet, server+"/events?scope=tasks")
	s := &stream{bufio.NewScanner(resp.Body)}
	if event, data := s.next(); event != "ready" || !strings.HasSuffix(data, `"scopes":["tasks"],"user":null}`) {
		t.Errorf("got %s %s", event, data)
	}
	exec1(t, db, `select pgbell.attach('tasks', '{tasks}', '{owner}')`)
	if line := p.waitLog(t, "everybody is nobody"); !strings.Contains(line, `"WARN"`) || !strings.Contains(line, `"tables":"public.tasks"`) {
		t.Errorf("the log says %s", line)
	}
	_, named := beginServe(t, db, "--auth", "header")
	resp = send(t, http.DefaultClient, http.MethodGet, named+"/events?scope=tasks", "X-Forwarded-User", "alice")
	s = &stream{bufio.NewScanner(resp.Body)}
	if event, data := s.next(); event != "ready" || strings.Contains(data, "user") {
		t.Errorf("got %s %s", event, data)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// stream is an open /events.
type stream struct {
	body *bufio.Scanner
}

// open opens a stream for user, who may be nobody, and waits until it is live.
func open(t *testing.T, server, user string, scopes ...string) *stream {
	t.Helper()
	return openStream(t, http.DefaultClient, server+"/events?"+url.Values{"scope": scopes}.Encode(), asUser(user)...)
}

// asUser is the header that names user; none for nobody.
func asUser(user string) []string {
	if user == "" {
		return nil
	}
	return []string{"X-Forwarded-User", user}
}

// openStream opens the stream at url with these headers, and waits until it is live.
func openStream(t *testing.T, client *http.Client, url string, header ...string) *stream {
	t.Helper()
	resp := send(t, client, http.MethodGet, url, header...)
	s := &stream{bufio.NewScanner(resp.Body)}
	if event, data := s.next(); resp.StatusCode != http.StatusOK || event != "ready" {
		t.Fatalf("GET %s: %s, and the first event is %q (%s), want ready", url, resp.Status, event, data)
	}
	return s
}

// next returns the next event's name and data, or nothing at the end.
func (s *stream) next() (event, data string) {
	for s.body.Scan() {
		line := s.body.Text()
		if after, ok := strings.CutPrefix(line, "event: "); ok {
			event = after
		}
		if after, ok := strings.CutPrefix(line, "data: "); ok {
			data = after
		}
		if line == "" && event != "" {
			return event, data
		}
	}
	return "", ""
}

func TestServeDeliversWhatTheAudienceMayHear(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, owner text)`)
	mustRun(t, db, "attach", "tasks", "--scope", "tasks", "--audience", "owner")
	p, server := beginServe(t, db, "--auth", "header", "--drain", "0s")
	alice, bob := open(t, server, "alice", "tasks"), open(t, server, "bob", "tasks")
	exec1(t, db, `insert into tasks values (1, 'alice'); insert into tasks values (2, 'bob')`)
	for user, s := range map[string]*stream{`"key":{"id":1}`: alice, `"key":{"id":2}`: bob} {
		if event, data := s.next(); event != "tasks" || !strings.Contains(data, user) {
			t.Errorf("the first event is %q %s, want one of tasks with %s", event, data, user)
		}
	}

	code, metrics := get(t, server+"/metrics")
	for _, line := range []string{
		"pgbell_listener_connected 1", "pgbell_listener_connections_total 1", "pgbell_listener_records_total 2",
		"pgbell_events_emitted_total 2", "pgbell_events_delivered_total 2", "pgbell_events_dropped_total 0", "pgbell_subscribers 2", "pgbell_subscriptions 2",
		"pgbell_notification_queue_usage_ratio 0", "pgbell_journal_bytes ", "pgbell_scopes 1", "pgbell_streams_open 2", "pgbell_emit_lag_seconds_count 2", "pgbell_build_info{", "go_goroutines", "process_open_fds",
	} {
		if code != 200 || !strings.Contains(metrics, "\n"+line) {
			t.Errorf("GET /metrics: %d, without %q", code, line)
		}
	}
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d after SIGTERM, want 0", code)
	}
}

func TestServeBelievesTheHeaderFromTrustedProxiesOnly(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, owner text); create table news (id int primary key)`)
	mustRun(t, db, "attach", "tasks", "--scope", "all", "--audience", "owner")
	mustRun(t, db, "attach", "news", "--scope", "all")
	for _, args := range [][]string{
		{"--auth", "header", "--trusted-proxies", "10.0.0.0/8,192.0.2.1"},
		{"--auth", "header", "--auth-header", "X-Other"},
		{"--auth", "none"},
		nil,
	} {
		p, server := beginServe(t, db, args...)
		s := open(t, server, "alice", "all")
		if len(args) == 4 && args[2] == "--trusted-proxies" {
			if line := p.waitLog(t, "a user was ignored"); strings.Contains(line, "alice") {
				t.Errorf("the log names who was ignored: %s", line)
			}
		}
		exec1(t, db, `delete from tasks; delete from news`)
		exec1(t, db, `insert into tasks values (1, 'alice'); insert into news values (1)`)
		if _, data := s.next(); !strings.Contains(data, "public.news") {
			t.Errorf("serve %q: the first event is %s, want one of news", args, data)
		}
		exec1(t, db, `delete from news`)
	}
}

func TestServePortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	r := runOn(t, "postgres://u@127.0.0.1:1/d", "serve", "--addr", addr)
	wantError(t, r, 1, addr+" is taken", "--addr")
	r = runOn(t, "postgres://u@127.0.0.1:1/d", "serve", "--addr", "192.0.2.1:8080")
	wantError(t, r, 1, "192.0.2.1:8080 is not an address of this machine", "--addr")
}

func TestServeStartsBeforePostgres(t *testing.T) {
	server, err := pgtemp.Start(t.Context(), pgtemp.Config{Password: password, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	mustRun(t, server.URL(), "migrate")
	server.StopFast()

	p, base := beginServe(t, server.URL())
	p.waitLog(t, "no PostgreSQL answers at 127.0.0.1")
	if code, body := get(t, base+"/healthz"); code != 200 {
		t.Errorf("GET /healthz: %d %s, want 200", code, body)
	}
	if code, body := get(t, base+"/readyz"); code != 503 || !strings.Contains(body, "no PostgreSQL answers") {
		t.Errorf("GET /readyz: %d %s, want 503 and why", code, body)
	}
	if _, metrics := get(t, base+"/metrics"); !strings.Contains(metrics, "\npgbell_listener_connected 0") {
		t.Error("the metrics call the listener connected")
	}
	if err := server.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.waitLog(t, `"listening"`)
	if code, body := get(t, base+"/readyz"); code != 200 {
		t.Errorf("GET /readyz: %d %s, want 200", code, body)
	}
}

func TestServeWaitsForMigrationAndWarnsOnce(t *testing.T) {
	db := database(t)
	exec1(t, db, "create schema pgbell") // as migrate does first: without it, it's another error
	p, server := beginServe(t, db)
	p.waitLog(t, "pgbell migrate")
	if code, body := get(t, server+"/readyz"); code != 503 || !strings.Contains(body, "pgbell migrate") {
		t.Errorf("GET /readyz: %d %s, want 503 and what to do", code, body)
	}
	mustRun(t, db, "migrate")
	p.waitLog(t, `"listening"`)
	var warnings []string
	for _, line := range p.lines() {
		if strings.Contains(line, "WARN") {
			warnings = append(warnings, line)
		}
	}
	if len(warnings) != 1 {
		t.Errorf("%d warnings, want 1:\n%s", len(warnings), strings.Join(warnings, "\n"))
	}
}

func TestServeSaysThatThePasswordIsWrong(t *testing.T) {
	db := as(t, migrated(t), "postgres", "not "+password)
	p, server := beginServe(t, db)
	p.waitLog(t, "wrong password")
	if code, body := get(t, server+"/readyz"); code != 503 || !strings.Contains(body, "wrong password") {
		t.Errorf("GET /readyz: %d %s, want 503 and why", code, body)
	}
	if code := p.end(t, syscall.SIGINT); code != 0 {
		t.Errorf("exit %d after SIGINT, want 0", code)
	}
}

func TestServeDrainsOnTheFirstSignalAndEndsOnTheSecond(t *testing.T) {
	db := migrated(t)
	p, server := beginServe(t, db, "--drain", "0s")
	s := open(t, server, "", "tasks")
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d after SIGTERM, want 0", code)
	}
	if event, data := s.next(); event != "" || s.body.Err() == nil {
		t.Errorf("the stream goes on with %q %s, %v, want it cut", event, data, s.body.Err())
	}

	p, server = beginServe(t, db, "--drain", "1h")
	open(t, server, "", "tasks")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitLog(t, `"draining streams"`)
	if code, body := get(t, server+"/readyz"); code != 503 {
		t.Errorf("GET /readyz while draining: %d %s, want 503", code, body)
	}
	if code := p.end(t, syscall.SIGTERM); code == 0 {
		t.Error("exit 0 after the second SIGTERM, want to be ended by it")
	}
}

func TestHealthcheck(t *testing.T) {
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d") // alive without Postgres
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{u.Host, ":" + u.Port(), "0.0.0.0:" + u.Port()} {
		if r := runEnv(t, []string{"PGBELL_ADDR=" + addr}, "healthcheck"); r.code != 0 || r.stdout+r.stderr != "" {
			t.Errorf("healthcheck of %s: %+v, want silence and exit 0", addr, r)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	wantError(t, runEnv(t, nil, "healthcheck", "--addr", ln.Addr().String()), 1, ln.Addr().String())
}

// A role whose transactions only read unless they say otherwise listens like any other.
func TestServeAsARoleThatOnlyReadsByDefault(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key); select pgbell.attach('tasks', array['tasks'])`)
	role := newRole(t, db, "select pgbell.grant_listener('$role'); alter role $role set default_transaction_read_only = on")
	reader := as(t, db, role, password)
	if by, code := diagnosis(t, reader); code != 0 {
		t.Errorf("doctor: %+v", by)
	}
	_, server := beginServe(t, reader)
	s := open(t, server, "", "tasks")
	exec1(t, db, `insert into tasks values (1)`)
	if event, _ := s.next(); event != "tasks" {
		t.Errorf("got %q", event)
	}
}

// Where the log is JSON, what ends the server is a line of it.
func TestWhatEndsAServerIsALineOfItsLog(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := runOn(t, migrated(t), "serve", "--addr", taken.Addr().String())
	record := decode[map[string]string](t, r.stderr)
	if r.code != 1 || record["level"] != "ERROR" || record["msg"] != "pgbell ended" || !strings.Contains(record["error"], "is taken") {
		t.Errorf("exit %d, %+v", r.code, record)
	}
}
